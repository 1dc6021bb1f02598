"""What two networks say of the same images at one λ, image by image: agreement, confusions, the paired difference.

Usage::

    asked = Asked(shown.card.weights_sha256, setting, attack)
    said = ask(shown, asked, "A", N)                 # Said, or None while nobody has asked
    counts(a.right, b.right)                          # {"both right": 140, "only A": 31, ...}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.forms import of_arrays
from app.lasting import keep, recall
from app.shown import Shown
from engine import api

N = 200
Classes = npt.NDArray[np.int64]
Right = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Asked:
    """Under what the answers are kept."""

    weights_sha256: str
    setting: api.NormSetting
    attack: api.PGD | None
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """labels (n,) and the class (n,) that the network gives each image, attacked where an attack was asked for."""

    labels: Classes
    classes: Classes

    @property
    def right(self) -> Right:
        return self.classes == self.labels


SAID = of_arrays("answers", Said)


def known(bench: api.Bench | None, asked: Asked) -> Said | None:
    """The answers, where some visitor had them computed."""
    return recall(asked, bench, asked.n, SAID)


def ask(bench: api.Bench, asked: Asked, progress: Callable[[int, int], None]) -> Said:
    """Computes and keeps them; white-box at the setting itself."""
    (classes,) = bench.predicted(api.Trial(asked.setting, asked.n, api.SEED), [asked.attack], progress)
    said = Said(bench.test.labels[: asked.n].astype(np.int64), classes.numpy())
    keep(asked, said, bench, asked.n, SAID)
    return said


def counts(a: Right, b: Right) -> dict[str, int]:
    """How many images fall in each of the four cells."""
    cells = {"both right": a & b, "only A right": a & ~b, "only B right": b & ~a, "both wrong": ~a & ~b}
    return {name: int(cell.sum()) for name, cell in cells.items()}


def confusion(said: Said, classes: tuple[str, ...]) -> pd.DataFrame:
    """One row a pair (true class, class given): count, and share of the true class in percent."""
    size = len(classes)
    table = np.bincount(said.labels * size + said.classes, minlength=size * size).reshape(size, size)
    totals = np.maximum(table.sum(1), 1)
    return pd.DataFrame(
        [
            {"true": true, "given": given, "count": int(table[i, j]), "share": 100 * table[i, j] / totals[i]}
            for i, true in enumerate(classes)
            for j, given in enumerate(classes)
        ]
    )


def image_rows(a: Said, b: Said, classes: tuple[str, ...]) -> pd.DataFrame:
    """One row an image, for the CSV and for picking those on which the two disagree."""
    names = np.array(classes)
    return pd.DataFrame(
        {
            "image": np.arange(len(a.labels)),
            "true": names[a.labels],
            "A says": names[a.classes],
            "B says": names[b.classes],
            "A right": a.right,
            "B right": b.right,
        }
    )


def same_images(a: Shown, b: Shown) -> bool:
    """Whether both networks are judged on the very same images."""
    return a.bench is not None and b.bench is not None and a.bench.test.checksum == b.bench.test.checksum
