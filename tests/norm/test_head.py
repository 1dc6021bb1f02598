"""The dual head against `nn.Linear`, alone and inside a network; cross-NS against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.norm import DualBatchNorm2d, DualLinear, Folder, at, branch_view, fold, joint_view, to_dual_bn
from engine.norm.reestimate import reestimate
from engine.values import (
    DUAL_AP,
    DUAL_BN,
    DUAL_LINEAR,
    SINGLE,
    Branch,
    InputError,
    NormSetting,
    Reestimated,
    Stored,
    branch_setting,
)
from tests.support import dual, from_seed, generator, random_images, randomise_norms, snapshot, tiny

branches = pytest.mark.parametrize("branch", Branch, ids=lambda b: b.name.lower())


def head_and_references() -> tuple[DualLinear, list[nn.Linear]]:
    plain = [linear for seed in (1, 2) if isinstance(linear := from_seed(lambda: nn.Linear(4, 3), seed), nn.Linear)]
    head = DualLinear(4, 3)
    with torch.no_grad():
        for branch, linear in zip(Branch, plain, strict=True):
            head.weight[branch].copy_(linear.weight)
            head.bias[branch].copy_(linear.bias)
    return head, plain


@branches
def test_a_branch_of_the_head_is_a_linear_layer(branch: Branch) -> None:
    head, plain = head_and_references()
    x = torch.randn(5, 4, generator=generator())
    torch.testing.assert_close(head(x, branch), plain[branch](x), rtol=0, atol=0)
    torch.testing.assert_close(head.live(branch)(x), plain[branch](x), rtol=0, atol=0)
    torch.testing.assert_close(head.frozen(float(branch))(x), plain[branch](x), rtol=0, atol=0)
    head(x, branch).sum().backward()
    plain[branch](x).sum().backward()
    torch.testing.assert_close(head.weight[branch].grad, plain[branch].weight.grad)
    assert head.weight[1 - branch].grad is None


def test_half_way_is_the_mean_of_both_and_carries_no_gradient() -> None:
    head, (clean, adv) = head_and_references()
    x = torch.randn(5, 4, generator=generator())
    middle = head.frozen(0.5)
    torch.testing.assert_close(middle(x), (clean(x) + adv(x)) / 2)
    assert not middle.weight.requires_grad


def test_a_joint_batch_sends_each_half_through_its_own_head() -> None:
    head, (clean, adv) = head_and_references()
    x = torch.randn(6, 4, generator=generator())
    torch.testing.assert_close(head.joint(x), torch.cat([clean(x[:3]), adv(x[3:])]))


def test_only_the_last_linear_layer_is_doubled() -> None:
    model = dual(DUAL_LINEAR)
    assert isinstance(model.get_submodule("head"), DualLinear)
    assert isinstance(dual(SINGLE).get_submodule("head"), nn.Linear)
    headless = from_seed(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    with pytest.raises(InputError, match="no nn.Linear head"):
        to_dual_bn(headless, DUAL_LINEAR)


@branches
def test_views_folding_and_reestimation_use_the_head_of_their_lambda(branch: Branch) -> None:
    model, x = dual(DUAL_LINEAR), random_images(6)
    before = snapshot(model)
    setting = branch_setting(branch)
    expected = at(model, setting)(x)
    torch.testing.assert_close(branch_view(model, branch)(x), expected)
    torch.testing.assert_close(fold(at(model, setting))(x), expected, rtol=1e-4, atol=1e-5)
    folder = Folder(model)
    folder.at(branch_setting(Branch(1 - branch)))
    torch.testing.assert_close(folder.at(setting)(x), expected, rtol=1e-4, atol=1e-5)
    again = NormSetting(float(branch), Reestimated("clean"))
    measured = reestimate(model, again, [x])
    assert at(model, again, measured)(x).shape == expected.shape
    assert not torch.allclose(expected, at(model, branch_setting(Branch(1 - branch)))(x))
    assert snapshot(model) == before


def test_lambda_of_the_statistics_means_nothing_to_a_dual_head() -> None:
    model, x = dual(DUAL_LINEAR), random_images(2)
    rows = [at(model, NormSetting(0.3, Stored(lam)))(x) for lam in (0.0, 1.0)]
    torch.testing.assert_close(*rows, rtol=0, atol=0)


def crossed_by_hand(layer: DualBatchNorm2d, clean: Tensor, adv: Tensor) -> list[Tensor]:
    mean = clean.mean(dim=(0, 2, 3), keepdim=True)
    sigma = (clean.var(dim=(0, 2, 3), keepdim=True, unbiased=False) + layer.eps).sqrt()
    rows = []
    for x, branch in ((clean, Branch.CLEAN), (adv, Branch.ADV)):
        weight, bias = (t[:, None, None] for t in layer.affine_entry(branch))
        rows.append((x - mean) / sigma * weight + bias)
    return rows


@pytest.mark.parametrize("design", [SINGLE, DUAL_AP], ids=["single", "dual-ap"])
def test_crossed_statistics_are_those_of_the_clean_half(design: object) -> None:
    layer = DualBatchNorm2d(3, design)  # pyright: ignore[reportArgumentType]
    randomise_norms(layer)
    before = layer.mean.clone()
    x = torch.randn(8, 3, 5, 5, generator=generator()) * 2 + 1
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    wanted = torch.cat(crossed_by_hand(layer, *theirs.chunk(2)))
    found = layer.train().crossed(ours)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    weights = torch.linspace(-1, 1, x.numel()).view_as(x)
    (found * weights).sum().backward()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4)
    clean_mean = x[:4].mean(dim=(0, 2, 3))
    torch.testing.assert_close(layer.mean[0], 0.9 * before[0] + 0.1 * clean_mean)


def test_crossed_statistics_in_eval_mode_are_the_stored_ones() -> None:
    layer = DualBatchNorm2d(3, DUAL_AP)
    randomise_norms(layer)
    layer.eval()
    x = torch.randn(4, 3, 5, 5, generator=generator())
    wanted = torch.cat([layer(x[:2], Branch.CLEAN), layer(x[2:], Branch.ADV)])
    torch.testing.assert_close(layer.crossed(x), wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="as many clean as"):
        layer.crossed(x[:3])


def test_a_crossed_network_differs_from_a_joint_one_only_in_its_statistics() -> None:
    model, x = dual(DUAL_AP).train(), random_images(8)
    crossed, joint = (joint_view(model, crossed=kind)(x) for kind in (True, False))
    assert not torch.allclose(crossed, joint)
    torch.testing.assert_close(crossed[:4], branch_view(model, Branch.CLEAN)(x[:4]), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="is dual already"):
        to_dual_bn(model, DUAL_BN)
    assert tiny()(x).shape == (8, 10)
