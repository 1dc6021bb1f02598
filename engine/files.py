"""Writing files so that a kill or a full disk leaves the old one or the new one, never half of one; and where to."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from engine.values import InputError


def write_atomic(path: Path, content: bytes) -> None:
    """Replaces `path` by `content` in one step. InputError where the disk is full or the folder cannot be written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(f"Cannot write {path}: {error.strerror}; what was there before is kept.") from None


def cache_home() -> Path:
    """This project's folder in the user's cache: `$XDG_CACHE_HOME`, else ~/.cache. RuntimeError without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dual-bn-explorer"


def parse_json(text: str) -> Any:
    """The JSON value. ValueError where it is none, nested too deeply for Python, or holds a number beyond all use."""
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole(digits: str) -> int:
    """An integer that can also be a float."""
    if len(digits) > 40:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def check_zip(path: Path, most: int) -> None:
    """ValueError where a zip file says that it unpacks to more than `most` bytes."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > most:
        raise ValueError(f"it unpacks to {size:,} bytes, and {most:,} is the most such a file has")


def sha256(content: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(content).hexdigest()
