"""Damaged CIFAR-10 files and archives: refused by `load`, reported by `check`, and never read beyond their bounds."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data import cifar, cifar_files
from engine.values import InputError
from tests.data.cifar_support import BATCHES, binary_files, record, write_folder, write_tar

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
        (lambda _: b"no archive at all", "cannot be unpacked"),
        (lambda _: gzip.compress(b"no tar inside" * 100), "cannot be unpacked"),
        (lambda data: gzip.compress(gzip.decompress(data)[:2000]), "cannot be unpacked"),
        (lambda _: b"", "cannot be unpacked"),
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
