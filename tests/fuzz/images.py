"""The parsers of images: CIFAR-10 as folder and archive, and a visitor's own picture."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from app.components.paste import pasted
from engine.data import cifar
from engine.data.picture import MAX_ZOOM, Crop, at_size, open_picture
from tests.data.cifar_support import binary_files, pickled, python_files, write_tar
from tests.fuzz.damage import TYPES, Damage, cases, of_bytes, value
from tests.fuzz.parser import Parser, on_file
from tests.fuzz.pictures import good_pictures, of_pictures


def cifar_binary(folder: Path) -> Parser:
    return _cifar_folder(folder, binary_files())


def cifar_python(folder: Path) -> Parser:
    return _cifar_folder(folder, python_files(2), _batch, _batch)


def _batch(random: Random) -> bytes:
    """Pickled, with parts that are something else, of another size, left out or too many."""
    content: dict[bytes, Any] = {b"batch_label": b"x", b"labels": [6, 7], b"data": np.zeros((2, 3072), np.uint8)}
    for name in random.choices((*content, b"more"), (1, 4, 4, 1), k=random.randint(1, 2)):
        match random.randrange(4):
            case 0:
                content.pop(name, None)
            case 1:
                content[name] = value(random)
            case 2:
                content[name] = [random.randint(-2, 11) for _ in range(random.choice((0, 1, 2, 2, 3)))]
            case _:
                shape = random.sample((0, 1, 2, 2, 3, 3072), random.randrange(3))
                content[name] = np.zeros(shape, random.choice(TYPES))
    return pickled(content, random.choice((0, 2, 4)))


def _cifar_folder(folder: Path, files: dict[str, bytes], *more: Damage) -> Parser:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    last = sorted(files)[-1]  # the test batch

    def read(content: bytes) -> object:
        (folder / last).write_bytes(content)
        cifar.check(folder)
        return cifar.load(folder, "test", allow_unofficial=True)

    return Parser(cases(*more, *of_bytes(files[last])), files[last], read)


def cifar_archive(folder: Path) -> Parser:
    good = write_tar(folder / "good.tar.gz", binary_files()).read_bytes()
    inside = of_bytes(gzip.decompress(good), lambda content: gzip.compress(content, 1, mtime=0))

    def load(path: Path) -> object:
        cifar.check(path)
        return cifar.load(path, "test", allow_unofficial=True)

    return Parser(cases(*inside, *of_bytes(good)), good, on_file(folder / "data.tar.gz", load))


def pictures(_: Path) -> Parser:
    good = good_pictures()

    def read(content: bytes) -> object:
        """A picture as it comes from the clipboard, and what the page makes of it."""
        sent = pasted(base64.b64encode(content).decode())
        assert sent == content
        picture = open_picture(content)
        return [at_size(picture, crop, 32) for crop in (Crop(), Crop(MAX_ZOOM, 1.0, 0.0))]

    return Parser(cases(*of_pictures(good)), good[0], read)
