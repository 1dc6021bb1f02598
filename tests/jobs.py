"""What tests/test_cluster.py has done on a Ray cluster: work that is importable in a worker."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from engine.values import InputError


def squared(job: tuple[int, str]) -> tuple[int, int]:
    """(number squared, process); with a path, the first process that gets there is killed with SIGKILL midway."""
    number, path = job
    if path and not Path(path).exists():
        Path(path).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2, os.getpid()


def refused(number: int) -> int:
    raise InputError(f"{number} is not wanted.")
