"""What a kept result is the answer to.

Usage::

    key = StoreKey("curve", weights_sha256, data_sha256, n=200, seed=0, question=as_question(settings), version="...")
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from engine import __version__
from engine.files import sha256

ENGINE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class StoreKey:
    """What a result is the answer to: equal keys, equal results.

    question: what was asked beside the other fields (settings, attack), see `as_question`; version: of the code that
    computes it, see `code_version`.
    """

    kind: str
    weights_sha256: str
    data_sha256: str
    n: int
    seed: int
    question: str
    version: str

    @property
    def text(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()


def as_question(value: Any) -> str:
    """Frozen values, and tuples of them, as text that is the same in every process."""
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: object) -> dict[str, Any]:
    if not is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} is no frozen value, so nothing can be kept under it.")
    return {"is": type(value).__name__} | {f.name: getattr(value, f.name) for f in fields(value)}


@cache
def code_version(*folders: Path) -> str:
    """This version and a hash over the Python files of the engine and these folders: other code, other results."""
    paths = sorted(path for folder in (ENGINE, *folders) for path in folder.rglob("*.py"))
    return f"{__version__}+{sha256(b''.join(path.read_bytes() for path in paths))[:12]}"
