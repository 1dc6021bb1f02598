"""Your own images: a folder with one subfolder a class, or an .npz file; found, split and read the same way every time.

Usage::

    path = locate("photos", data_dir=None, from_card=False)
    test = load(path, "photos", "test", n=200, at_most=False)

Folder: classes are the subfolders by name, images their PNG, JPEG and WebP files. NPZ: `images` uint8 (n, h, w, 3) or
(n, 3, h, w), `labels` integers (n,), and `classes` (k,) strings or, without it, the numbers of the labels. The largest
centred square of each image is averaged down to 32 x 32 pixels (box filter). One image in five is held out ("test"),
the others are "train"; which ones follows from a fixed seed and the sorted names (NPZ: the order in the file). An image
that cannot be read is refused by name, never skipped: without it the split would be another.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from engine.data.base import ImageSet, checksum
from engine.data.cifar import data_home
from engine.values import InputError

Pixels = npt.NDArray[np.uint8]
SIDE = 32
HELD_OUT = 5
"""One in so many images is held out."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
MAX_IMAGES, MAX_CLASSES = 100_000, 1000
MAX_FILE, MAX_PIXELS, MAX_ARRAY = 20_000_000, 50_000_000, 1 << 30
"""Bytes of one image file, its pixels, and bytes of an .npz file's images once unpacked."""


@dataclass(frozen=True, slots=True)
class Source:
    """Everything that is there: a label for each image, and how to read the images at some positions."""

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    read: Callable[[Sequence[int]], Pixels]


def locate(name: str, data_dir: Path | None, *, from_card: bool) -> Path:
    """The folder or .npz file called `name`: a path, or something in the data folder (`cifar.data_home`).

    A name that stands in a card (`from_card`) may come from a stranger, and a server shows what it reads. So it is
    followed only within the data folder, links resolved, and the answer is the same whether or not it leads anywhere.
    """
    home = data_home(data_dir)
    try:
        inside = home.resolve()
        for place in (Path(name), home / name):
            allowed = not from_card or place.resolve().is_relative_to(inside)
            if allowed and (place.is_dir() or (place.suffix == ".npz" and place.is_file())):
                return place
    except (OSError, ValueError, RuntimeError):  # a null byte, a name too long, links in a circle
        pass
    if from_card:
        raise InputError(
            f"The card names images, {name!r}, that are not in the data folder (DUAL_BN_DATA); put them there, or name "
            "them by --data on the command line."
        )
    raise InputError(
        f"There is no data set {name!r}; choose shapes, cifar10, a folder of images (one subfolder a class) or an .npz."
    )


def load(path: Path, name: str, split: str, n: int | None, *, at_most: bool) -> ImageSet:
    """The first n images (all without n; with `at_most` fewer, where there are fewer) of a split, 32 x 32 pixels.

    Only these are read. InputError names what cannot be used.
    """
    if split not in ("train", "test"):
        raise InputError(f"{name} has the splits train and test, not {split!r}.")
    source = _folder(path) if path.is_dir() else _npz(path)
    total = len(source.labels)
    if total < 2 * HELD_OUT or len(source.classes) < 2:
        raise InputError(
            f"{name} has {total} images of {len(source.classes)} classes; at least {2 * HELD_OUT} of 2 are needed."
        )
    order = np.random.Generator(np.random.PCG64(0)).permutation(total)
    order = order[: total // HELD_OUT] if split == "test" else order[total // HELD_OUT :]
    n = len(order) if n is None else min(n, len(order)) if at_most else n
    if not 1 <= n <= len(order):
        raise InputError(f"{name} has {len(order)} {split} images, {n} were asked for.")
    images, labels = source.read(order[:n].tolist()), source.labels[order[:n]]
    note = f"Own images: {total:,} of {len(source.classes)} classes, one in {HELD_OUT} of them held out."
    return ImageSet(name, split, images, labels, source.classes, checksum(images, labels), note)


def fitted(images: ImageSet, classes: tuple[str, ...]) -> ImageSet:
    """The same images with their labels counted as `classes` are, where the names allow it; else as they are.

    They do if they are the same in another order, or if the images have numbers only: those count the outputs.
    """
    if images.classes == classes:
        return images
    if set(images.classes) == set(classes) and len(images.classes) == len(classes):
        table = np.array([classes.index(name) for name in images.classes], dtype=np.int64)
        labels = table[images.labels]
    elif numbered(images.classes) and len(images.classes) <= len(classes):
        labels = images.labels
    else:
        return images
    digest = checksum(images.images, labels)
    return ImageSet(images.name, images.split, images.images, labels, classes, digest, images.note)


def numbered(classes: tuple[str, ...]) -> bool:
    """Whether these are no names, only numbers from 0 on."""
    return classes == tuple(map(str, range(len(classes))))


def class_names(path: Path) -> tuple[str, ...] | None:
    """The classes by name, or None where they are only numbers."""
    found = (_folder(path) if path.is_dir() else _npz(path)).classes
    return None if numbered(found) else found


def _folder(path: Path) -> Source:
    try:
        with os.scandir(path) as entries:
            folders = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        if len(folders) > MAX_CLASSES:
            raise InputError(f"{path} has {len(folders):,} subfolders, so many classes; at most {MAX_CLASSES:,} fit.")
        files: list[Path] = []
        labels: list[int] = []
        for label, folder in enumerate(folders):
            found = _images_in(path / folder, MAX_IMAGES - len(files))
            files += found
            labels += [label] * len(found)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None

    def read(chosen: Sequence[int]) -> Pixels:
        return np.stack([_image(files[index]) for index in chosen])

    return Source(tuple(folders), np.array(labels, dtype=np.int64), read)


def _images_in(folder: Path, room: int) -> list[Path]:
    """The images of one class by name. InputError where there are none, or more than `room`."""
    if not folder.name.isprintable():
        raise InputError(f"The class folder {folder.name!r} has a name that cannot be shown; rename it.")
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if Path(e.name).suffix.lower() in SUFFIXES and not e.name.startswith(".")]
    if not names:
        raise InputError(
            f"{folder} holds no PNG, JPEG or WebP image; each subfolder must be a class with images in it."
        )
    if len(names) > room:
        raise InputError(f"{folder.parent} holds more than {MAX_IMAGES:,} images; take fewer.")
    return [folder / name for name in sorted(names)]


def _image(path: Path) -> Pixels:
    """(3, 32, 32) of one file; of a moving picture the first frame, see-through parts on white."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE:
            raise InputError(f"{path} is not a file of at most {MAX_FILE // 1_000_000} MB; take it out.")
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{path} has more than 8 bits a channel; save it with 8.")
            return _square(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{path} has more than {MAX_PIXELS // 1_000_000} million pixels; shrink it.") from None
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is not a sound PNG, JPEG or WebP image ({reason}); mend it or take it out.") from None


def _square(image: Image.Image) -> Pixels:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX, (left, top, left + side, top + side))
    return np.ascontiguousarray(np.asarray(small, dtype=np.uint8).transpose(2, 0, 1))


def _npz(path: Path) -> Source:
    try:
        with zipfile.ZipFile(path) as archive:
            labels = _member(archive, path, "labels", 8 * MAX_IMAGES)
            images = _member(archive, path, "images", MAX_ARRAY)
            named = "classes.npy" in archive.namelist()
            names = _member(archive, path, "classes", 1_000_000) if named else None
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a sound .npz file ({error}); write it again with numpy.savez.") from None
    images = _channels_first(images, path)
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise InputError(f"{path}: 'labels' must be {len(images):,} integers, one for each image.")
    highest = int(labels.max(initial=0))
    if labels.min(initial=0) < 0 or highest >= MAX_CLASSES:
        raise InputError(f"{path}: 'labels' must lie between 0 and {MAX_CLASSES - 1}.")
    classes = tuple(map(str, range(highest + 1)))
    if names is not None:
        classes = tuple(map(str, names.reshape(-1)))
        if names.dtype.kind != "U" or len(set(classes)) != len(classes) or len(classes) <= highest:
            raise InputError(f"{path}: 'classes' must be different names, one for each label from 0 to {highest}.")

    def read(chosen: Sequence[int]) -> Pixels:
        picked = images[list(chosen)]
        if picked.shape[2:] == (SIDE, SIDE):
            return picked
        return np.stack([_square(Image.fromarray(one.transpose(1, 2, 0))) for one in picked])

    return Source(classes, labels.astype(np.int64), read)


def _member(archive: zipfile.ZipFile, path: Path, name: str, limit: int) -> npt.NDArray[Any]:
    """One array; its size is read from its header before any of it is unpacked, so that a bomb costs nothing."""
    try:
        stream: IO[bytes] = archive.open(f"{name}.npy")
    except KeyError:
        raise InputError(f"{path} has no array {name!r}; it needs 'images' and 'labels'.") from None
    with stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise InputError(f"{path}: {name!r} is in a form that is not read here; write it with numpy.savez.")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        if dtype.hasobject:
            raise InputError(f"{path}: {name!r} holds Python objects, which are never unpickled; store plain numbers.")
        size = dtype.itemsize * int(np.prod([float(length) for length in shape]))
        if size > limit:
            raise InputError(f"{path}: {name!r} would take {size:,} bytes, more than {limit:,}; store fewer.")
    with archive.open(f"{name}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _channels_first(images: npt.NDArray[Any], path: Path) -> Pixels:
    """(n, 3, h, w), a view."""
    form = images.shape
    last, first = len(form) == 4 and form[3] == 3, len(form) == 4 and form[1] == 3
    if images.dtype != np.uint8 or last == first or min(form) == 0 or len(images) > MAX_IMAGES:
        raise InputError(
            f"{path}: 'images' must be uint8 of shape (n, h, w, 3) or (n, 3, h, w) with n at most {MAX_IMAGES:,}, not "
            f"{images.dtype} of shape {form}."
        )
    return images.transpose(0, 3, 1, 2) if last else images
