"""Image sets by name: built-in `shapes`, and CIFAR-10 where its files are at hand.

Usage::

    test = load_data("shapes", "test", n=1000)
    held_out = load_data("cifar10", "held-out", data_dir=Path("data"), allow_unofficial=True)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.data import cifar, shapes
from engine.data.base import ImageSet, Split, checksum
from engine.values import InputError

DATASETS = ("shapes", "cifar10")


def load_data(
    name: str,
    split: Split,
    n: int | None = None,
    *,
    data_dir: Path | None = None,
    allow_unofficial: bool = False,
) -> ImageSet:
    """The first n images (all without n) of a split; the checksum is over just these.

    InputError where the data set is unknown, its files are not here or damaged, or n is out of range.
    """
    if name == "shapes":
        return shapes.load(split, n)
    if name != "cifar10":
        raise InputError(f"There is no data set {name!r}; choose one of {', '.join(DATASETS)}.")
    folder = cifar.find(data_dir)
    if folder is None:
        raise InputError(
            "CIFAR-10 is not here; run `python -m engine data download cifar10`, or name its folder by --data-dir."
        )
    whole = cifar.load(folder, split, allow_unofficial=allow_unofficial)
    if n is None:
        return whole
    if not 1 <= n <= len(whole):
        raise InputError(f"cifar10 {split} has {len(whole)} images here, {n} were asked for.")
    images, labels = whole.images[:n].copy(), whole.labels[:n].copy()
    return replace(whole, images=images, labels=labels, checksum=checksum(images, labels))


def evaluation_split(name: str) -> Split:
    """The split that figures are made on: never trained on. For CIFAR-10 training images 40000 to 49999."""
    return "test" if name == "shapes" else "held-out"


def calibration_split(name: str) -> Split:
    """The split that NS are re-estimated on: training images."""
    return "train" if name == "shapes" else "train-40k"


N_CALIBRATION = 2000
"""Images that re-estimation may draw from."""
