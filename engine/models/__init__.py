"""The networks, by name: a literal registry.

Usage::

    model = build("resnet20", n_classes=10)
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from engine.models.resnet import InputNorm, ResNet, WideResNet
from engine.values import InputError

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def _norm() -> InputNorm:
    return InputNorm(CIFAR_MEAN, CIFAR_STD)


ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "resnet14-s2": lambda n_classes: ResNet(n_classes, (16, 32, 64), 2, _norm(), stem_stride=2),
    "resnet20": lambda n_classes: ResNet(n_classes, (16, 32, 64), 3, _norm()),
    "resnet18": lambda n_classes: ResNet(n_classes, (64, 128, 256, 512), 2, _norm()),
    "wrn-16-4": lambda n_classes: WideResNet(n_classes, 4, 2, _norm()),
}


def build(architecture: str, n_classes: int) -> nn.Module:
    """A freshly initialised plain network in train mode. Raises InputError for an unknown name."""
    if architecture not in ARCHITECTURES:
        raise InputError(f"There is no architecture {architecture!r}; choose one of {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[architecture](n_classes)


__all__ = ["ARCHITECTURES", "InputNorm", "build"]
