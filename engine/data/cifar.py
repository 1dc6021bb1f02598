"""CIFAR-10 from its official files, unpacked or still in the archive: where they lie, what they are, the images.

Usage::

    path = find(None)                                           # $DUAL_BN_DATA, else the user's cache folder
    test = load(path, "test", allow_unofficial=False)           # ImageSet of 10,000 images
    for row in check(path): ...                                 # what the files are, damaged or not

A batch is official if its MD5 is the published file's. Others (a short test set, re-coded images) load only on request,
and the set's `note` says so. Data: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from engine.data.base import ImageSet, Split, checksum
from engine.data.cifar_files import (
    ALL_FILES,
    BINARY,
    LAYOUTS,
    PYTHON,
    TRAIN_FILES,
    Batch,
    Damaged,
    FileReport,
    batches,
    layout_of,
)
from engine.files import cache_home
from engine.values import InputError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLIT_FILES: dict[Split, tuple[str, ...]] = {
    "train": TRAIN_FILES,
    "train-40k": TRAIN_FILES[:4],
    "held-out": TRAIN_FILES[4:],
    "test": ("test_batch",),
}
WAY_OUT = "get the official files with `python -m engine data download cifar10`"


def data_home(data_dir: Path | None) -> Path:
    """Where data is looked for and downloaded to: `data_dir`, else $DUAL_BN_DATA, else the user's cache folder."""
    named = data_dir or os.environ.get("DUAL_BN_DATA")
    try:
        return Path(named).expanduser() if named else cache_home()
    except RuntimeError:
        raise InputError("No home folder is known for this user; name a data folder in DUAL_BN_DATA.") from None


def find(data_dir: Path | None) -> Path | None:
    """The batch folder or archive to give to `load`, or None if `data_home` has neither."""
    home = data_home(data_dir)
    try:
        if home.is_file():
            return home if home.name.endswith((".tar.gz", ".tgz")) else None
        # Before the unpacked folders comes what our download writes, so that downloading always mends unofficial files.
        places = (home, home / BINARY.archive, home / BINARY.folder, home / PYTHON.folder, home / PYTHON.archive)
        return next((place for place in places if place.is_file() or layout_of(place)), None)
    except OSError as error:
        raise InputError(f"{home} cannot be opened ({error.strerror}); name another data folder.") from None


def load(path: Path, split: Split, *, allow_unofficial: bool) -> ImageSet:
    """Images of `split` in official order, from a batch folder or archive or a folder in which `find` sees one."""
    place = _locate(path)
    found = _read(place, split)
    unofficial = [batch.report for batch in found if not batch.report.official]
    if unofficial and not allow_unofficial:
        listed = ", ".join(row.file for row in unofficial)
        raise InputError(f"Not the official CIFAR-10 in {place}: {listed}; {WAY_OUT}, or accept these (--unofficial).")
    images = np.concatenate([batch.arrays[0] for batch in found if batch.arrays])
    labels = np.concatenate([batch.arrays[1] for batch in found if batch.arrays])
    return ImageSet("cifar10", split, images, labels, CLASSES, checksum(images, labels), _note(unofficial))


def check(path: Path) -> list[FileReport]:
    """A row for each of the six batches, missing ones included; of an archive, before them one for itself."""
    place = _locate(path)
    rows: dict[str, FileReport] = {}
    layout, problem = layout_of(place), ""
    try:
        for batch in batches(place, ALL_FILES):
            layout = layout or batch.layout
            rows[batch.name] = batch.report
    except Damaged as error:
        problem = str(error)
    suffix = (layout or BINARY).suffix
    listed = [rows.get(name) or FileReport(name + suffix, 0, "", False, "it is missing") for name in ALL_FILES]
    return listed if place.is_dir() else [_archive_report(place, problem), *listed]


def _archive_report(archive: Path, problem: str) -> FileReport:
    try:
        with archive.open("rb") as stream:
            md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        md5 = ""
    return FileReport(archive.name, 0, md5, md5 in [layout.archive_md5 for layout in LAYOUTS], problem)


def _locate(path: Path) -> Path:
    place = path if path.is_file() else find(path)
    if place is None:
        raise InputError(f"No CIFAR-10 files in {path}; {WAY_OUT}, or name the folder that holds them.")
    return place


def _read(place: Path, split: Split) -> list[Batch]:
    """The sound batches of `split` in official order."""
    names = SPLIT_FILES[split]
    found: dict[str, Batch] = {}
    try:
        for batch in batches(place, names):
            if batch.report.problem:
                raise InputError(f"{batch.report.file} in {place} is damaged: {batch.report.problem}; {WAY_OUT}.")
            found[batch.name] = batch
    except Damaged as error:
        raise InputError(f"{place} is damaged: {error}; {WAY_OUT}.") from None
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{', '.join(missing)} missing from {place}, needed for {split!r}; {WAY_OUT}.")
    return [found[name] for name in names]


def _note(unofficial: list[FileReport]) -> str:
    listed = ", ".join(f"{row.file} ({row.records:,} images, MD5 {row.md5[:8]}...)" for row in unofficial)
    return f"Unofficial files, not comparable with published figures: {listed}." if listed else ""
