"""Image sets by name: built-in `shapes`, CIFAR-10 where its files are at hand, and your own by their path.

Usage::

    test = load_data("shapes", "test", n=1000)
    held_out = load_data("cifar10", "held-out", data_dir=Path("data"), allow_unofficial=True)
    photos = load_data("photos", "test")        # a folder with one subfolder a class, or an .npz: engine.data.own
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.data import cifar, own, shapes
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
    classes: tuple[str, ...] | None = None,
    from_card: bool = False,
    at_most: bool = False,
) -> ImageSet:
    """The first n images (all without n) of a split; the checksum is over just these.

    classes: a network's, in its order; your own images' labels are counted as these are, where their names fit.
    from_card: `name` was read from a card, so it is not followed out of the data folder (`own.locate`).
    at_most: n is a limit, fewer will do. InputError where the data set is unknown, its files are not here or damaged,
    or n is out of range.
    """
    if name == "shapes":
        return shapes.load(split, n)
    if name != "cifar10":
        path = own.locate(name, data_dir, from_card=from_card)
        found = own.load(path, name, split, n, at_most=at_most)
        return found if classes is None else own.fitted(found, classes)
    folder = cifar.find(data_dir)
    if folder is None:
        raise InputError(
            "CIFAR-10 is not here; run `python -m engine data download cifar10`, "
            "or name its folder by --data-dir or DUAL_BN_DATA."
        )
    whole = cifar.load(folder, split, allow_unofficial=allow_unofficial)
    n = len(whole) if n is None else min(n, len(whole)) if at_most else n
    if not 1 <= n <= len(whole):
        raise InputError(f"cifar10 {split} has {len(whole)} images here, {n} were asked for.")
    if n == len(whole):
        return whole
    images, labels = whole.images[:n].copy(), whole.labels[:n].copy()
    return replace(whole, images=images, labels=labels, checksum=checksum(images, labels))


def classes_of(name: str, data_dir: Path | None = None) -> tuple[str, ...] | None:
    """The names of a data set's classes in order, or None where there are none: no set, or labels that only count.

    Those of CIFAR-10 are known without its images; your own set is looked at, and InputError where it cannot be used.
    """
    if name in ("", *DATASETS):
        return {"shapes": shapes.CLASSES, "cifar10": cifar.CLASSES}.get(name)
    return own.class_names(own.locate(name, data_dir, from_card=False))


def evaluation_split(name: str) -> Split:
    """The split that figures are made on: never trained on. For CIFAR-10 training images 40000 to 49999."""
    return "held-out" if name == "cifar10" else "test"


def calibration_split(name: str) -> Split:
    """The split that NS are re-estimated on: training images."""
    return "train-40k" if name == "cifar10" else "train"


N_CALIBRATION = 2000
"""Images that re-estimation may draw from."""
