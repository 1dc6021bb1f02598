"""The networks, by name: those of this project, and any that a program registers.

Usage::

    model = build("resnet20", n_classes=10)
    register("my-net", lambda n_classes: MyNet(n_classes))
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import nn

from engine.models.resnet import InputNorm, ResNet, WideResNet
from engine.norm import to_dual_bn
from engine.values import CHECKPOINT_NAME, DUAL_BN, InputError

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
Builder = Callable[[int], nn.Module]
"""n_classes -> a fresh plain network that takes images (n, 3, h, w) in [0, 1]."""


def _norm() -> InputNorm:
    return InputNorm(CIFAR_MEAN, CIFAR_STD)


_known: dict[str, Builder] = {
    "resnet14-s2": lambda n_classes: ResNet(n_classes, (16, 32, 64), 2, _norm(), stem_stride=2),
    "resnet20": lambda n_classes: ResNet(n_classes, (16, 32, 64), 3, _norm()),
    "resnet20-pad": lambda n_classes: ResNet(n_classes, (16, 32, 64), 3, _norm(), padded=True),
    "resnet18": lambda n_classes: ResNet(n_classes, (64, 128, 256, 512), 2, _norm()),
    "wrn-16-4": lambda n_classes: WideResNet(n_classes, 4, 2, _norm()),
}
_registering = threading.Lock()
ARCHITECTURES: Mapping[str, Builder] = MappingProxyType(_known)


def register(name: str, builder: Builder) -> None:
    """Makes any network with `nn.BatchNorm2d` layers an architecture, for as long as the process lives.

    What `builder` makes must take images in [0, 1] of 32 x 32 pixels and keep all its tensors in its state dict. A name
    is given once: InputError for a second time, and for a network that cannot be made dual. Safe from several threads.
    """
    if not re.fullmatch(CHECKPOINT_NAME, name):
        raise InputError(f"An architecture's name consists of letters, digits, '.', '_' and '-', not {name!r}.")
    with torch.device("meta"):  # nothing is allocated, and no random number drawn
        network = builder(2)
        to_dual_bn(network, DUAL_BN)
    left_out = {key for key, _ in network.named_buffers()} - set(network.state_dict())
    if left_out:
        raise InputError(f"{name}: the buffer {min(left_out)!r} is not in the state dict; register it as persistent.")
    with _registering:
        if name in _known:
            raise InputError(f"There is an architecture {name!r} already; register this one under another name.")
        _known[name] = builder


def build(architecture: str, n_classes: int) -> nn.Module:
    """A freshly initialised plain network in train mode. Raises InputError for an unknown name."""
    if architecture not in ARCHITECTURES:
        raise InputError(f"There is no architecture {architecture!r}; choose one of {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[architecture](n_classes)


__all__ = ["ARCHITECTURES", "Builder", "InputNorm", "build", "register"]
