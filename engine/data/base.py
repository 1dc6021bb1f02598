"""What a data set is, wherever its images come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Split = Literal["train", "train-40k", "held-out", "test"]
"""`held-out` is cut off the training images for choices made during development; `train-40k` is the rest of `train`."""
SPLITS: tuple[Split, ...] = ("train", "train-40k", "held-out", "test")
Progress = Callable[[int, int], None]
"""Called with (done, total) as long work goes on; may raise `engine.values.Cancelled` to stop it."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Images of one split, in memory.

    images: uint8 (n, 3, h, w), labels: int64 (n,), checksum: SHA-256 hex digest over the images' and labels' bytes,
    note: one sentence for people where these are not the official or built-in files, else empty.
    """

    name: str
    split: str
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    checksum: str
    note: str = ""

    def tensors(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Images float32 (m, 3, h, w) in [0, 1] and labels int64 (m,) of the half-open range."""
        images = torch.from_numpy(self.images[start:stop]).to(torch.float32) / 255
        return images, torch.from_numpy(self.labels[start:stop])

    def __len__(self) -> int:
        return len(self.labels)


def checksum(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> str:
    """SHA-256 hex digest over the bytes of the images, then of the labels as little-endian int64."""
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()
