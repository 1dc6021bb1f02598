"""The two published forms of CIFAR-10's batch files, read from a folder or out of the archive.

Usage::

    for batch in batches(path, ALL_FILES):      # one at a time, in the order they lie there
        print(batch.report.file, batch.report.problem)

Nothing is written to disk, and no code in a pickle is run: names it asks for become inert `_Part` records, from which
the array is put together here. Every read is bounded, so a crafted file costs an error, not the machine's memory.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle  # noqa: TID251 - only subclassed, by `_Unpickler`, which lets no code be named
import pickletools
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

TRAIN_FILES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
ALL_FILES = (*TRAIN_FILES, "test_batch")
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS
MAX_RECORDS = 10_000
N_CLASSES = 10

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Layout:
    """One published form. `md5` follows ALL_FILES; no more than `max_bytes` is read of a file."""

    folder: str
    archive: str
    archive_md5: str
    suffix: str
    max_bytes: int
    md5: tuple[str, ...]


# The MD5s of the single .bin files are not on the data set's page. They are the ones that several public projects check
# after unpacking the official archive (a Go and three CMake files); data_batch_5.bin's was also seen on an exact copy.
BINARY = Layout(
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    archive_md5="c32a1d4ab5d03f1284b67883e8d87530",
    suffix=".bin",
    max_bytes=MAX_RECORDS * RECORD,
    md5=(
        "5dd7e06a14cb22eb9f671a540d1b7c25",
        "5ea93a67294ea407fff1d09f752e9692",
        "942cd6a4bcdd0dd3c604fbe906cb4421",
        "ae636b3ba5c66a11e91e8cb52e771fcb",
        "53f37980c15c3d472c316c40844f3f0d",
        "803d5f7f4d78ea53de84dbe85f74fb6d",
    ),
)
PYTHON = Layout(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    suffix="",
    max_bytes=50_000_000,  # the official ones have 31 MB; Python 3 writes half as much again in protocol 2
    md5=(
        "c99cafc152244af753f735de768cd75f",
        "d4bba439e000b95fd0a9bffe97cbabec",
        "54ebc095f3ab1f0389bbae665268c751",
        "634d18415352ddfa80567beed471001a",
        "482c414d41f54cd18b22e5b47cb7c3cb",
        "40351d587109b95175f43aff81a1287e",
    ),
)
LAYOUTS = (BINARY, PYTHON)


class Damaged(Exception):
    """A file is not what its name says; the message completes 'the file is damaged: ...'."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """What one file is. `records` is 0 for archives and damaged files; `problem` is empty where all is well."""

    file: str
    records: int
    md5: str
    official: bool
    problem: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch file; `arrays`, images uint8 (n, 3, 32, 32) and labels int64 (n,), is None where there is a problem."""

    name: str
    layout: Layout
    arrays: Arrays | None
    report: FileReport


def layout_of(folder: Path) -> Layout | None:
    """The layout of which `folder` holds batches; one is enough."""
    files = ((layout, folder / (name + layout.suffix)) for layout in LAYOUTS for name in ALL_FILES)
    return next((layout for layout, file in files if file.is_file()), None)


def batches(place: Path, names: tuple[str, ...]) -> Iterator[Batch]:
    """The batches called `names` in a folder or archive, damaged ones with their problem; what is missing is left out.

    Raises Damaged where the archive itself cannot be read on.
    """
    return _folder_batches(place, names) if place.is_dir() else _archive_batches(place, names)


def inspect(layout: Layout, name: str, data: bytes) -> Batch:
    """Decode one batch file; pass a byte more than `layout.max_bytes` (or all) of a longer file."""
    file = name + layout.suffix
    if len(data) > layout.max_bytes:
        return _problem(layout, name, f"it has more than {layout.max_bytes:,} bytes")
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    official = md5 == layout.md5[ALL_FILES.index(name)]
    try:
        images, labels = _decode_python(data) if layout is PYTHON else _decode_binary(data)
    except Damaged as error:
        return Batch(name, layout, None, FileReport(file, 0, md5, official, str(error)))
    return Batch(name, layout, (images, labels), FileReport(file, len(labels), md5, official, ""))


def _problem(layout: Layout, name: str, problem: str) -> Batch:
    return Batch(name, layout, None, FileReport(name + layout.suffix, 0, "", False, problem))


def _folder_batches(folder: Path, names: tuple[str, ...]) -> Iterator[Batch]:
    layout = layout_of(folder)
    if layout is None:
        return
    for name in names:
        try:
            with (folder / (name + layout.suffix)).open("rb") as stream:
                data = stream.read(layout.max_bytes + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield _problem(layout, name, f"it cannot be read ({error.strerror})")
        else:
            yield inspect(layout, name, data)


class _Bounded(io.RawIOBase):
    """A stream that refuses to go on after `limit` bytes: the guard against archives that unpack to terabytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        super().__init__()
        self._stream, self._left = stream, limit

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise Damaged("it unpacks to more than CIFAR-10 could have")
        return data


def _archive_batches(archive: Path, names: tuple[str, ...]) -> Iterator[Batch]:
    """Members with exactly the official names; all others are passed over. Reads to the end, for gzip's checksum."""
    wanted = {f"{layout.folder}/{name}{layout.suffix}": (layout, name) for layout in LAYOUTS for name in names}
    try:
        with gzip.open(archive) as unpacked:
            stream = _Bounded(cast("IO[bytes]", unpacked), len(ALL_FILES) * PYTHON.max_bytes)
            with tarfile.open(fileobj=stream, mode="r|") as members:
                for member in members:
                    layout, name = wanted.pop(member.name.removeprefix("./"), (None, ""))
                    content = members.extractfile(member) if layout and member.isreg() else None
                    if layout and content:
                        yield inspect(layout, name, content.read(layout.max_bytes + 1))
            while stream.read(1 << 20):
                pass
    except EOFError:
        raise Damaged("it ends too early") from None
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error) as error:
        raise Damaged(f"it cannot be unpacked ({error})") from None
    except OSError as error:
        raise Damaged(f"it cannot be read ({error.strerror})") from None


def _decode_binary(data: bytes) -> Arrays:
    n, rest = divmod(len(data), RECORD)
    if rest:
        raise Damaged(f"its last record is incomplete ({rest:,} of {RECORD:,} bytes)")
    if not n:
        raise Damaged("it is empty")
    records = np.frombuffer(data, dtype=np.uint8).reshape(n, RECORD)
    return records[:, 1:].reshape(n, 3, 32, 32), _labels(records[:, 0].tolist())


def _labels(values: object) -> npt.NDArray[np.int64]:
    if not isinstance(values, list):
        raise Damaged("it has no list of labels")
    for i, label in enumerate(cast("list[object]", values)):
        if not isinstance(label, int) or not 0 <= label < N_CLASSES:
            raise Damaged(f"the label of image {i} is not one of 0 to {N_CLASSES - 1}")
    return np.array(values, dtype=np.int64)


class _Part:
    """What a pickle gets in place of any class or function: calling it or setting its state only writes that down.

    But for `encode`, as which Python 3 writes all bytes in protocol 2: it is carried out, in the one coding there is.
    """

    __slots__ = ("args", "name", "state")

    def __init__(self, name: str, args: tuple[object, ...] = ()) -> None:
        self.name, self.args = name, args
        self.state: object = None

    def __call__(self, *args: object) -> _Part | bytes:
        if self.name == "encode" and isinstance(args[0], str):
            return args[0].encode("latin1")
        return _Part(self.name, args)

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Knows the names a batch needs, as inert parts; any other is refused."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name in ("numpy.core.multiarray", "numpy._core.multiarray") and global_name == "_reconstruct":
            return _Part("array")
        if (module_name, global_name) in (("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")):
            return _Part(global_name)
        raise Damaged(f"it asks for {module_name}.{global_name}, which no batch needs")


def _unpickle(data: bytes) -> object:
    try:
        # The unpickler would set aside memory for whatever number these name, before anything else can refuse.
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and cast("int", argument) > len(data):
                raise Damaged("its memo is out of bounds")
        return _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Damaged:
        raise
    except Exception as error:  # a malformed pickle can raise nearly anything
        raise Damaged(f"it is no readable pickle ({type(error).__name__})") from None


def _decode_python(data: bytes) -> Arrays:
    content = _unpickle(data)
    if not isinstance(content, dict):
        raise Damaged("it holds no dictionary")
    fields = cast("dict[object, object]", content)
    # Python 2 wrote the official keys as what are bytes today; in a copy written by Python 3 they are text.
    images = _pixels(fields.get(b"data", fields.get("data")))
    labels = _labels(fields.get(b"labels", fields.get("labels")))
    if len(images) != len(labels):
        raise Damaged(f"it has {len(images):,} images and {len(labels):,} labels")
    return images, labels


def _pixels(part: object) -> npt.NDArray[np.uint8]:
    """The array that a pickled uint8 ndarray of shape (n, 3072) stands for."""
    match part:
        case _Part(name="array", state=(_, (int(n), int(width)), _Part(name="dtype", args=(code, *_)), fortran, raw)):
            pass
        case _:
            raise Damaged("its 'data' is no array of two axes")
    if code not in ("u1", b"u1", "|u1") or width != PIXELS or not isinstance(raw, bytes) or len(raw) != n * PIXELS:
        raise Damaged(f"its 'data' is no uint8 array of shape (n, {PIXELS})")
    if not 0 < n <= MAX_RECORDS:
        raise Damaged(f"it holds {n:,} images, and a batch has 1 to {MAX_RECORDS:,}")
    flat = np.frombuffer(raw, dtype=np.uint8).reshape((n, PIXELS), order="F" if fortran else "C")
    return flat.reshape(n, 3, 32, 32)
