"""The Python layout of CIFAR-10: every pickle that was ever written of it is read, and no other does anything."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 - to write the pickles that must be refused
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data import cifar
from engine.data.base import SPLITS
from engine.values import InputError
from tests.data.cifar_support import binary_files, python_files, write_folder, write_tar


@pytest.mark.parametrize("protocol", [2, 3, 4], ids="protocol {}".format)
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_the_python_layout_holds_the_same_images(form: str, protocol: int, tmp_path: Path) -> None:
    files = python_files(protocol)
    if form == "folder":
        path = write_folder(tmp_path / "cifar-10-batches-py", files)
    else:
        path = write_tar(tmp_path / "c.tar.gz", files, "cifar-10-batches-py/")
    binary = write_folder(tmp_path / "bin", binary_files())
    for split in SPLITS:
        expected = cifar.load(binary, split, allow_unofficial=True)
        assert cifar.load(path, split, allow_unofficial=True).checksum == expected.checksum


def python_2_pickle(fortran: bool) -> tuple[bytes, np.ndarray]:
    """What Python 2 and numpy 1 wrote, opcode by opcode: str where bytes are today, old module names."""
    rows = np.random.default_rng(1).integers(0, 256, (2, 3072), dtype=np.uint8)
    raw = rows.tobytes("F" if fortran else "C")
    dtype = b"cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05"
    state = b"(K\x01K\x02M\x00\x0c\x86" + dtype + (b"\x88" if fortran else b"\x89") + b"T" + struct.pack("<i", len(raw))
    data = b"\x80\x02}q\x01(U\x04dataq\x02" + array + state + raw + b"tbU\x06labels]q\x08(K\x03K\x04eu."
    return data, rows


@pytest.mark.parametrize("fortran", [False, True])
def test_pickles_of_python_2_are_read(fortran: bool, tmp_path: Path) -> None:
    data, rows = python_2_pickle(fortran)
    images = cifar.load(write_folder(tmp_path / "d", {"test_batch": data}), "test", allow_unofficial=True)
    np.testing.assert_array_equal(images.images, rows.reshape(2, 3, 32, 32))
    assert images.labels.tolist() == [3, 4]


class Runs:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def load_pickled(data: bytes, folder: Path) -> np.ndarray:
    place = write_folder(folder / "cifar-10-batches-py", {"test_batch": data})
    assert cifar.check(place)[-1].records in (0, 1, 2)  # never raises
    return cifar.load(place, "test", allow_unofficial=True).images


HARMFUL = {
    "os.system": lambda path: Runs(os.system, f"touch {path}"),  # pyright: ignore[reportDeprecated]
    "eval": lambda path: Runs(eval, f"__import__('os').mkdir({str(path)!r})"),
    "numpy.save": lambda path: Runs(np.save, str(path), 1),
    "nested": lambda path: [{"deep": Runs(os.mkdir, str(path))}],
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("harm", HARMFUL.values(), ids=HARMFUL)
def test_code_in_a_pickle_is_refused_and_not_run(harm: Any, protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "it_ran"
    content = {b"labels": [1], b"data": np.zeros((1, 3072), np.uint8), b"extra": harm(marker)}
    data = pickle.dumps(content, protocol=protocol)
    with pytest.raises(InputError, match=r"test_batch in .* is damaged: it asks for .*, which no batch needs"):
        load_pickled(data, tmp_path)
    assert not marker.exists()
    pickle.loads(data)  # noqa: S301 - proves that the pickle would have done harm
    assert marker.exists() or (tmp_path / "it_ran.npy").exists()


def test_a_pickle_cannot_change_what_later_ones_see(tmp_path: Path) -> None:
    state = b"}U\x04argsU\x04evils"
    data = b"\x80\x02(cnumpy\nndarray\nN" + state + b"\x86bcnumpy\ndtype\n" + state + b"bl."
    with pytest.raises(InputError, match="damaged"):
        load_pickled(data, tmp_path / "a")
    assert np.array(load_pickled(python_2_pickle(False)[0], tmp_path / "b")).shape == (2, 3, 32, 32)


def pickled(**changes: Any) -> bytes:
    fields = {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]} | changes
    return pickle.dumps({key.encode(): value for key, value in fields.items() if value is not None}, protocol=4)


BAD_PICKLES = {
    "empty": (b"", "no readable pickle"),
    "noise": (b"\x93\x12 not a pickle", "no readable pickle"),
    "cut short": (pickled()[:-500], "no readable pickle"),
    "memo bomb": (b"\x80\x02Nr\xff\xff\xff\x7f.", "memo"),
    "giant string": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.", "no readable pickle"),
    "a list": (pickle.dumps([1, 2]), "no dictionary"),
    "no data": (pickled(data=None), "no array"),
    "data is a list": (pickled(data=[[0] * 3072]), "no array"),
    "float data": (pickled(data=np.zeros((2, 3072), np.float32)), "no uint8 array"),
    "object data": (pickled(data=np.array([[None] * 3072] * 2)), "no uint8 array"),
    "one axis": (pickled(data=np.zeros(6144, np.uint8)), "no array"),
    "CIFAR-10 as 1,024 columns": (pickled(data=np.zeros((6, 1024), np.uint8)), "no uint8 array"),
    "no images": (pickled(data=np.zeros((0, 3072), np.uint8), labels=[]), "holds 0 images"),
    "no labels": (pickled(labels=None), "no list of labels"),
    "labels as text": (pickled(labels=["1", "2"]), "label of image 0"),
    "label 10": (pickled(labels=[9, 10]), "label of image 1"),
    "label -1": (pickled(labels=[-1, 1]), "label of image 0"),
    "endless label": (pickled(labels=[0, 10**5000]), "label of image 1"),
    "too few labels": (pickled(labels=[1]), "2 images and 1 labels"),
}


@pytest.mark.parametrize(("data", "problem"), BAD_PICKLES.values(), ids=BAD_PICKLES)
def test_malformed_pickles(data: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"test_batch in .* is damaged: .*{problem}"):
        load_pickled(data, tmp_path)
