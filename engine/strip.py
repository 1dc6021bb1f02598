"""The images beside a curve: a few test images, attacked white-box at every stop of a slider.

Usage::

    strip = make_strip(bench, LINES["ap@stored:1"], STOPS, attack, indices=range(8), seed=0)
    save_strips(path, weights_sha256, {"ap@stored:1|PGD-10 at 8/255": strip});  load_strips(path, weights_sha256)
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.attacks import PGD
from engine.beat import heard
from engine.data.base import Progress
from engine.evaluation import Bench, crafting_network, seeded
from engine.files import check_zip, write_atomic
from engine.values import InputError, NormSetting

DAMAGE = (OSError, ValueError, LookupError, EOFError, TypeError, RuntimeError, MemoryError, BadZipFile, zlib.error)
"""What numpy and zipfile raise on files that are cut short or altered; MemoryError: an array that claims to be huge."""
MOST_BYTES = 500_000_000
"""No file of strips unpacks to more (ours: some 10 MB)."""


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """m images at s stops of a line.

    indices (m,): which test images; lams (s,); deltas int8 (s, m, 3, h, w): adversarial minus original in 8-bit levels,
    rounded (at most half a level off); for the original and the adversarial image the predicted class, int8 (s, m), and
    its confidence, float32 (s, m) in [0, 1].
    """

    indices: npt.NDArray[np.int64]
    lams: npt.NDArray[np.float64]
    deltas: npt.NDArray[np.int8]
    clean_class: npt.NDArray[np.int8]
    clean_confidence: npt.NDArray[np.float32]
    adv_class: npt.NDArray[np.int8]
    adv_confidence: npt.NDArray[np.float32]


def _predict(logits: Tensor) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    confidence, predicted = logits.softmax(1).max(1)
    return predicted.cpu().numpy().astype(np.int8), confidence.cpu().numpy().astype(np.float32)


def make_strip(
    bench: Bench,
    line: Callable[[float], NormSetting],
    lams: Sequence[float],
    attack: PGD,
    indices: Sequence[int],
    seed: int,
    progress: Progress | None = None,
) -> Strip:
    """Attacks the images at every stop, through the very network of that stop, all steps (no early stop)."""
    attack = replace(attack, stop="never")
    images = torch.from_numpy(bench.test.images[list(indices)]).to(bench.device, torch.float32) / 255
    labels = torch.from_numpy(bench.test.labels[list(indices)]).to(bench.device)
    known: dict[NormSetting, tuple[npt.NDArray[np.generic], ...]] = {}
    for done, setting in enumerate(map(line, lams)):
        if setting in known:
            continue

        def beat(done: int = done) -> None:
            if progress is not None:
                progress(done, len(lams))

        view = bench.view(setting, beat)
        craft = heard(crafting_network(view), beat)
        adversarial = attack(craft, images, labels, generator=seeded(seed, 0))
        with torch.no_grad():
            clean_class, clean_confidence = _predict(view(images))
            adv_class, adv_confidence = _predict(view(adversarial))
        delta = ((adversarial - images) * 255).round().clamp(-127, 127).to(torch.int8).cpu().numpy()
        known[setting] = (delta, clean_class, clean_confidence, adv_class, adv_confidence)
        if progress is not None:
            progress(done + 1, len(lams))
    deltas, cc, cf, ac, af = (np.stack(column) for column in zip(*(known[line(lam)] for lam in lams), strict=True))
    return Strip(np.array(indices), np.array(lams), deltas, cc, cf, ac, af)  # pyright: ignore[reportArgumentType]


def save_strips(path: Path, weights_sha256: str, strips: dict[str, Strip]) -> None:
    """One .npz with every strip, named by line and attack."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for key, strip in strips.items():
        arrays |= {f"{key}|{f.name}": getattr(strip, f.name) for f in fields(Strip)}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, weights_sha256=np.array(weights_sha256), **arrays)
    write_atomic(path, content.getvalue())


def _check(strip: Strip) -> None:
    """ValueError where the arrays are not of the shapes and kinds that `Strip` states."""
    s, m = len(strip.lams), len(strip.indices)
    wanted = {"indices": ("i", 1, (m,)), "lams": ("f", 1, (s,)), "deltas": ("i", 5, (s, m, 3))}
    for f in fields(Strip):
        array: npt.NDArray[np.generic] = getattr(strip, f.name)
        kind, axes, shape = wanted.get(f.name, ("f" if "confidence" in f.name else "i", 2, (s, m)))
        if array.dtype.kind != kind or array.ndim != axes or array.shape[: len(shape)] != shape:
            raise ValueError(f"{f.name} is {array.dtype} of shape {array.shape}")


def load_strips(path: Path, weights_sha256: str) -> dict[str, Strip]:
    """The strips of a file. InputError where it is damaged or was made with other weights."""
    try:
        check_zip(path, MOST_BYTES)
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        made_with = str(arrays.pop("weights_sha256"))
        keys = dict.fromkeys(name.rsplit("|", 1)[0] for name in arrays)
        strips = {key: Strip(**{f.name: arrays[f"{key}|{f.name}"] for f in fields(Strip)}) for key in keys}
        for strip in strips.values():
            _check(strip)
    except DAMAGE as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run the sweep again.") from None
    if made_with != weights_sha256:
        raise InputError(f"{path} was made with other weights; delete it and run the sweep again.")
    return strips
