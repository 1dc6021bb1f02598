"""Networks as public code writes them, independent of the engine's, and the files of their weights.

Usage::

    network = public("resnet20-option-A")             # plain torch module in eval mode
    file = write(tmp_path / "a.safetensors", network.state_dict())
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.convert import Request
from tests.support import from_seed, randomise_norms


class Block(nn.Module):
    """As in public CIFAR code; `option` A pads, B projects under the name given."""

    def __init__(self, n_in: int, n_out: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.option, self.changes = option, stride != 1 or n_in != n_out
        if self.changes and option != "A":
            projection = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
            self.add_module(option, projection)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if not self.changes:
            return F.relu(y + x)
        if self.option == "A":
            new = y.shape[1] - x.shape[1]
            return F.relu(y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, new // 2, new // 2)))
        return F.relu(y + self.get_submodule(self.option)(x))


class PublicResNet(nn.Module):
    """A plain ResNet in the usual names: conv1, bn1, layer1.0.conv1 ..., and a head called fc or linear."""

    def __init__(
        self, widths: tuple[int, ...], n_blocks: int, n_classes: int, option: str, head: str, stem: int = 1
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 3, stem, 1, bias=False), nn.BatchNorm2d(widths[0])
        n_in, self.stages = widths[0], len(widths)
        for stage, width in enumerate(widths):
            blocks: list[nn.Module] = []
            for index in range(n_blocks):
                blocks.append(Block(n_in, width, 2 if stage and not index else 1, option))
                n_in = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.head = head
        self.add_module(head, nn.Linear(n_in, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.get_submodule(self.head)(F.adaptive_avg_pool2d(x, 1).flatten(1))


class PublicWideBlock(nn.Module):
    """Pre-activation block in the names of the usual code (block1.layer.0.bn1, convShortcut)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(n_in), nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(n_out), nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.convShortcut = None if n_in == n_out else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pre = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(pre))))
        return torch.add(x if self.convShortcut is None else self.convShortcut(pre), y)


class PublicWideResNet(nn.Module):
    """WRN-16-4 as the usual code has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        n_in = 16
        for stage, width in enumerate((64, 128, 256)):
            blocks = [PublicWideBlock(n_in, width, 1 if stage == 0 else 2), PublicWideBlock(width, width, 1)]
            self.add_module(f"block{stage + 1}", nn.Sequential(OrderedDict(layer=nn.Sequential(*blocks))))
            n_in = width
        self.bn1, self.fc = nn.BatchNorm2d(256), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for stage in "123":
            x = self.get_submodule(f"block{stage}")(x)
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.bn1(x)), 1).flatten(1))


PUBLIC: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "resnet14": ("resnet14-s2", lambda: PublicResNet((16, 32, 64), 2, 10, "downsample", "fc", 2)),
    "resnet20-fc-downsample": ("resnet20", lambda: PublicResNet((16, 32, 64), 3, 10, "downsample", "fc")),
    "resnet20-linear-shortcut": ("resnet20", lambda: PublicResNet((16, 32, 64), 3, 7, "shortcut", "linear")),
    "resnet20-option-A": ("resnet20-pad", lambda: PublicResNet((16, 32, 64), 3, 10, "A", "linear")),
    "wrn-16-4": ("wrn-16-4", PublicWideResNet),
    "resnet18": ("resnet18", lambda: PublicResNet((64, 128, 256, 512), 2, 4, "shortcut", "linear")),
}


def public(name: str = "resnet14", seed: int = 0) -> nn.Module:
    return randomise_norms(from_seed(PUBLIC[name][1], seed), seed).eval()


def write(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, path)
    return path


def request(**changes: Any) -> Request:
    """What to make of a resnet14 in public names, unless changed."""
    values: dict[str, Any] = {"name": "mine", "architecture": "resnet14-s2", "design": "dual-bn"}
    return Request(**(values | changes))
