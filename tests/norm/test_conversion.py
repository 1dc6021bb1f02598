"""`to_dual_bn`: what it keeps, and what it refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn

from engine.models import ARCHITECTURES, build
from engine.norm import DualBatchNorm2d, at, branch_view, dual_layers, to_dual_bn
from engine.values import DESIGNS, DUAL_BN, Branch, InputError, NormDesign, NormSetting, Stored
from tests.support import TinyCNN, from_seed, random_images, randomise_norms, snapshot, tiny


def logits_at(model: nn.Module, lam: float, images: Tensor) -> Tensor:
    with torch.no_grad():
        return at(model, NormSetting(lam, Stored(lam)))(images)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_conversion_keeps_the_logits(architecture: str) -> None:
    plain = randomise_norms(from_seed(lambda: build(architecture, 10))).eval()
    before, images = snapshot(plain), random_images(2, side=16)
    with torch.no_grad():
        expected = plain(images)
    model = to_dual_bn(plain, DUAL_BN)
    assert snapshot(plain) == before
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert torch.equal(logits_at(model, 0.0, images), expected)
    assert torch.equal(logits_at(model, 1.0, images), expected)
    torch.testing.assert_close(logits_at(model, 0.5, images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_conversion_keeps_the_logits_in_every_design(design: NormDesign) -> None:
    plain, images = tiny(), random_images(4)
    model = to_dual_bn(plain, design)
    assert [name for name, _ in dual_layers(model)] == ["bn1", "bn2"]
    for branch in Branch:
        assert torch.equal(logits_at(model, float(branch), images), plain(images).detach())


def test_the_copy_shares_nothing_with_the_network_it_was_made_from() -> None:
    plain = tiny()
    before, model = snapshot(plain), to_dual_bn(plain, DUAL_BN)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.add_(1)
    assert snapshot(plain) == before


class Twice(nn.Module):
    """One norm layer, reachable by two names and used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.first = self.second = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.conv2(self.first(self.conv1(images)).relu())).mean(dim=(2, 3))


def test_a_layer_used_twice_stays_one() -> None:
    plain = randomise_norms(from_seed(Twice))
    model = to_dual_bn(plain, DUAL_BN)
    assert isinstance(model.first, DualBatchNorm2d)
    for network in (model, at(model, NormSetting(0.5, Stored(0.5))), branch_view(model, Branch.ADV)):
        assert network.first is network.second
    images = random_images(4)
    twin = copy.deepcopy(plain)
    assert torch.equal(branch_view(model, Branch.ADV)(images), twin(images))
    assert torch.equal(model.first.mean[Branch.ADV], twin.get_buffer("first.running_mean"))


class MyBatchNorm(nn.BatchNorm2d):
    """A subclass may do more than a batch norm does."""


def with_bn(bn: nn.Module) -> nn.Module:
    model = TinyCNN()
    model.bn2 = bn  # pyright: ignore[reportAttributeAccessIssue]  # that it is no BatchNorm2d is the point
    return model


def with_hook(register: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model = TinyCNN()
        getattr(model.conv1, register)(lambda *_: None)
        return model

    return make


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "SyncBatchNorm": (lambda: with_bn(nn.SyncBatchNorm(6)), "'bn2' is a SyncBatchNorm, not exactly nn.BatchNorm2d"),
    "subclass": (lambda: with_bn(MyBatchNorm(6)), "'bn2' is a MyBatchNorm, not exactly nn.BatchNorm2d"),
    "cumulative": (lambda: with_bn(nn.BatchNorm2d(6, momentum=None)), "'bn2' averages cumulatively"),
    "no-affine": (lambda: with_bn(nn.BatchNorm2d(6, affine=False)), "'bn2' has no affine parameters"),
    "untracked": (
        lambda: with_bn(nn.BatchNorm2d(6, track_running_stats=False)),
        "'bn2' has no affine parameters or no running statistics",
    ),
    "already-dual": (lambda: to_dual_bn(TinyCNN(), DUAL_BN), "'bn1' is dual already"),
    "DataParallel": (lambda: nn.DataParallel(TinyCNN()), "the network inside it"),
    "fx": (lambda: fx.symbolic_trace(TinyCNN()), "the network inside it"),
    "no-norm": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), "no nn.BatchNorm2d layer to convert"),
    "forward-hook": (with_hook("register_forward_hook"), "'conv1' has hooks"),
    "forward-pre-hook": (with_hook("register_forward_pre_hook"), "'conv1' has hooks"),
    "backward-hook": (with_hook("register_full_backward_hook"), "'conv1' has hooks"),
    "backward-pre-hook": (with_hook("register_full_backward_pre_hook"), "'conv1' has hooks"),
}


@pytest.mark.parametrize(("make", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(make: Callable[[], nn.Module], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        to_dual_bn(from_seed(make), DUAL_BN)
    assert "\n" not in str(caught.value)


def test_norms_of_other_kinds_are_left_alone() -> None:
    model = from_seed(lambda: with_bn(nn.GroupNorm(2, 6)))
    assert type(to_dual_bn(model, DUAL_BN).bn2) is nn.GroupNorm
