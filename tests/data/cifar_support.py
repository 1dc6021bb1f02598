"""CIFAR-10 files of two images a batch, built byte by byte. No file of the real data set is needed.

Usage::

    folder = write_folder(tmp_path / "d", binary_files())
    archive = write_tar(tmp_path / "d.tar.gz", python_files(4), "cifar-10-batches-py/")
"""

from __future__ import annotations

import io
import pickle  # noqa: TID251 - to write the Python layout
import tarfile
from pathlib import Path

import numpy as np

BATCHES = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]


def record(label: int, red: int, green: int, blue: int) -> bytes:
    """One image of one colour, as the data set's page describes it."""
    return bytes([label]) + bytes([red]) * 1024 + bytes([green]) * 1024 + bytes([blue]) * 1024


def binary_files() -> dict[str, bytes]:
    """Two records a batch; batch i (from 1) has the labels i and i + 1, and i in the red channel."""
    return {
        f"{name}.bin": record(i, i, 100, 200) + record(i + 1, i, 101, 201) for i, name in enumerate(BATCHES, start=1)
    }


def pickled(content: object, protocol: int) -> bytes:
    return pickle.dumps(content, protocol=protocol)


def python_files(protocol: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for i, name in enumerate(BATCHES, start=1):
        rows = [list(record(0, i, 100, 200))[1:], list(record(0, i, 101, 201))[1:]]
        content = {b"batch_label": b"x", b"labels": [i, i + 1], b"data": np.array(rows, dtype=np.uint8)}
        files[name] = pickled(content, protocol)
    return files


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def write_tar(path: Path, files: dict[str, bytes], prefix: str = "cifar-10-batches-bin/") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path
