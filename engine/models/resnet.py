"""Plain CIFAR-style residual networks; input normalisation is their first layer, so images stay in [0, 1] outside.

Usage::

    model = build("resnet20", n_classes=10)      # engine.models
    logits = model(images)                       # images (n, 3, 32, 32) in [0, 1] -> (n, 10)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InputNorm(nn.Module):
    """(image - mean) / std per channel, with constants that are part of the network."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def conv(n_in: int, n_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Convolution without bias, He-initialised (He et al. 2015)."""
    layer = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class PadShortcut(nn.Module):
    """Every other pixel, new channels zero on both sides: option A of He et al. 2016, as in much public CIFAR code."""

    def __init__(self, n_new: int) -> None:
        super().__init__()
        self.n_each = n_new // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.n_each, self.n_each))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, activation after the norm (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, n_in: int, n_out: int, stride: int, padded: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu1 = conv(n_in, n_out, 3, stride), nn.BatchNorm2d(n_out), nn.ReLU()
        self.conv2, self.bn2, self.relu2 = conv(n_out, n_out, 3), nn.BatchNorm2d(n_out), nn.ReLU()
        if stride == 1 and n_in == n_out:
            self.shortcut = nn.Sequential()
        elif padded:
            self.shortcut = PadShortcut(n_out - n_in)
        else:
            self.shortcut = nn.Sequential(conv(n_in, n_out, 1, stride), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))


class PreActBlock(nn.Module):
    """Norm and activation before each convolution, as in wide residual networks (arXiv 1605.07146)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.relu1, self.conv1 = nn.BatchNorm2d(n_in), nn.ReLU(), conv(n_in, n_out, 3, stride)
        self.bn2, self.relu2, self.conv2 = nn.BatchNorm2d(n_out), nn.ReLU(), conv(n_out, n_out, 3)
        self.shortcut = None if stride == 1 and n_in == n_out else conv(n_in, n_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        pre = self.relu1(self.bn1(x))
        y = self.conv2(self.relu2(self.bn2(self.conv1(pre))))
        return y + (x if self.shortcut is None else self.shortcut(pre))


def _stages(
    block: Callable[[int, int, int], nn.Module], n_in: int, widths: Sequence[int], n_blocks: int
) -> nn.Sequential:
    """One stage a width; every stage but the first halves the resolution."""
    layers: list[nn.Module] = []
    for stage, width in enumerate(widths):
        for index in range(n_blocks):
            layers.append(block(n_in, width, 2 if stage and not index else 1))
            n_in = width
    return nn.Sequential(*layers)


class ResNet(nn.Module):
    """Stem, stages of basic blocks, average pool, linear head; 6 * n_blocks + 2 layers with three stages.

    A stem of stride 2 works at half the resolution throughout, at about a third of the cost. padded: shortcuts that
    change the size have no weights.
    """

    def __init__(
        self,
        n_classes: int,
        widths: Sequence[int],
        n_blocks: int,
        norm: InputNorm,
        stem_stride: int = 1,
        padded: bool = False,
    ) -> None:
        super().__init__()
        self.n_blocks = n_blocks
        self.normalize = norm
        self.conv, self.bn, self.relu = conv(3, widths[0], 3, stem_stride), nn.BatchNorm2d(widths[0]), nn.ReLU()
        self.blocks = _stages(partial(BasicBlock, padded=padded), widths[0], widths, n_blocks)
        self.head = nn.Linear(widths[-1], n_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(self.relu(self.bn(self.conv(self.normalize(images)))))
        return self.head(x.mean(dim=(2, 3)))


class WideResNet(nn.Module):
    """Pre-activation residual network; depth 6 * n_blocks + 4 (arXiv 1605.07146)."""

    def __init__(self, n_classes: int, widen: int, n_blocks: int, norm: InputNorm) -> None:
        super().__init__()
        self.n_blocks = n_blocks
        self.normalize, self.conv = norm, conv(3, 16, 3)
        self.blocks = _stages(PreActBlock, 16, [16 * widen, 32 * widen, 64 * widen], n_blocks)
        self.bn, self.relu = nn.BatchNorm2d(64 * widen), nn.ReLU()
        self.head = nn.Linear(64 * widen, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.bn(self.blocks(self.conv(self.normalize(images)))))
        return self.head(x.mean(dim=(2, 3)))
