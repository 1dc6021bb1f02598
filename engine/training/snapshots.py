"""NS of clean and of adversarial images at equal AP, by layer and epoch: the gap over training (arXiv 2403.19150).

Usage::

    keep(path, epoch, model, data, eps)      # adds an epoch to snapshots.npz
    load_snapshots(path)["blocks.0.bn1"].adv_mean     # (epochs, c)
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from engine.attacks import PGD
from engine.data.base import ImageSet
from engine.files import check_zip, write_atomic
from engine.norm import at, channels_last, fold
from engine.norm.reestimate import reestimate
from engine.strip import DAMAGE, MOST_BYTES
from engine.values import Branch, InputError, NormSetting, Reestimated, ThreatModel, branch_setting

N_IMAGES, BATCH, STEPS, SEED = 256, 128, 10, 0
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshots:
    """One layer: (epochs, c) each; mean and var of its input on clean and on adversarial images, adversarial AP."""

    epochs: npt.NDArray[np.int64]
    clean_mean: Floats
    clean_var: Floats
    adv_mean: Floats
    adv_var: Floats


KINDS = ("clean_mean", "clean_var", "adv_mean", "adv_var")


def take(model: nn.Module, data: ImageSet, eps: float) -> dict[str, Tensor]:
    """(4, c) a layer, rows as in `KINDS`, over the first 256 images; every layer normalizes with the batch's own NS.

    Adversarial images are PGD-10 at `eps`, step eps/4, against the adversarial branch as it stands.
    """
    device = next(model.parameters()).device
    craft = fold(at(model, branch_setting(Branch.ADV)))
    attack = PGD(ThreatModel("Linf", eps), STEPS, eps / 4)
    generator = torch.Generator().manual_seed(SEED)
    pairs: list[tuple[Tensor, Tensor]] = []
    for start in range(0, min(N_IMAGES, len(data)), BATCH):
        images, labels = (tensor.to(device) for tensor in data.tensors(start, min(len(data), start + BATCH)))
        pairs.append((images, attack(craft, channels_last(images), labels, generator=generator)))
    setting = NormSetting(float(Branch.ADV), Reestimated("clean"))
    clean, adv = (reestimate(model, setting, [pair[kind] for pair in pairs]) for kind in (0, 1))
    return {name: torch.stack([*clean[name], *adv[name]]).float().cpu() for name in clean}


def keep(path: Path, epoch: int, model: nn.Module, data: ImageSet, eps: float) -> None:
    """Adds an epoch to the file unless it holds it already."""
    held = _read(path) if path.exists() else {}
    epochs = held.pop("epochs", np.zeros(0, np.int64))
    if epoch in epochs:
        return
    new = {name: rows.numpy()[None] for name, rows in take(model, data, eps).items()}
    joined = {name: np.concatenate([held[name], rows]) if name in held else rows for name, rows in new.items()}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, epochs=np.append(epochs, epoch), **joined)
    write_atomic(path, content.getvalue())


def _read(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        check_zip(path, MOST_BYTES)
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except DAMAGE as error:
        raise InputError(f"{path} cannot be read ({error}); delete it.") from None


def load_snapshots(path: Path) -> dict[str, Snapshots]:
    """Every layer's statistics by epoch. InputError where the file is damaged."""
    held = _read(path)
    try:
        epochs = held.pop("epochs")
        wrong = [
            name for name, rows in held.items() if rows.dtype.kind != "f" or rows.shape[:2] != (len(epochs), len(KINDS))
        ]
        if epochs.dtype.kind != "i" or wrong:
            raise ValueError(f"{wrong[0] if wrong else 'epochs'} has another form")
        epochs = epochs.astype(np.int64)
        return {
            name: Snapshots(epochs, *(rows[:, kind].astype(np.float32) for kind in range(len(KINDS))))
            for name, rows in held.items()
        }
    except DAMAGE as error:
        raise InputError(f"{path} is damaged ({error}); delete it.") from None
