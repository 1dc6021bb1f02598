"""The dual layer against `nn.BatchNorm2d` and the mixture formula, in all four designs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.norm import DualBatchNorm2d
from engine.values import DESIGNS, DUAL_BN, Branch, InputError, NormDesign
from tests.support import generator, randomise_norms, running

CHANNELS = 5
designs = pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
branches = pytest.mark.parametrize("branch", Branch, ids=lambda b: b.name.lower())
SHARED = [design for design in DESIGNS.values() if design.share_statistics]
SEPARATE = [design for design in DESIGNS.values() if not design.share_statistics]


def features(n: int = 6, seed: int = 0, shift: float = 0.0) -> Tensor:
    return torch.randn(n, CHANNELS, 4, 3, generator=generator(seed)) * 2 + shift


def layer_and_references(design: NormDesign, momentum: float = 0.1) -> tuple[DualBatchNorm2d, list[nn.BatchNorm2d]]:
    """A dual layer and, for each branch, the plain layer it must act as; what is shared is the clean branch's."""
    plain = [nn.BatchNorm2d(CHANNELS, eps=1e-3, momentum=momentum) for _ in Branch]
    for seed, bn in enumerate(plain):
        randomise_norms(bn, seed)
    clean, adv = plain
    layer = DualBatchNorm2d(CHANNELS, design, eps=1e-3, momentum=momentum)
    with torch.no_grad():
        if design.share_statistics:
            adv.running_mean, adv.running_var = clean.running_mean, clean.running_var
        if design.share_affine:
            adv.weight, adv.bias = clean.weight, clean.bias
        for row, bn in enumerate(plain[: len(layer.mean)]):
            layer.mean[row], layer.var[row] = running(bn)
        for entry, bn in enumerate(plain[: len(layer.weight)]):
            layer.weight[entry].copy_(bn.weight)
            layer.bias[entry].copy_(bn.bias)
    return layer, plain


@designs
@branches
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("momentum", [0.1, 0.3])
def test_a_branch_is_a_batchnorm(design: NormDesign, branch: Branch, training: bool, momentum: float) -> None:
    layer, plain = layer_and_references(design, momentum)
    layer.train(training)
    expected = plain[branch].train(training)
    for step in range(3):
        x = features(seed=step, shift=step).requires_grad_()
        twin = x.detach().clone().requires_grad_()
        y, wanted = layer(x, branch), expected(twin)
        torch.testing.assert_close(y, wanted, rtol=0, atol=0)
        y.square().mul(torch.arange(1, 4)).sum().backward()
        wanted.square().mul(torch.arange(1, 4)).sum().backward()
        torch.testing.assert_close(x.grad, twin.grad, rtol=0, atol=0)
        if step in (0, 2):
            for b in Branch:
                mean, var = layer.statistics_row(b)
                torch.testing.assert_close(mean, plain[b].running_mean, rtol=0, atol=0)
                torch.testing.assert_close(var, plain[b].running_var, rtol=0, atol=0)
    for b in Branch:
        weight, bias = layer.affine_entry(b)
        torch.testing.assert_close(weight.grad, plain[b].weight.grad, rtol=0, atol=0)
        torch.testing.assert_close(bias.grad, plain[b].bias.grad, rtol=0, atol=0)


@designs
def test_a_fresh_layer_is_a_fresh_batchnorm(design: NormDesign) -> None:
    layer = DualBatchNorm2d(CHANNELS, design)
    fresh = nn.BatchNorm2d(CHANNELS)
    assert (layer.eps, layer.momentum) == (fresh.eps, fresh.momentum)
    for branch in Branch:
        torch.testing.assert_close(layer.eval()(features(), branch), fresh.eval()(features()), rtol=0, atol=0)


def test_there_is_no_default_branch() -> None:
    with pytest.raises(TypeError, match="branch"):
        DualBatchNorm2d(CHANNELS, DUAL_BN)(features())


@pytest.mark.parametrize("design", SHARED, ids=lambda d: d.name)
def test_joint_batches_pool_by_the_mixture_formula(design: NormDesign) -> None:
    """mu_mix = (mu_a + mu_c) / 2 and var_mix = (var_a + var_c) / 2 + (mu_a - mu_c)^2 / 4, in numpy."""
    layer, plain = layer_and_references(design)
    mean_before, var_before = layer.mean[0].numpy().copy(), layer.var[0].numpy().copy()
    clean, adv = features(seed=1).numpy().astype(np.float64), features(seed=2, shift=1.5).numpy().astype(np.float64)
    joint = layer.train().joint(torch.from_numpy(np.concatenate([clean, adv])).float()).detach().numpy()

    mu_c, mu_a = clean.mean((0, 2, 3)), adv.mean((0, 2, 3))
    mean = (mu_c + mu_a) / 2
    var = (clean.var((0, 2, 3)) + adv.var((0, 2, 3))) / 2 + (mu_a - mu_c) ** 2 / 4
    for half, expected_from, bn in zip(np.split(joint, 2), (clean, adv), plain, strict=True):
        weight, bias = bn.weight.detach().numpy(), bn.bias.detach().numpy()
        normalised = (expected_from - mean[:, None, None]) / np.sqrt(var + 1e-3)[:, None, None]
        np.testing.assert_allclose(half, normalised * weight[:, None, None] + bias[:, None, None], atol=2e-5)

    # Running estimates: momentum 0.1 once (T3: normalising twice would act as 0.19), variance unbiased as in torch.
    count = 2 * clean.size / CHANNELS
    np.testing.assert_allclose(layer.mean[0], 0.9 * mean_before + 0.1 * mean, atol=1e-5)
    np.testing.assert_allclose(layer.var[0], 0.9 * var_before + 0.1 * var * count / (count - 1), atol=1e-5)


@designs
def test_a_joint_batch_keeps_its_order(design: NormDesign) -> None:
    layer = DualBatchNorm2d(CHANNELS, design).eval()
    x = torch.arange(6.0).view(6, 1, 1, 1).expand(6, CHANNELS, 2, 2)
    torch.testing.assert_close(layer.joint(x), x / (1 + 1e-5) ** 0.5)


@designs
def test_a_joint_batch_is_both_branches_in_eval_mode(design: NormDesign) -> None:
    layer = layer_and_references(design)[0].eval()
    clean, adv = features(seed=1), features(seed=2, shift=1)
    expected = torch.cat([layer(clean, Branch.CLEAN), layer(adv, Branch.ADV)])
    torch.testing.assert_close(layer.joint(torch.cat([clean, adv])), expected)


@designs
def test_joint_and_separate_batches_agree_only_where_no_statistics_are_shared(design: NormDesign) -> None:
    joint, separate = (layer_and_references(design)[0].train() for _ in range(2))
    clean, adv = features(seed=1), features(seed=2, shift=1.5)
    together = joint.joint(torch.cat([clean, adv]))
    apart = torch.cat([separate(clean, Branch.CLEAN), separate(adv, Branch.ADV)])
    if design.share_statistics:
        assert (together - apart).abs().max() > 0.2
        assert (joint.mean - separate.mean).abs().max() > 0.02
    else:
        torch.testing.assert_close(together, apart, rtol=0, atol=0)
        torch.testing.assert_close(joint.mean, separate.mean, rtol=0, atol=0)
        torch.testing.assert_close(joint.var, separate.var, rtol=0, atol=0)


def test_an_odd_joint_batch_is_refused() -> None:
    with pytest.raises(InputError, match="as many clean as adversarial images, got 5"):
        DualBatchNorm2d(CHANNELS, DUAL_BN).joint(features(5))


@designs
@branches
def test_frozen_at_an_end_holds_that_branch_exactly(design: NormDesign, branch: Branch) -> None:
    layer, plain = layer_and_references(design)
    if design == DUAL_BN:
        with torch.no_grad():  # 0 times infinity would be NaN
            layer.mean[1 - branch] = layer.weight[1 - branch][:] = torch.inf
    bn = layer.frozen(float(branch), float(branch))
    assert type(bn) is nn.BatchNorm2d
    assert not bn.training
    assert (bn.eps, bn.momentum) == (layer.eps, layer.momentum)
    for name in ("running_mean", "running_var", "weight", "bias"):
        assert torch.equal(getattr(bn, name), getattr(plain[branch], name)), name


@pytest.mark.parametrize(("affine", "statistics"), [(0.5, 0.5), (0.25, 0.75), (1.5, -0.5), (0, 1), (1, 0)])
def test_frozen_interpolates_each_half_on_its_own(affine: float, statistics: float) -> None:
    layer, (clean, adv) = layer_and_references(DUAL_BN)
    layer.var[0] += 2  # so that extrapolation stays positive
    bn = layer.frozen(affine, statistics)

    def between(a: Tensor, b: Tensor, lam: float) -> np.ndarray:
        return a.detach().double().numpy() * (1 - lam) + b.detach().double().numpy() * lam

    mean, var = running(bn)
    np.testing.assert_allclose(mean, between(running(clean)[0], running(adv)[0], statistics), atol=1e-6)
    np.testing.assert_allclose(var, between(layer.var[0], layer.var[1], statistics), atol=1e-6)
    np.testing.assert_allclose(bn.weight.detach(), between(clean.weight, adv.weight, affine), atol=1e-6)
    np.testing.assert_allclose(bn.bias.detach(), between(clean.bias, adv.bias, affine), atol=1e-6)


@pytest.mark.parametrize(("adv_var", "refused"), [(0.2, True), (0.5, False)])
def test_extrapolation_to_a_variance_below_zero_is_refused(adv_var: float, refused: bool) -> None:
    layer = DualBatchNorm2d(CHANNELS, DUAL_BN)
    layer.var[1, 2] = adv_var  # at 1.5: 1.5 * adv_var - 0.5
    if refused:
        with pytest.raises(InputError, match=r"At NS lambda 1\.5 a variance is not positive"):
            layer.frozen(0.0, 1.5)
    else:
        assert layer.frozen(0.0, 1.5)(features()).isfinite().all()


@designs
def test_weight_decay_leaves_the_unused_branch_alone(design: NormDesign) -> None:
    layer, _ = layer_and_references(design)
    weight, bias = (p.detach().clone() for p in layer.affine_entry(Branch.ADV))
    mean, var = (t.clone() for t in layer.statistics_row(Branch.ADV))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.5)
    layer.train()(features(), Branch.CLEAN).square().sum().backward()
    optimizer.step()
    assert torch.equal(layer.affine_entry(Branch.ADV)[0], weight) != design.share_affine
    assert torch.equal(layer.affine_entry(Branch.ADV)[1], bias) != design.share_affine
    assert torch.equal(layer.statistics_row(Branch.ADV)[0], mean) != design.share_statistics
    assert torch.equal(layer.statistics_row(Branch.ADV)[1], var) != design.share_statistics


@designs
def test_conversion_carries_everything_over(design: NormDesign) -> None:
    bn = nn.BatchNorm2d(CHANNELS, eps=0.01, momentum=0.3).double().eval()
    randomise_norms(bn)
    bn.bias.requires_grad_(False)
    layer = DualBatchNorm2d.from_batchnorm(bn, design)
    assert (layer.eps, layer.momentum, layer.training) == (0.01, 0.3, False)
    assert {tensor.dtype for tensor in layer.state_dict().values()} == {torch.float64}
    assert [p.requires_grad for p in layer.weight] + [p.requires_grad for p in layer.bias] == (
        [True] * len(layer.weight) + [False] * len(layer.bias)
    )
    x = features().double()
    before = bn(x)
    for branch in Branch:
        assert torch.equal(layer(x, branch), before)
    with torch.no_grad():
        layer.mean.add_(1)
        layer.weight[0].add_(1)
    assert torch.equal(bn(x), before), "the layer shares tensors with the network it was made from"
    assert torch.equal(layer.affine_entry(Branch.ADV)[0], bn.weight) != design.share_affine
