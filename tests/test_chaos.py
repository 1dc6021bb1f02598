"""The short form of `make chaos`: a few kills, everything examined. And that the examination sees what is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import chaos
from engine.store import Store
from engine.values import InputError
from tests.store.support import content, key

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(300)
def test_a_few_kills_lose_nothing() -> None:
    """In a group of processes of its own, so that none is left where this test is stopped."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.chaos", "--kills", "4", "--seconds", "20", "--json"],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        printed, errors = process.communicate(timeout=280)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, printed + errors
    value = json.loads(printed)
    assert value["problems"] == []
    assert list(value["work"]) == ["sweep", "training", "store", "download"]
    assert all(row["finished"] >= 1 and row["confirmed"] > 0 for row in value["work"].values())
    assert sum(row["kills"] for row in value["work"].values()) >= 1


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("sweep", lambda folder: (folder / "sweep.jsonl").write_text('{"seed": 0}\nhalf a rec\n')),
        ("training", lambda folder: (folder / "state.safetensors").write_bytes(b"half a file")),
        ("store", lambda folder: Store(folder / "results.sqlite").path.write_text("damaged")),
        ("download", lambda folder: (folder / "file").write_bytes(chaos.BODY[:1000])),
        ("download", lambda folder: (folder / "file.part").write_bytes(b"x" + chaos.BODY[1:1000])),
    ],
    ids=["sweep", "training", "store", "download", "part"],
)
def test_the_examination_sees_damage(tmp_path: Path, name: str, damage: Callable[[Path], object]) -> None:
    (kind,) = (kind for kind in chaos.kinds("") if kind.name == name)
    assert kind.kept(tmp_path) == 0
    damage(tmp_path)
    with pytest.raises(InputError):
        kind.kept(tmp_path)


def test_the_examination_counts_what_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.sqlite")
    for i in (0, 1, 3):
        store.put(key(i), content(i))
    assert chaos.put(tmp_path) == 2
    (tmp_path / "file.part").write_bytes(chaos.BODY[:777])
    assert chaos.downloaded(tmp_path) == 777
