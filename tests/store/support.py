"""Keys to put under, and other processes: `python(code, ...)` runs Python beside the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from engine.store import Store, StoreKey

ROOT = Path(__file__).parents[2]
NOBODY = 65534
PUT = """
import itertools, pathlib, sys
from engine.store import Store
from tests.store.support import content, key
store = Store(pathlib.Path(sys.argv[1]), max_entries=10_000)
for i in itertools.count(int(sys.argv[2])):
    store.put(key(i), content(i))
    print(i, flush=True)
"""
"""Puts without end and says so after each."""


def key(i: int, kind: str = "test") -> StoreKey:
    return StoreKey(kind, "ab", "cd", n=i, seed=0, question="{}", version="1")


def content(i: int) -> bytes:
    return f"content of {i};".encode() * 300


def filled(path: Path, count: int) -> Store:
    store = Store(path)
    for i in range(count):
        store.put(key(i), content(i))
    return store


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """`code` in an interpreter of its own, in the repository."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", dedent(code), *map(str, arguments)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def output(process: subprocess.Popen[str]) -> str:
    """What a process that must not fail said."""
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return said
