"""CIFAR-10 reading, against files built here byte by byte; no file of the real data set is needed."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import os
import pickle  # noqa: TID251 - to write the Python layout, and pickles that must be refused
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data import cifar, cifar_files
from engine.data.base import SPLITS, Split, checksum
from engine.values import InputError

BATCHES = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]


@pytest.fixture(autouse=True)
def no_user_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DUAL_BN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def record(label: int, red: int, green: int, blue: int) -> bytes:
    """One image of one colour, as the data set's page describes it."""
    return bytes([label]) + bytes([red]) * 1024 + bytes([green]) * 1024 + bytes([blue]) * 1024


def binary_files() -> dict[str, bytes]:
    """Two records a batch; batch i (from 1) has the labels i and i + 1, and i in the red channel."""
    return {
        f"{name}.bin": record(i, i, 100, 200) + record(i + 1, i, 101, 201) for i, name in enumerate(BATCHES, start=1)
    }


def python_files(protocol: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for i, name in enumerate(BATCHES, start=1):
        rows = [list(record(0, i, 100, 200))[1:], list(record(0, i, 101, 201))[1:]]
        content = {b"batch_label": b"x", b"labels": [i, i + 1], b"data": np.array(rows, dtype=np.uint8)}
        files[name] = pickle.dumps(content, protocol=protocol)
    return files


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def write_tar(path: Path, files: dict[str, bytes], prefix: str = "cifar-10-batches-bin/") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


# --- what is read ---


def test_a_record_is_label_then_red_green_blue_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, 3072).tolist()
    folder = write_folder(tmp_path / "d", {"test_batch.bin": bytes([7, *pixels]) + record(0, 1, 2, 3)})
    images = cifar.load(folder, "test", allow_unofficial=True)
    assert images.images.shape == (2, 3, 32, 32)
    assert images.images.dtype == np.uint8
    assert images.labels.dtype == np.int64
    assert images.labels.tolist() == [7, 0]
    for channel, row, column in [(0, 0, 0), (0, 0, 31), (0, 1, 0), (1, 0, 0), (2, 31, 31), (1, 17, 5)]:
        assert images.images[0, channel, row, column] == pixels[channel * 1024 + row * 32 + column]
    by_hand = hashlib.sha256(bytes(pixels) + record(0, 1, 2, 3)[1:] + struct.pack("<qq", 7, 0)).hexdigest()
    assert images.checksum == by_hand
    assert images.name == "cifar10"
    assert images.classes == tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
    images.tensors(0, 2)  # a read-only array would warn here


def test_checksum_depends_on_content_not_on_memory_layout() -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (4, 3, 5, 5), dtype=np.uint8), np.arange(4, dtype=np.int64)
    assert checksum(np.asfortranarray(images), labels) == checksum(images, labels)
    other = images.copy()
    other[3, 2, 4, 4] ^= 1
    assert checksum(other, labels) != checksum(images, labels)
    assert checksum(images, labels[::-1]) != checksum(images, labels)


@pytest.mark.parametrize(
    ("split", "labels"),
    [
        ("train", [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]),
        ("train-40k", [1, 2, 2, 3, 3, 4, 4, 5]),
        ("held-out", [5, 6]),
        ("test", [6, 7]),
    ],
)
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_a_split_is_its_batches_in_official_order(form: str, split: Split, labels: list[int], tmp_path: Path) -> None:
    files = dict(reversed(binary_files().items()))  # in the official archive, too, the order is another
    path = write_folder(tmp_path / "d", files) if form == "folder" else write_tar(tmp_path / "d.tar.gz", files)
    images = cifar.load(path, split, allow_unofficial=True)
    assert images.split == split
    assert images.labels.tolist() == labels
    assert images.images[::2, 0, 0, 0].tolist() == labels[::2]
    assert len(images) == len(labels)


def test_every_split_has_files() -> None:
    assert set(cifar.SPLIT_FILES) == set(SPLITS)


def test_a_split_reads_only_its_own_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "d", binary_files() | {"data_batch_1.bin": b"damaged"})
    (folder / "test_batch.bin").unlink()
    assert len(cifar.load(folder, "held-out", allow_unofficial=True)) == 2


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


# --- official or not ---


def as_official(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    md5 = tuple(hashlib.md5(files[f"{name}.bin"]).hexdigest() for name in BATCHES)
    layout = dataclasses.replace(cifar_files.BINARY, md5=md5)
    monkeypatch.setattr(cifar_files, "LAYOUTS", (layout, cifar_files.PYTHON))


def test_unofficial_files_load_only_on_request_and_say_so(tmp_path: Path) -> None:
    files = binary_files()
    folder = write_folder(tmp_path / "d", files)
    with pytest.raises(InputError, match=r"data_batch_5\.bin.*data download cifar10.*allow unofficial"):
        cifar.load(folder, "held-out", allow_unofficial=False)
    note = cifar.load(folder, "held-out", allow_unofficial=True).note
    assert note.startswith("Unofficial files")
    assert f"data_batch_5.bin (2 images, MD5 {hashlib.md5(files['data_batch_5.bin']).hexdigest()[:8]}" in note
    assert "data_batch_1" not in note


def test_official_files_need_no_permission_and_have_no_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = binary_files()
    as_official(monkeypatch, files)
    folder = write_folder(tmp_path / "d", files)
    assert cifar.load(folder, "train", allow_unofficial=False).note == ""
    assert all(row.official for row in cifar.check(folder))


def test_an_official_file_under_another_batchs_name_is_unofficial(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = binary_files()
    as_official(monkeypatch, files)
    folder = write_folder(tmp_path / "d", files | {"data_batch_1.bin": files["data_batch_2.bin"]})
    with pytest.raises(InputError, match=r": data_batch_1\.bin;"):
        cifar.load(folder, "train", allow_unofficial=False)


def test_published_md5s() -> None:
    """Typed once more, from torchvision's and the data set's page; the layouts must not drift."""
    assert cifar_files.PYTHON.archive_md5 == "c58f30108f718f92721af3b95e74349a"
    assert cifar_files.BINARY.archive_md5 == "c32a1d4ab5d03f1284b67883e8d87530"
    assert cifar_files.PYTHON.md5[0] == "c99cafc152244af753f735de768cd75f"
    assert cifar_files.PYTHON.md5[5] == "40351d587109b95175f43aff81a1287e"
    assert cifar_files.BINARY.md5[4] == "53f37980c15c3d472c316c40844f3f0d"
    for layout in cifar_files.LAYOUTS:
        assert len(set(layout.md5)) == 6
        assert all(len(md5) == 32 and int(md5, 16) for md5 in layout.md5)


# --- damaged files ---

DAMAGED = {
    "empty": (b"", "it is empty"),
    "incomplete record": (record(1, 2, 3, 4) + record(1, 2, 3, 4)[:-1], r"incomplete \(3,072 of 3,073 bytes\)"),
    "less than one record": (b"\x01\x02", r"incomplete \(2 of 3,073 bytes\)"),
    "label 10": (record(9, 0, 0, 0) + record(10, 0, 0, 0), "label of image 1"),
    "too long": (record(1, 2, 3, 4) * 10_001, "more than 30,730,000 bytes"),
}


@pytest.mark.parametrize(("data", "problem"), DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_damaged_files_are_refused_and_reported(form: str, data: bytes, problem: str, tmp_path: Path) -> None:
    files = binary_files() | {"data_batch_3.bin": data}
    path = write_folder(tmp_path / "d", files) if form == "folder" else write_tar(tmp_path / "d.tar.gz", files)
    with pytest.raises(InputError, match=rf"data_batch_3\.bin in .* is damaged: .*{problem}.*download"):
        cifar.load(path, "train", allow_unofficial=True)
    rows = {row.file: row for row in cifar.check(path)}
    assert rows["data_batch_3.bin"].records == 0
    assert rows["data_batch_3.bin"].problem
    assert [row.records for name, row in rows.items() if name.endswith("bin")].count(2) == 5


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_a_missing_batch_is_named(form: str, tmp_path: Path) -> None:
    files = binary_files()
    del files["data_batch_2.bin"], files["data_batch_4.bin"]
    path = write_folder(tmp_path / "d", files) if form == "folder" else write_tar(tmp_path / "d.tar.gz", files)
    with pytest.raises(InputError, match="data_batch_2, data_batch_4 missing from .*'train-40k'"):
        cifar.load(path, "train-40k", allow_unofficial=True)
    rows = {row.file: row.problem for row in cifar.check(path)}
    assert rows["data_batch_2.bin"] == "it is missing"
    assert rows["data_batch_1.bin"] == ""


def test_a_file_without_permission_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "d", binary_files())
    whole_open = Path.open

    def forbidding_open(self: Path, *args: Any) -> Any:
        if self.name == "test_batch.bin":
            raise PermissionError(13, "Permission denied", str(self))
        return whole_open(self, *args)

    monkeypatch.setattr(Path, "open", forbidding_open)
    with pytest.raises(InputError, match="cannot be read"):
        cifar.load(folder, "test", allow_unofficial=True)
    assert "cannot be read" in cifar.check(folder)[-1].problem


def test_nothing_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="No CIFAR-10 files in .*data download cifar10"):
            cifar.load(path, "test", allow_unofficial=True)
        with pytest.raises(InputError, match="No CIFAR-10 files"):
            cifar.check(path)


# --- archives ---


def test_archive_report(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "cifar-10-binary.tar.gz", binary_files())
    first, *rest = cifar.check(path)
    assert first.file == "cifar-10-binary.tar.gz"
    assert first.md5 == hashlib.md5(path.read_bytes()).hexdigest()
    assert not first.official
    assert first.problem == ""
    assert [row.records for row in rest] == [2] * 6
    assert sorted(tmp_path.iterdir()) == [path]  # nothing was unpacked


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda data: data[: len(data) // 2], "ends too early"),
        (lambda data: data[:-6] + b"\0\0" + data[-4:], "cannot be unpacked"),
        (lambda data: b"no archive at all", "cannot be unpacked"),
        (lambda data: gzip.compress(b"no tar inside" * 100), "cannot be unpacked"),
        (lambda data: gzip.compress(gzip.decompress(data)[:2000]), "cannot be unpacked"),
        (lambda data: b"", "cannot be unpacked"),
    ],
    ids=["cut short", "wrong checksum", "no gzip", "no tar", "cut tar", "empty"],
)
def test_damaged_archives(spoil: Any, problem: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {f"{name}.bin": bytes([1, *rng.integers(0, 256, 3072).tolist()]) for name in BATCHES}
    path = write_tar(tmp_path / "cifar-10-binary.tar.gz", files)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match=f"cifar-10-binary.tar.gz is damaged: it {problem}"):
        cifar.load(path, "test", allow_unofficial=True)
    assert problem in cifar.check(path)[0].problem


def test_names_outside_the_official_folder_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "d" / "x.tar.gz"
    evil = {name: record(9, 9, 9, 9) for name in ("../test_batch.bin", "/test_batch.bin", "a/../test_batch.bin")}
    write_tar(path, evil, prefix="")
    with pytest.raises(InputError, match="test_batch missing"):
        cifar.load(path, "test", allow_unofficial=True)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["d", "x.tar.gz"]


def test_members_may_begin_with_a_dot(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tgz", binary_files(), prefix="./cifar-10-batches-bin/")
    assert cifar.load(path, "test", allow_unofficial=True).labels.tolist() == [6, 7]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    secret = write_folder(tmp_path / "s", {"secret": record(1, 2, 3, 4)}) / "secret"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
    with pytest.raises(InputError, match="test_batch missing"):
        cifar.load(path, "test", allow_unofficial=True)


@pytest.mark.parametrize("name", ["cifar-10-batches-bin/test_batch.bin", "readme.html", "pax header"])
def test_a_giant_member_is_not_read_whole(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = 2 * 3073
    monkeypatch.setattr(cifar_files, "PYTHON", dataclasses.replace(cifar_files.PYTHON, max_bytes=limit))
    monkeypatch.setattr(
        cifar_files, "LAYOUTS", (dataclasses.replace(cifar_files.BINARY, max_bytes=limit), cifar_files.PYTHON)
    )
    path, giant = tmp_path / "x.tar.gz", b"\0" * 50_000_000
    member = tarfile.TarInfo(name)
    member.size = len(giant)
    if name == "pax header":
        member.type = tarfile.XHDTYPE
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as packed:
        packed.write(member.tobuf(tarfile.USTAR_FORMAT) + giant + b"\0" * 1024)
    n_read = 0
    whole_read = gzip.GzipFile.read

    def counting_read(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        nonlocal n_read
        data = whole_read(self, size)
        n_read += len(data)
        return data

    monkeypatch.setattr(gzip.GzipFile, "read", counting_read)
    with pytest.raises(InputError, match="more than"):
        cifar.load(path, "test", allow_unofficial=True)
    assert any("more than" in row.problem for row in cifar.check(path))
    assert n_read < 200_000


# --- pickles ---


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
    "os.system": lambda path: Runs(os.system, f"touch {path}"),
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


# --- where the data lies ---


def test_find_looks_in_one_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cifar.find(None) is None
    cache = write_folder(tmp_path / "cache" / "dual-bn-explorer" / "cifar-10-batches-bin", binary_files())
    assert cifar.find(None) == cache
    monkeypatch.setenv("DUAL_BN_DATA", str(tmp_path / "named"))
    assert cifar.find(None) is None  # a named place that is empty is not silently replaced by another
    named = write_folder(tmp_path / "named" / "cifar-10-batches-py", python_files(4))
    assert cifar.find(None) == named
    assert cifar.find(tmp_path / "given") is None
    given = write_folder(tmp_path / "given", binary_files())
    assert cifar.find(given) == given


def test_find_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(InputError, match="DUAL_BN_DATA"):
        cifar.find(None)


def test_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cifar.data_home(None) == tmp_path / ".cache" / "dual-bn-explorer"
    monkeypatch.setenv("DUAL_BN_DATA", "~/pictures")
    assert cifar.data_home(None) == tmp_path / "pictures"


@pytest.mark.parametrize("name", ["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"])
def test_find_takes_archives(name: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / name, binary_files())
    assert cifar.find(tmp_path) == path
    assert cifar.find(path) == path
    assert cifar.load(tmp_path, "test", allow_unofficial=True).labels.tolist() == [6, 7]


def test_a_downloaded_archive_comes_before_unofficial_folders(tmp_path: Path) -> None:
    write_folder(tmp_path / "cifar-10-batches-bin", binary_files())
    archive = write_tar(tmp_path / "cifar-10-binary.tar.gz", binary_files())
    assert cifar.find(tmp_path) == archive


def test_find_passes_over_other_files(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-bin").mkdir()
    (tmp_path / "cifar-10-batches-bin" / "readme.html").touch()
    assert cifar.find(tmp_path) is None
    assert cifar.find(tmp_path / "cifar-10-batches-bin" / "readme.html") is None
