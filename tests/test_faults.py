"""A disk that is full, a folder that cannot be written, one damaged checkpoint, a clock that jumps: the rest goes on.

The full disk is a real file system of one megabyte where the user may mount one (root), else a limit on a file's size.
"""

from __future__ import annotations

import ast
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.__main__ import main
from engine.files import write_atomic
from engine.store import Store
from engine.values import SINGLE, InputError
from tests.store.support import content, key
from tests.support import write_checkpoint

ROOT = Path(__file__).parents[1]
Run = Callable[..., tuple[int, str, str]]


def mounted(folder: Path, *options: str) -> bool:
    """Whether something could be mounted at a folder; only root may, and not in every container."""
    command = ["mount", *options, str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder that takes about a megabyte, and the function that makes room there."""
    folder = tmp_path / "small"
    folder.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if mounted(folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True) and None
        subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        yield folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*command: object) -> tuple[int, str, str]:
        code = main([*map(str, command), "--device", "cpu"])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def puts_until_full(store: Store) -> tuple[int, str]:
    """How many were kept before one was refused, and the sentence."""
    for count in range(2000):
        try:
            store.put(key(count), content(count))
        except InputError as error:
            return count, str(error)
    return 2000, ""


def test_a_full_disk_costs_the_store_nothing_that_was_kept(full_disk: tuple[Path, Callable[[], None]]) -> None:
    folder, make_room = full_disk
    store = Store(folder / "results.sqlite")
    kept, said = puts_until_full(store)
    assert 20 < kept < 2000
    assert "Results cannot be kept in" in said
    assert "; make room" in said
    for i in range(3):  # and again: it must not get worse
        with pytest.raises(InputError, match="Results cannot be kept in"):
            store.put(key(5000 + i), os.urandom(1 << 20))
        assert all(store.get(key(i), bytes) == content(i) for i in range(kept))
    make_room()
    store.put(key(kept), content(kept))
    assert store.verify() == (kept + 1, 0)


def test_a_full_disk_keeps_the_old_file_whole(full_disk: tuple[Path, Callable[[], None]]) -> None:
    folder, make_room = full_disk
    path = folder / "card.json"
    write_atomic(path, b"old")
    with pytest.raises(
        InputError, match=r"Cannot write .*(No space left|File too large).*what was there before is kept"
    ):
        write_atomic(path, b"x" * (1 << 21))
    assert path.read_bytes() == b"old"
    assert list(folder.iterdir()) == [path]
    make_room()
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder of checkpoints on a file system that is mounted read-only, which binds root, too."""
    folder = tmp_path / "checkpoints"
    write_checkpoint(folder, "toy", SINGLE)
    if not mounted(folder, "--bind", str(folder)):
        pytest.skip("only root can mount a file system read-only")
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_read_only_checkpoints_can_be_used_and_writing_is_one_sentence(run: Run, read_only: Path) -> None:
    where = ("--root", read_only, "--json")
    assert len(json.loads(run("list", *where)[1])["checkpoints"]) == 1
    code, printed, _ = run("evaluate", "toy", "--n", 4, "--ap", 0, "--ns", "stored:0", "--attack", "none", *where)
    assert (code, json.loads(printed)["n"]) == (0, 4)
    before = sorted(file.name for file in (read_only / "toy").iterdir())
    for command in (("sweep", "toy", "--n", 2, "--n-plane", 1), ("headline", "toy", "--n", 4)):
        code, printed, said = run(*command, *where)
        assert (code, printed) == (2, "")
        assert "Cannot write" in said
        assert "Read-only file system" in said
        assert "Traceback" not in said
    assert sorted(file.name for file in (read_only / "toy").iterdir()) == before


def test_one_damaged_checkpoint_is_named_and_the_others_go_on(run: Run, tmp_path: Path) -> None:
    for name in ("bad", "good"):
        write_checkpoint(tmp_path, name, SINGLE)
    weights = tmp_path / "bad" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (tmp_path / "empty").mkdir()
    code, printed, _ = run("list", "--root", tmp_path, "--json")
    value = json.loads(printed)
    assert [entry["name"] for entry in value["checkpoints"]] == ["good"]
    (problem,) = value["problems"]
    assert "bad/weights.safetensors is not the file its card describes" in problem
    code, printed, _ = run("list", "--root", tmp_path)
    assert code == 0
    assert "weights.safetensors is not the file" in printed.replace("\n", " ")
    weights.unlink()
    assert "Cannot read" in json.loads(run("list", "--root", tmp_path, "--json")[1])["problems"][0]


def test_a_claim_that_rests_on_a_damaged_network_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    for name in ("a-dual", "b-single"):
        write_checkpoint(tmp_path, name, *[SINGLE] * (name == "b-single"))
    (tmp_path / "a-dual" / "weights.safetensors").write_bytes(b"damaged")
    code, printed, said = run("paper", "E4", "E9", "--n", 8, "--root", tmp_path, "--json")
    assert code == 0, said
    value = json.loads(printed)
    assert any(problem.startswith("E4 shapes: ") and "a-dual/weights" in problem for problem in value["problems"])
    assert [finding["experiment"] for finding in value["findings"]] == ["E9"]


CLOCK = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "today"), ("datetime", "utcnow"),
         ("date", "today"), ("time", "localtime"), ("time", "gmtime")}  # fmt: skip


def reads_the_clock(source: str) -> list[int]:
    """Lines that ask what time of day it is, which may jump; `time.monotonic` does not."""
    lines: list[int] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner: Any = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            lines += [node.lineno] * ((name, node.attr) in CLOCK)
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            lines += [node.lineno] * any(("time", alias.name) in CLOCK for alias in node.names)
    return lines


def test_nothing_depends_on_the_time_of_day() -> None:
    files = [path for folder in ("engine", "app") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    assert {str(path): lines for path in files if (lines := reads_the_clock(path.read_text()))} == {}
    assert reads_the_clock("import time\nx = time.time()") == [2]
    assert reads_the_clock("from time import time") == [1]
    assert reads_the_clock("import datetime\ndatetime.datetime.now()") == [2]
