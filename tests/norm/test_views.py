"""Views: plain networks that share a dual network's tensors, against networks built and trained by hand."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.norm import at, branch_view, dual_layers, joint_view, to_dual_bn
from engine.values import (
    DESIGNS,
    DUAL_BN,
    SINGLE,
    Branch,
    InputError,
    LayerMix,
    NormDesign,
    NormSetting,
    Reestimated,
    Stored,
    branch_setting,
)
from tests.support import dual, dual_resnet, random_images, random_labels, running, snapshot, tiny

designs = pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
branches = pytest.mark.parametrize("branch", Branch, ids=lambda b: b.name.lower())


def plain_twin(model: nn.Module, branch: Branch) -> nn.Module:
    """A plain network built by hand with copies of one branch's tensors."""
    state = model.state_dict()
    twin = copy.deepcopy(tiny())
    kept = {k: v for k, v in state.items() if not k.startswith("bn")}
    for name in ("bn1", "bn2"):
        row = min(branch, len(state[f"{name}.mean"]) - 1)
        entry = branch if f"{name}.weight.1" in state else 0
        kept |= {f"{name}.running_mean": state[f"{name}.mean"][row], f"{name}.running_var": state[f"{name}.var"][row]}
        kept |= {f"{name}.{half}": state[f"{name}.{half}.{entry}"] for half in ("weight", "bias")}
        kept[f"{name}.num_batches_tracked"] = torch.tensor(0)
    if "head.weight.0" in kept:
        kept |= {f"head.{half}": kept[f"head.{half}.{int(branch)}"] for half in ("weight", "bias")}
        kept = {k: v for k, v in kept.items() if not re.fullmatch(r"head\..*\.[01]", k)}
    twin.load_state_dict(copy.deepcopy(kept))
    return twin.eval()


@designs
@branches
def test_an_end_is_the_plain_network_of_that_branch(design: NormDesign, branch: Branch) -> None:
    model, images = dual(design), random_images(4)
    view = at(model, branch_setting(branch))
    assert not any(module.training for module in view.modules())
    assert torch.equal(view(images), plain_twin(model, branch)(images))


USES: dict[str, Callable[[nn.Module], object]] = {
    "at": lambda m: at(m, NormSetting(0.3, Stored(0.7)))(random_images(2)),
    "at-ends": lambda m: at(m, branch_setting(Branch.ADV))(random_images(2)),
    "at-train": lambda m: at(m, NormSetting(0.3, Stored(0.7))).train().requires_grad_(True)(random_images(2)),
    "branch-view": lambda m: branch_view(m, Branch.ADV)(random_images(2)),
    "joint-view": lambda m: joint_view(m)(random_images(4)),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_view_leaves_the_model_as_it_was(use: Callable[[nn.Module], object]) -> None:
    """In eval mode, with frozen parameters, as `load_checkpoint` hands it out."""
    model = dual().requires_grad_(False)
    before = snapshot(model)
    use(model)
    if use is USES["at-train"]:  # a view shares what is not mixed, so requires_grad of those is shared too
        model.requires_grad_(False)
    assert snapshot(model) == before


def test_views_share_memory() -> None:
    model = dual_resnet()
    ours = {t.data_ptr() for t in model.state_dict().values()}
    view = at(model, NormSetting(0.5, Stored(0.5)))
    copied = {k for k, v in view.state_dict().items() if v.data_ptr() not in ours}
    assert {name.rsplit(".", 1)[1] for name in copied} == {
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip
    assert {name.rsplit(".", 1)[0] for name in copied} == {name for name, _ in dual_layers(model)}


def swapped(model: nn.Module) -> nn.Module:
    """A copy whose branches have exchanged their AP, by editing the state as the paper's code does."""
    state = model.state_dict()
    other = {".0": ".1", ".1": ".0"}
    renamed = {k[:-2] + other[k[-2:]] if k[-2:] in other else k: v for k, v in state.items()}
    result = copy.deepcopy(model)
    result.load_state_dict(copy.deepcopy(renamed))
    return result


def test_swapping_ap_is_a_setting_and_twice_is_the_identity() -> None:
    model, images = dual(), random_images(4)
    for branch in Branch:
        crossed = NormSetting(1.0 - branch, Stored(float(branch)))
        by_edit = at(swapped(model), branch_setting(branch))(images)
        assert torch.equal(at(model, crossed)(images), by_edit)
        assert not torch.equal(by_edit, at(model, branch_setting(branch))(images))
        twice = at(swapped(swapped(model)), branch_setting(branch))
        assert torch.equal(twice(images), at(model, branch_setting(branch))(images))


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        pytest.param(NormSetting(0.25, Stored(0.75)), {"bn1": (0.25, 0.75), "bn2": (0.25, 0.75)}, id="none"),
        pytest.param(
            NormSetting(0, Stored(0), (("bn2", LayerMix(affine=1.0)),)), {"bn1": (0, 0), "bn2": (1, 0)}, id="ap"
        ),
        pytest.param(
            NormSetting(0.5, Stored(0.5), (("bn1", LayerMix(statistics=1.0)),)),
            {"bn1": (0.5, 1), "bn2": (0.5, 0.5)},
            id="ns",
        ),
        pytest.param(
            NormSetting(0, Stored(1), (("bn2", LayerMix(1.0, 0.25)), ("bn1", LayerMix(0.75, 0.0)))),
            {"bn1": (0.75, 0), "bn2": (1, 0.25)},
            id="both-layers",
        ),
    ],
)
def test_overrides_against_a_network_built_by_hand(
    setting: NormSetting, expected: dict[str, tuple[float, float]]
) -> None:
    model, images = dual(), random_images(4)
    clean, adv = plain_twin(model, Branch.CLEAN).state_dict(), plain_twin(model, Branch.ADV).state_dict()
    by_hand = plain_twin(model, Branch.CLEAN)
    mixed = dict(clean)
    for layer, (affine, statistics) in expected.items():
        for key, lam in (
            ("weight", affine),
            ("bias", affine),
            ("running_mean", statistics),
            ("running_var", statistics),
        ):
            name = f"{layer}.{key}"
            mixed[name] = clean[name] + lam * (adv[name] - clean[name])
    by_hand.load_state_dict(mixed)
    torch.testing.assert_close(at(model, setting)(images), by_hand(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        pytest.param(NormSetting(0, Stored(0), (("bn9", LayerMix(1.0)),)), "'bn9'; it has bn1, bn2", id="unknown"),
        pytest.param(NormSetting(0, Reestimated("clean")), "needs calibration images", id="reestimated"),
        pytest.param(NormSetting(0, Stored(1.5)), "Layer 'bn1': At NS lambda 1.5 a variance is not positive", id="var"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused(setting: NormSetting, sentence: str) -> None:
    model = dual()
    model.get_submodule("bn1").var[Branch.ADV] = 0.01  # pyright: ignore[reportIndexIssue]
    with pytest.raises(InputError, match=sentence):
        at(model, setting)


@designs
@branches
def test_a_branch_view_trains_as_a_plain_network_does(design: NormDesign, branch: Branch) -> None:
    """Three SGD steps through the view equal three on a plain network; the other branch's own tensors stay."""
    model = dual(design).train()
    twin = plain_twin(model, branch).train()
    other = snapshot(at(model, branch_setting(Branch(1 - branch))))["tensors"]
    ours, theirs = (torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9) for m in (model, twin))
    view = branch_view(model, branch)
    for step in range(3):
        images, labels = random_images(6, seed=step), random_labels(6, seed=step)
        for network, optimizer in ((view, ours), (twin, theirs)):
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
    after = plain_twin(model, branch).state_dict()
    for name, tensor in twin.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(after[name], tensor, rtol=1e-6, atol=1e-6, msg=name)
    shared = {"running": design.share_statistics, "weight": design.share_affine, "bias": design.share_affine}
    for name, content in snapshot(at(model, branch_setting(Branch(1 - branch))))["tensors"].items():
        half = name.split(".")[1].split("_")[0]
        if name.startswith("bn") and half in shared:
            assert (content == other[name]) != shared[half], name


def test_a_joint_view_of_the_single_design_is_one_forward_on_both_halves() -> None:
    """T1 of the paper's code: single BN is one pass over 2 b images, not two passes."""
    model = to_dual_bn(tiny(), SINGLE).train()
    twin = copy.deepcopy(tiny()).train()
    batch = torch.cat([random_images(4), random_images(4, seed=1) * 0.3])
    logits, expected = joint_view(model)(batch), twin(batch)
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)
    logits.square().sum().backward()
    expected.square().sum().backward()
    layers = dict(dual_layers(model))
    for name in ("bn1", "bn2"):
        bn = twin.get_submodule(name)
        assert isinstance(bn, nn.BatchNorm2d)
        assert torch.equal(layers[name].mean[0], running(bn)[0])
        assert torch.equal(layers[name].var[0], running(bn)[1])
        torch.testing.assert_close(layers[name].weight[0].grad, bn.weight.grad)
    torch.testing.assert_close(model.get_parameter("conv1.weight").grad, twin.get_parameter("conv1.weight").grad)


def grads(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_a_joint_view_without_sharing_equals_both_branch_views() -> None:
    joint, separate = dual(DUAL_BN).train(), dual(DUAL_BN).train()
    clean, adv = random_images(4), random_images(4, seed=1) * 0.3
    together = joint_view(joint)(torch.cat([clean, adv]))
    apart = torch.cat([branch_view(separate, Branch.CLEAN)(clean), branch_view(separate, Branch.ADV)(adv)])
    torch.testing.assert_close(together, apart)
    together.square().sum().backward()
    apart.square().sum().backward()
    ours, theirs = grads(joint), grads(separate)
    assert ours.keys() == theirs.keys() == dict(joint.named_parameters()).keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-5, msg=name)
    for (name, a), (_, b) in zip(dual_layers(joint), dual_layers(separate), strict=True):
        torch.testing.assert_close(a.mean, b.mean, msg=name)
        torch.testing.assert_close(a.var, b.var, msg=name)
