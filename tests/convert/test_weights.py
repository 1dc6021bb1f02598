"""Files of weights: every form torch writes is read, nothing in them is run, and no file costs more than its size."""

from __future__ import annotations

import io
import os
import pickle  # noqa: TID251 - to write what must not be unpickled
import resource
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.convert import read_weights
from engine.values import InputError
from tests.support import from_seed

ROOT = Path(__file__).parents[2]
TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2, dtype=torch.float16)}


class Bomb:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def saved(value: Any, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)  # noqa: TID251 - what users have
    return stream.getvalue()


def put(folder: Path, content: bytes, name: str = "a.pt") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
@pytest.mark.parametrize("suffix", ["pt", "pth", "th", "tar"])
@pytest.mark.parametrize("wrapper", ["", "state_dict", "model", "net"])
def test_what_torch_saves_is_read(zipped: bool, suffix: str, wrapper: str, tmp_path: Path) -> None:
    beside = {"epoch": 3, "optimizer": {"lr": 0.1, "state": [TENSORS["a.bias"]]}}
    content = saved({wrapper: TENSORS, **beside} if wrapper else TENSORS, zipped)
    weights = read_weights(put(tmp_path, content, f"a.{suffix}"))
    assert weights.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(weights.tensors[key], TENSORS[key]) for key in TENSORS)
    assert weights.left_out == (("epoch", "optimizer") if wrapper else ())
    assert weights.file == f"a.{suffix}"


def test_parameters_are_tensors_too(tmp_path: Path) -> None:
    content = saved({key: nn.Parameter(tensor) for key, tensor in TENSORS.items()})
    assert not read_weights(put(tmp_path, content)).tensors["a.weight"].requires_grad


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
@pytest.mark.parametrize("place", ["alone", "inside", "beside"])
def test_code_in_a_pickle_is_never_run(zipped: bool, place: str, tmp_path: Path) -> None:
    bomb = Bomb(tmp_path / "gone off")
    value: dict[str, Any] = {
        "alone": {"a": bomb},
        "inside": TENSORS | {"b": bomb},
        "beside": {"model": TENSORS, "x": bomb},
    }
    content = saved(value[place], zipped)
    with pytest.raises(InputError, match=r"holds more than tensors: it names '[\w.]+', not run; save its state dict"):
        read_weights(put(tmp_path, content))
    assert not (tmp_path / "gone off").exists()
    torch.load(io.BytesIO(content), weights_only=False)  # noqa: TID251 - the bomb is live, or nothing was tested
    assert (tmp_path / "gone off").exists()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_bare_pickle_is_not_run_either(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps({"a": Bomb(tmp_path / "gone off")}, protocol)
    for name in ("a.pt", "a.safetensors"):
        with pytest.raises(InputError):
            read_weights(put(tmp_path, content, name))
    assert not (tmp_path / "gone off").exists()


def test_a_whole_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it names 'torch\.nn\.modules\.linear\.Linear', not run"):
        read_weights(put(tmp_path, saved(from_seed(lambda: nn.Linear(2, 2)))))


def zip_bomb(_: Path) -> bytes:
    """An archive of 100 KB that unpacks to 100 MB, in torch.save's layout."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", saved_pickle())
        archive.writestr("archive/data/0", bytes(100_000_000))
    return stream.getvalue()


def saved_pickle() -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved(TENSORS))) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def overlapping(_: Path) -> bytes:
    """Two entries of the directory that are the same bytes: twice as large unpacked as it is."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data/0", bytes(100_000))
        again = archive.infolist()[0]
        archive.filelist += [again] * 3
    return stream.getvalue()


def script() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/code/__torch__.py", "x")
        archive.writestr("archive/data.pkl", saved_pickle())
    return stream.getvalue()


def old_tar(_: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return stream.getvalue()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def safetensors_bytes() -> bytes:
    from safetensors.torch import save

    return save(TENSORS)


SPARSE = torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (2,), check_invariants=True)
BAD: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    "zip-bomb": ("a.pt", zip_bomb, "would unpack to more than it is"),
    "overlapping-entries": ("a.pt", overlapping, "would unpack to more than it is|is damaged"),
    "other-zip": ("a.pt", lambda _: put_zip("notes.txt"), "not one that torch.save wrote"),
    "script": ("a.pt", lambda _: script(), "is a TorchScript program"),
    "cut-zip": ("a.pt", lambda _: cut(saved(TENSORS)), "is damaged"),
    "cut-older": ("a.pt", lambda _: saved(TENSORS, zipped=False)[:-20], "cannot be read as tensors|not whole"),
    "cut-older-early": ("a.pt", lambda _: cut(saved(TENSORS, zipped=False)), "not whole"),
    "cut-safetensors": ("a.safetensors", lambda _: safetensors_bytes()[:-5], "not a whole safetensors file"),
    "header-too-long": ("a.safetensors", lambda _: b"\xff" * 7 + b"\x7f{}", "not a whole safetensors file"),
    "old-tar": ("a.pth", old_tar, "not a file that torch.save wrote|cannot be read as tensors"),
    "text": ("a.pt", lambda _: b"hello, this is text", "not a file that torch.save wrote"),
    "empty": ("a.pt", lambda _: b"", "not whole"),
    "a-list": ("a.pt", lambda _: saved([TENSORS["a.bias"]]), "holds a list, not a state dict"),
    "a-number": ("a.pt", lambda _: saved(TENSORS | {"epoch": 3}), "'epoch' is a int, not a tensor"),
    "no-tensor": ("a.pt", lambda _: saved({}), "holds no tensor"),
    "two-networks": (
        "a.pt",
        lambda _: saved({"model": TENSORS, "ema": TENSORS}),
        "several networks, 'model' and 'ema'",
    ),
    "sparse": ("a.pt", lambda _: saved({"a": SPARSE}), "more than tensors|no ordinary tensor"),
}


def put_zip(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, "x")
    return stream.getvalue()


@pytest.mark.parametrize(("name", "make", "sentence"), BAD.values(), ids=BAD)
def test_a_damaged_or_wrong_file_is_one_sentence(
    name: str, make: Callable[[Path], bytes], sentence: str, tmp_path: Path
) -> None:
    path = put(tmp_path, make(tmp_path), name)
    with pytest.raises(InputError, match=sentence) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, sentence in (
        (tmp_path, "is a folder"),
        (tmp_path / "no", "No such file"),
        (tmp_path / "pipe", "not a file"),
    ):
        with pytest.raises(InputError, match=sentence):
            read_weights(path)


def test_five_gigabytes_are_refused_by_their_size(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.truncate(5_000_000_000)  # sparse: takes no room
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"has 5,000 MB and at most 1,074 are read; raise --max-mb"):
        read_weights(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB
    with pytest.raises(InputError, match="has 0 MB and at most 0"):
        read_weights(put(tmp_path, saved(TENSORS)), max_bytes=100)


def test_a_claimed_size_takes_no_memory(tmp_path: Path) -> None:
    """The older form says how many numbers follow; a file that says 40 GB and holds none, in a process of its own."""
    content = saved({"a": torch.zeros(12345)}, zipped=False)
    huge = content.replace(pickle.dumps(12345, 2)[2:-1], pickle.dumps(2_000_000_000, 2)[2:-1])
    assert huge != content
    path = put(tmp_path, huge)
    code = (
        "import resource, sys, pathlib; from engine.convert import read_weights; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_weights(pathlib.Path(sys.argv[1]))\n"
        "except ValueError as error: print(type(error).__name__)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    name, grown = done.stdout.split()
    assert (name, int(grown) < 100_000) == ("InputError", True), done.stdout + done.stderr


def test_tensors_come_from_safetensors(tmp_path: Path) -> None:
    found: dict[str, Tensor] = read_weights(put(tmp_path, safetensors_bytes(), "a.safetensors")).tensors
    assert all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)
