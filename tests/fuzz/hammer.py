"""Runs one parser on many damaged inputs and counts what it does.

Usage::

    result = hammer("card", 10_000, folder)
    result.crashes          # [] or one line for each kind
"""

from __future__ import annotations

import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from engine.values import InputError
from tests.fuzz.parsers import PARSERS

HANG_SECONDS, WAITS = 10, 30
"""Of a processor, so that a busy machine makes no crash; by the clock, as many times longer."""
SEEDS = st.integers(0, 2**64 - 1)
ROUNDS, A_ROUND = 20, 60
"""Each from a seed of its own, 0 first, of at least so many cases: repeated ones are made up for in the next."""


class HungError(BaseException):
    """One case took longer than HANG_SECONDS."""


@dataclass(frozen=True, slots=True)
class Result:
    """cases: all of them different; accepted: those that the parser took for good; seconds: of a processor.

    slowest: seconds that one case took by the clock; megabytes: how far the process's peak memory rose.
    """

    parser: str
    cases: int
    accepted: int
    seconds: float
    slowest: float
    megabytes: float
    crashes: list[str]


def hammer(name: str, cases: int, folder: Path) -> Result:
    """The same cases every time, each once. Anything but a result or an InputError is a crash, which ends nothing."""
    parser = PARSERS[name](folder)
    parser.read(parser.good)
    counts, crashes, seen, slowest = Counter[str](), dict[str, str](), {key(parser.good)}, 0.0
    before, began = peak(), time.process_time()

    def one(drawn: Any) -> None:
        nonlocal slowest
        case = drawn if isinstance(parser.cases, SearchStrategy) else parser.cases(drawn)
        if key(case) in seen or counts["cases"] == cases:
            return
        seen.add(key(case))
        counts["cases"] += 1
        start = time.monotonic()
        try:
            with alarm():
                parser.read(case)
            counts["accepted"] += 1
        except InputError:
            pass
        except (Exception, HungError) as error:
            crashes.setdefault(
                where(error), f"{type(error).__name__}: {str(error)[:80]} at {where(error)}: {case!r:.200}"
            )
        slowest = max(slowest, time.monotonic() - start)

    for number in range(ROUNDS):
        if counts["cases"] < cases:
            strategy = parser.cases if isinstance(parser.cases, SearchStrategy) else SEEDS
            drawing(strategy, number, max(A_ROUND, cases - counts["cases"]))(one)()
    seconds = time.process_time() - began
    return Result(name, counts["cases"], counts["accepted"], seconds, slowest, peak() - before, list(crashes.values()))


def drawing(strategy: SearchStrategy[Any], number: int, cases: int) -> Callable[[Callable[[Any], None]], Any]:
    """Decorator: calls it with so many cases that follow from the seed `number`."""
    chosen = settings(
        max_examples=cases, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    return lambda test: seed(number)(chosen(given(strategy)(test)))


def key(case: Any) -> int:
    """What tells cases apart."""
    return hash(case if isinstance(case, bytes) else repr(case))


def peak() -> float:
    """Megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def where(error: BaseException) -> str:
    """Innermost place in our own code."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/engine/" in f.filename or "/app/" in f.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else type(error).__name__


@contextmanager
def alarm() -> Generator[None]:
    def ring(_: int, __: FrameType | None) -> None:
        raise HungError(f"more than {HANG_SECONDS} s")

    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, ring)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS * WAITS)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
