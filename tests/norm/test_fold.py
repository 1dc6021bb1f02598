"""Folding against the unfolded networks, and against the closed form of one layer."""

from __future__ import annotations

import linecache

import pytest
import torch
from torch import Tensor, nn

from engine.norm import Folder, at, channels_last, fold, to_dual_bn
from engine.values import DUAL_BN, Branch, InputError, LayerMix, NormSetting, Reestimated, Stored, branch_setting
from tests.support import (
    N_CLASSES,
    dual,
    dual_resnet,
    from_seed,
    generator,
    random_images,
    randomise_norms,
    running,
    snapshot,
)

SETTINGS = (
    branch_setting(Branch.CLEAN),
    branch_setting(Branch.ADV),
    NormSetting(0.3, Stored(0.6), (("bn", LayerMix(affine=0.9, statistics=0.1)),)),
)


def norms_left(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]


def perturb(model: nn.Module) -> None:
    """Changes every parameter and the running statistics in place, as training does."""
    g = generator(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=g))
    randomise_norms(model, 8)


@pytest.mark.parametrize(
    ("architecture", "kept"),
    [("resnet14-s2", set()), ("wrn-16-4", {"bn", *(f"blocks.{i}.bn1" for i in range(1, 6))})],
    ids=["resnet14-s2", "wrn-16-4"],
)
def test_folding_keeps_logits_and_input_gradients(architecture: str, kept: set[str]) -> None:
    """Of a pre-activation network the norms that follow a sum of two paths are kept."""
    model, images = dual_resnet(architecture), random_images(2, side=16)
    folder = Folder(model)
    for setting in SETTINGS:
        view = at(model, setting)
        before, wanted = snapshot(view), logits_and_gradient(view, images)
        for folded in (fold(view), folder.at(setting)):
            assert set(norms_left(folded)) == kept
            assert not any(p.requires_grad for p in folded.parameters())
            for ours, theirs in zip(logits_and_gradient(folded, channels_last(images)), wanted, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
        assert snapshot(view) == before
    perturb(model)
    for setting in SETTINGS[::-1]:
        folded = folder.at(setting)
        torch.testing.assert_close(folded(images), at(model, setting)(images).detach(), rtol=1e-3, atol=1e-4)


def logits_and_gradient(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    images = images.clone().requires_grad_()
    logits = network(images)
    return logits.detach(), torch.autograd.grad(logits.square().sum(), images)[0]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_folding_a_layer_is_the_formula(bias: bool) -> None:
    """a = weight / sqrt(var + eps): the convolution becomes a W, its bias a (b - mean) + beta."""
    model = from_seed(lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, eps=1e-3)))
    view = at(randomise_norms(to_dual_bn(model.eval(), DUAL_BN)), NormSetting(0.5, Stored(0.5)))
    conv, bn = view.children()
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d)
    mean, var = running(bn)
    a = bn.weight / (var + 1e-3).sqrt()
    (folded,) = (module for module in fold(view).modules() if isinstance(module, nn.Conv2d))
    torch.testing.assert_close(folded.weight, a[:, None, None, None] * conv.weight)
    own = torch.zeros(4) if conv.bias is None else conv.bias
    torch.testing.assert_close(folded.bias, a * (own - mean) + bn.bias)


class BranchingConv(nn.Module):
    """The convolution's output is also used before the norm, so the two cannot be merged."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, N_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        return self.head((self.bn(x) + x).mean(dim=(2, 3)))


def test_a_convolution_with_two_readers_is_left_alone() -> None:
    model, images = randomise_norms(to_dual_bn(from_seed(BranchingConv).eval(), DUAL_BN)), random_images(3)
    folder = Folder(model)
    perturb(model)
    for setting in SETTINGS:
        expected = at(model, setting)(images).detach()
        for folded in (fold(at(model, setting)), folder.at(setting)):
            assert norms_left(folded) == ["bn"]
            torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4)


class SharedConv(nn.Module):
    """One convolution before two norms, one norm behind two convolutions, and a parameter of the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.other, self.conv = (nn.Conv2d(c, 4, 3, padding=1) for c in (3, 3, 4))
        self.bn, self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        x = (self.bn(self.stem(images)) + self.bn(self.other(images))).relu() * self.scale
        x = self.bn1(self.conv(x)).relu()
        return self.bn2(self.conv(x)).mean(dim=(2, 3))


def test_layers_that_are_used_twice_are_left_alone() -> None:
    model, images = randomise_norms(to_dual_bn(from_seed(SharedConv).eval(), DUAL_BN)), random_images(3)
    folder = Folder(model)
    for _ in range(2):
        for setting in SETTINGS:
            expected = at(model, setting)(images).detach()
            for folded in (fold(at(model, setting)), folder.at(setting)):
                assert norms_left(folded) == ["bn", "bn1", "bn2"]
                torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4)
        perturb(model)


def test_folding_leaves_nothing_behind_in_the_process() -> None:
    """Code generated by torch.fx is kept for ever: 12 kB a fold in a server that folds at every move of a slider."""
    view = at(dual(), branch_setting(Branch.ADV))
    fold(view)
    before = len(linecache.cache)
    for _ in range(3):
        fold(view)
    assert len(linecache.cache) == before


class DataDependent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.bn(self.conv(images))
        return x if bool(x.sum() > 0) else -x


def test_what_cannot_be_folded_is_refused() -> None:
    with pytest.raises(InputError, match=r"Only a network in eval mode .* make a view with at\(\)"):
        fold(at(dual(), branch_setting(Branch.ADV)).train())
    with pytest.raises(InputError, match="cannot be traced for folding .* use it unfolded"):
        fold(at(to_dual_bn(from_seed(DataDependent), DUAL_BN), branch_setting(Branch.ADV)))
    with pytest.raises(InputError, match="needs stored NS"):
        Folder(dual()).at(NormSetting(0, Reestimated("clean")))
