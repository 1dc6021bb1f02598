"""Fused networks against the networks that they stand for, and what must not be fused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from engine.norm import at, channels_last, fold, fused
from engine.values import Branch, branch_setting
from tests.support import dual_resnet, from_seed, random_images

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.05}
every_type = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "bfloat16"])


def calls(network: nn.Module, kind: type[nn.Module]) -> int:
    """How often modules of a kind are called in one pass."""
    counted: list[nn.Module] = []
    hooks = [m.register_forward_hook(lambda m, *_: counted.append(m)) for m in network.modules() if type(m) is kind]
    with torch.no_grad():
        network(random_images(1, side=32).to(next(network.parameters()).dtype))
    for hook in hooks:
        hook.remove()
    return len(counted)


@every_type
@pytest.mark.parametrize(("architecture", "left"), [("resnet20", 0), ("resnet14-s2", 0), ("wrn-16-4", 6)])
def test_fusing_keeps_the_logits(architecture: str, left: int, dtype: torch.dtype) -> None:
    """Of a pre-activation network the rectifiers that follow a norm are left."""
    folded = fold(at(dual_resnet(architecture), branch_setting(Branch.ADV))).to(dtype)
    images = channels_last(random_images(3, side=32).to(dtype))
    quick = fused(folded)
    with torch.no_grad():
        wanted = folded(images)
        torch.testing.assert_close(quick(images), wanted, rtol=0, atol=TOLERANCE[dtype] * float(wanted.abs().max()))
    assert calls(quick, nn.ReLU) == left < calls(folded, nn.ReLU)


class Sum(nn.Module):
    """relu of some sum with a convolution in it."""

    def __init__(self, of: Callable[[Sum, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.other, self.pool = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 16, 1), nn.AdaptiveAvgPool2d(1)
        self.scale, self.relu, self.of = nn.Parameter(torch.ones(16, 1, 1)), nn.ReLU(), of

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.of(self, x))


def read_twice(net: Sum, x: Tensor) -> Tensor:
    y = net.conv(x)
    return net.relu(y) + y.mean()


def term_read_twice(net: Sum, x: Tensor) -> Tensor:
    y = net.conv(x)
    return net.relu(net.scale + y) - y


def sum_read_twice(net: Sum, x: Tensor) -> Tensor:
    y = net.conv(x) + net.other(x)
    return net.relu(y) - y


SUMS: dict[str, Callable[[Sum, Tensor], Tensor]] = {
    "nothing": lambda net, x: net.conv(x),
    "another convolution": lambda net, x: net.other(x) + net.conv(x),
    "itself": lambda net, x: (lambda y: y + y)(net.conv(x)),
    "a number": lambda net, x: net.conv(x) + 1,
    "a parameter": lambda net, x: net.conv(x) + net.scale,
    "one pixel": lambda net, x: net.conv(x) + net.pool(net.other(x)),
    "to one pixel": lambda net, x: net.other(x[:, :, :1, :1]) + net.conv(x),
    "a convolution read twice": read_twice,
    "a term read twice": term_read_twice,
    "a sum read twice": sum_read_twice,
}


@every_type
@pytest.mark.parametrize("name", SUMS)
def test_whatever_is_added_the_sum_is_right(name: str, dtype: torch.dtype) -> None:
    network = from_seed(lambda: Sum(SUMS[name])).eval().to(dtype)
    images = random_images(4, side=9).to(dtype)
    with torch.no_grad():
        wanted = network(images)
        for layout in (images, channels_last(images)):
            torch.testing.assert_close(fused(network)(layout), wanted, rtol=0, atol=TOLERANCE[dtype])


def test_the_network_itself_stays_as_it_is() -> None:
    network = fold(at(dual_resnet("resnet14-s2"), branch_setting(Branch.CLEAN)))
    names, images = [name for name, _ in network.named_modules()], random_images(2)
    before = network(images)
    quick = fused(network)
    assert [name for name, _ in network.named_modules()] == names
    torch.testing.assert_close(network(images), before, rtol=0, atol=0)
    assert {p.data_ptr() for p in quick.parameters()} <= {p.data_ptr() for p in network.parameters()}
