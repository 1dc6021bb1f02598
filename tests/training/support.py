"""A tiny run: 256 images of 8 x 8 pixels whose brightest channel is the label, 16 steps of a dual TinyCNN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from engine.data.base import ImageSet
from engine.training import EpochLog, TrainConfig, train
from engine.values import DESIGNS, Cancelled
from tests.support import dual, image_set

SOUND: dict[str, Any] = {
    "name": "tiny",
    "data": "shapes",
    "split": "train",
    "n_train": 256,
    "architecture": "resnet14-s2",
    "design": "dual-bn",
    "batch": "separate",
    "alpha": 0.5,
    "eps": 8 / 255,
    "attack_steps": 2,
    "step_ratio": 0.75,
    "eps_hold": 0.1,
    "eps_full": 0.5,
    "epochs": 2,
    "batch_size": 32,
    "lr": 0.1,
    "schedule": "one-cycle",
    "weight_decay": 5e-4,
    "augment": "none",
    "seed": 0,
}


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(**(SOUND | changes))


def coloured(n: int = 256) -> ImageSet:
    """Dim noise with the channel of the label (0 to 2) brightened: learnt in a few steps."""
    images = image_set(n, n_classes=3, split="train")
    bright = np.eye(3, dtype=np.uint8)[images.labels][:, :, None, None] * 100
    return replace(images, images=images.images // 2 + bright)


def trained(
    settings: TrainConfig,
    state: Path | None = None,
    stop_before: int | None = None,
    after_step: Callable[[nn.Module], None] = lambda _: None,
    every_step: bool = True,
) -> tuple[nn.Module, list[EpochLog]]:
    """Trains a fresh tiny network; the step `stop_before` is made but lost, as by a kill before it is saved."""
    model = dual(DESIGNS[settings.design]).requires_grad_(True)

    def progress(done: int, _: int) -> None:
        after_step(model)
        if done == stop_before:
            raise Cancelled

    rows: list[EpochLog] = []
    try:
        for row in train(model, settings, coloured(), state, progress, lambda _: every_step):
            rows.append(row)
    except Cancelled:
        assert stop_before is not None
    return model, rows
