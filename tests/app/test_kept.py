"""The bounded cache: entries, bytes, who goes first, and one computation for visitors who ask at the same moment."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from app import cache, jobs
from app.cache import shared
from app.jobs import slot
from app.kept import Kept, size_of
from tests.support import Worker, in_threads


@dataclass(frozen=True, slots=True)
class Pair:
    left: np.ndarray
    right: list[torch.Tensor]


@pytest.mark.parametrize(
    ("value", "at_least"),
    [
        (np.zeros((1000, 125)), 1_000_000),
        (torch.zeros(250_000), 1_000_000),
        ("x" * 1_000_000, 1_000_000),
        (Pair(np.zeros(62_500), [torch.zeros(125_000)]), 1_000_000),
        ({"rows": (pd.DataFrame({"a": np.zeros(125_000)}),)}, 1_000_000),
    ],
)
def test_a_megabyte_counts_as_one(value: object, at_least: int) -> None:
    assert at_least <= size_of(value) < 1.01 * at_least


def test_the_same_array_twice_counts_once_and_a_ring_ends() -> None:
    ring: list[object] = [array := np.zeros(125_000), array]
    ring.append(ring)
    assert 1_000_000 <= size_of(ring) < 1_010_000


def test_bytes_are_bounded_whatever_is_put() -> None:
    kept, sizes = Kept(1000, 3_000_000), np.random.default_rng(0).integers(1, 1_000_000, 300)
    for key, size in enumerate(sizes):
        kept.put(key, np.zeros(size, np.uint8))
        assert kept.bytes <= 3_000_000
        assert kept.bytes == sum(size_of(kept.get(key)) for key in kept)
    assert kept.counts.evicted == 300 - len(kept)


def test_what_was_asked_for_stays_and_the_newest_stays_however_large() -> None:
    kept = Kept(2, 1000)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert list(kept) == ["a", "c"]
    kept.put("huge", "x" * 10_000)
    assert list(kept) == ["huge"]
    kept.clear()
    assert (len(kept), kept.bytes, kept.get("huge")) == (0, 0, None)


def test_putting_a_key_again_replaces_its_bytes() -> None:
    kept = Kept(10, 10_000)
    for _ in range(5):
        kept.put("a", "x" * 1000)
    assert kept.bytes == size_of("x" * 1000)


def test_threads_leave_the_count_right() -> None:
    kept = Kept(50, 100_000)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for key in rng.integers(0, 100, 2000):
            if kept.get(int(key)) is None:
                kept.put(int(key), "x" * int(rng.integers(1, 5000)))

    in_threads([lambda seed=seed: work(seed) for seed in range(8)])
    assert kept.bytes == sum(size_of(kept.get(key)) for key in kept) <= 100_000
    assert kept.counts.hits + kept.counts.misses == 8 * 2000 + len(kept)


@pytest.mark.usefixtures("clear_results")
def test_a_classroom_that_asks_for_the_same_shares_one_computation() -> None:
    """Long work that lets others go first, so that without sharing a second computation would begin meanwhile."""
    made, told = list[int](), list[str]()
    everybody = threading.Barrier(12)

    def visit(number: int) -> int:
        everybody.wait(10)
        with slot(told.append, "test", "the question") as ticket:

            def compute() -> int:
                for _ in range(5):
                    time.sleep(0.05)
                    jobs.LINE.let_others_go_first(ticket, told.append)
                made.append(number)
                return 1000 + number

            return shared("the question", compute)

    answers = in_threads([lambda number=number: visit(number) for number in range(12)])
    assert len(made) == 1
    assert answers == [1000 + made[0]] * 12
    assert any("the very same" in text for text in told)
    assert not jobs.LINE.tickets
    assert not jobs.FLIGHTS.keys


@pytest.mark.usefixtures("clear_results")
def test_when_the_one_who_computes_leaves_the_next_one_takes_over() -> None:
    begun = threading.Event()

    def leave() -> None:
        with slot(lambda _: None, "test", "q"):
            begun.set()
            time.sleep(0.3)
            raise KeyError("gone")

    def stay() -> str:
        begun.wait(10)
        with slot(lambda _: None, "test", "q"):
            return shared("q", lambda: "mine")

    first, second = Worker(leave), Worker(stay)
    first.start()
    second.start()
    with pytest.raises(KeyError):
        first.outcome()
    assert second.outcome() == "mine"
    assert cache.results().get("q") == "mine"
