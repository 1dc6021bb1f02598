"""CIFAR-10: which images a split has, which files are official, and where they are looked for."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from engine.data import cifar, cifar_files
from engine.data.base import SPLITS, Split, checksum
from engine.values import InputError
from tests.data.cifar_support import BATCHES, binary_files, python_files, record, write_folder, write_tar


@pytest.fixture(autouse=True)
def no_user_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DUAL_BN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


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
    assert " ".join(images.classes) == "airplane automobile bird cat deer dog frog horse ship truck"
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


def as_official(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    md5 = tuple(hashlib.md5(files[f"{name}.bin"]).hexdigest() for name in BATCHES)
    layout = dataclasses.replace(cifar_files.BINARY, md5=md5)
    monkeypatch.setattr(cifar_files, "LAYOUTS", (layout, cifar_files.PYTHON))


def test_unofficial_files_load_only_on_request_and_say_so(tmp_path: Path) -> None:
    files = binary_files()
    folder = write_folder(tmp_path / "d", files)
    with pytest.raises(InputError, match=r"data_batch_5\.bin.*data download cifar10.*--unofficial"):
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
    def no_home(_: Path) -> Path:
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
