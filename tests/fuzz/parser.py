"""What a parser is to be tried with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True, slots=True)
class Parser:
    """cases: seed -> damaged input, or a strategy of it; good: must be accepted, or only a first check is tested."""

    cases: Callable[[int], Any] | SearchStrategy[Any]
    good: Any
    read: Callable[[Any], object]


def on_file(path: Path, load: Callable[[Path], object]) -> Callable[[bytes], object]:
    def read(content: bytes) -> object:
        path.write_bytes(content)
        return load(path)

    return read
