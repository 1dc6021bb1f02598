"""Small networks, images and checkpoints that many tests share. Nothing here touches torch's global random state.

Usage::

    model = dual(DUAL_BN)                        # a tiny dual network whose branches differ
    before = snapshot(model); ...; assert snapshot(model) == before
    folder = write_checkpoint(tmp_path, "toy")   # resnet14-s2 with random weights
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.cards import ModelCard
from engine.checkpoint import save_checkpoint
from engine.data import shapes
from engine.data.base import ImageSet, checksum
from engine.evaluation import Bench
from engine.models import build
from engine.norm import DualBatchNorm2d, DualLinear, at, dual_layers, to_dual_bn
from engine.values import DUAL_BN, Branch, NormDesign, branch_setting

SIDE, N_CLASSES = 8, 10


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(n: int, side: int = SIDE, seed: int = 0) -> Tensor:
    """(n, 3, side, side), uniform in [0, 1]."""
    return torch.rand(n, 3, side, side, generator=generator(seed))


def random_labels(n: int, n_classes: int = N_CLASSES, seed: int = 0) -> Tensor:
    return torch.randint(0, n_classes, (n,), generator=generator(seed))


def from_seed(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """The module that `make` draws from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


class TinyCNN(nn.Module):
    """conv, norm, relu, twice, the second time with a shortcut; average pool; linear head."""

    def __init__(self, n_classes: int = N_CLASSES) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.bn1(self.conv1(images)).relu()
        x = (self.bn2(self.conv2(x)) + x).relu()
        return self.head(x.mean(dim=(2, 3)))


def running(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(mean, var) of a layer that tracks them."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    return bn.running_mean, bn.running_var


def randomise_norms(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draws the NS and AP of every norm layer, plain or dual, and every dual head, each branch for itself."""
    g = generator(seed)
    for module in model.modules():
        if isinstance(module, DualLinear):
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.copy_(torch.randn(parameter.shape, generator=g) * 0.3)
        if not isinstance(module, DualBatchNorm2d | nn.BatchNorm2d):
            continue
        plain = isinstance(module, nn.BatchNorm2d)
        weights, biases = ([module.weight], [module.bias]) if plain else (module.weight, module.bias)
        mean, var = running(module) if plain else (module.mean, module.var)
        with torch.no_grad():
            for parameter in weights:
                parameter.copy_(torch.rand(parameter.shape, generator=g) + 0.5)
            for parameter in biases:
                parameter.copy_(torch.randn(parameter.shape, generator=g) * 0.3)
            mean.copy_(torch.randn(mean.shape, generator=g) * 0.3)
            var.copy_(torch.rand(var.shape, generator=g) + 0.5)
    return model


def tiny(seed: int = 0) -> nn.Module:
    """A plain `TinyCNN` in eval mode with NS and AP of its own."""
    return randomise_norms(from_seed(TinyCNN, seed), seed).eval()


def dual(design: NormDesign = DUAL_BN, seed: int = 0) -> nn.Module:
    """A dual `TinyCNN` in eval mode; its branches differ in all that the design does not share."""
    return randomise_norms(to_dual_bn(tiny(seed), design), seed + 1)


def dual_resnet(architecture: str = "resnet14-s2", design: NormDesign = DUAL_BN, seed: int = 0) -> nn.Module:
    """A registered network in eval mode with random weights; its branches differ."""
    model = to_dual_bn(from_seed(lambda: build(architecture, N_CLASSES), seed), design)
    return randomise_norms(model, seed + 1).eval()


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that a caller could notice being changed: tensors bit by bit, modes, requires_grad, gradients, hooks."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return {
        "tensors": {k: v.detach().cpu().contiguous().numpy().tobytes() for k, v in model.state_dict().items()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "gradients": {k: (p.requires_grad, p.grad is None) for k, p in model.named_parameters()},
        "hooks": [len(getattr(module, kind)) for module in model.modules() for kind in hooks],
        "types": [type(module).__name__ for module in model.modules()],
    }


def image_set(n: int, side: int = SIDE, seed: int = 0, n_classes: int = N_CLASSES, split: str = "test") -> ImageSet:
    """Random 8-bit images with random labels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    labels = rng.integers(0, n_classes, n)
    return ImageSet("toy", split, images, labels, tuple(map(str, range(n_classes))), checksum(images, labels))


def linear_bench(n: int = 150, n_calibration: int = 100) -> Bench:
    """Two classes told apart by one convolution as large as the image: linear in the pixels, so that attacks have
    closed forms. Most labels are what the clean branch says."""

    def plain() -> nn.Module:
        layers: dict[str, nn.Module] = {"conv": nn.Conv2d(3, 2, 6), "bn": nn.BatchNorm2d(2), "flatten": nn.Flatten()}
        return nn.Sequential(OrderedDict(layers))

    model = randomise_norms(to_dual_bn(from_seed(plain), DUAL_BN)).eval().requires_grad_(False)
    bn = dict(dual_layers(model))["bn"]
    with torch.no_grad():  # so different that an attack on one branch is a poor one on the other
        for entry, weight in zip(bn.weight, ((1.2, 0.6), (0.6, 1.2)), strict=True):
            entry.copy_(torch.tensor(weight))
    test, calibration = image_set(n, 6, 1, 2), image_set(n_calibration, 6, 2, 2, "train")
    with torch.no_grad():
        images = test.tensors(0, n)[0]
        for branch, entry in zip(Branch, bn.bias, strict=True):
            entry.sub_(at(model, branch_setting(branch))(images).mean(0))
        labels = at(model, branch_setting(Branch.CLEAN))(images).argmax(1).numpy()
    labels = np.where(np.arange(n) % 7 == 0, 1 - labels, labels)
    return Bench(model, replace(test, labels=labels), calibration)


def card_for(name: str, design: NormDesign) -> ModelCard:
    return ModelCard(
        name=name,
        architecture="resnet14-s2",
        classes=shapes.CLASSES,
        design=design.name,
        data={"name": "shapes", "split": "train", "n": 1, "sha256": "", "note": ""},
        config={"eps": 8 / 255},
        weights_sha256="",
        images_seen=0,
        wall_seconds=0,
        device="cpu",
        torch_version="",
        engine_version="",
        git_commit="",
        command="",
    )


def write_checkpoint(root: Path, name: str, design: NormDesign = DUAL_BN) -> Path:
    """root/name with an untrained resnet14-s2."""
    save_checkpoint(root / name, dual_resnet(design=design), card_for(name, design))
    return root / name


class Worker(threading.Thread):
    """A thread whose `join` returns what its function returned, or raises what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.work, self.result, self.error = work, None, None

    def run(self) -> None:
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001  # handed to whoever joins
            self.error = error

    def outcome(self) -> Any:
        self.join(60)
        if self.is_alive():
            raise TimeoutError("The thread did not end within 60 s.")
        if self.error is not None:
            raise self.error
        return self.result


def in_threads(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each function returns, all of them run at the same time."""
    workers = [Worker(work) for work in works]
    for worker in workers:
        worker.start()
    return [worker.outcome() for worker in workers]
