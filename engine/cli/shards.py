"""`--ray`: what one machine computes one after another, cut into shards that a cluster computes side by side.

A shard is (checkpoint, setting, attacks, images): up to 1,024 images from a multiple of the chunk size on, so that its
batches and their random numbers are those of the one-machine run, and the counts add up to the same records.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from engine import api
from engine.cluster import spread

IMAGES = 1024
"""Images of a shard at most; a multiple of the chunk of every device."""
Job = TypeVar("Job")
Result = TypeVar("Result")


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="on a Ray cluster: 'local', 'auto' or its head's address (docs/cluster.md)"
    )


@dataclass(frozen=True, slots=True)
class Where:
    """What a worker needs to open what the driver has opened, and by which it knows that it is the same."""

    root: Path
    device: str
    threads: int
    data_dir: Path | None
    unofficial: bool
    version: str = api.__version__
    name: str = ""
    data: str | None = None
    split: Any = None
    n: int = 0
    weights_sha256: str = ""
    data_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """Counts of `trial` under each attack."""

    where: Where
    trial: api.Trial
    attacks: tuple[api.Attack | None, ...]


def where(arguments: argparse.Namespace) -> Where:
    """From the arguments; paths absolute, because a worker runs elsewhere, and the kind of device settled here."""
    device = api.pick_device("auto").type if arguments.device == "auto" else str(arguments.device)
    data_dir = arguments.data_dir.resolve() if arguments.data_dir else None
    return Where(arguments.root.resolve(), device, arguments.threads or 1, data_dir, arguments.unofficial)


def opened(arguments: argparse.Namespace, bench: api.Bench, card: api.ModelCard) -> Where:
    """The same for one checkpoint, which the driver has opened."""
    data: str | None = arguments.data
    if data is not None and data not in api.DATASETS:
        data = os.path.abspath(data)
    of_bench = {"n": len(bench.test), "weights_sha256": card.weights_sha256, "data_sha256": bench.test.checksum}
    return replace(where(arguments), name=card.name, data=data, split=arguments.split, **of_bench)


def spread_at(
    address: str, work: Callable[[Job], Result], jobs: Sequence[Job], place: Where
) -> Iterator[tuple[int, Result]]:
    """(index, work(job)) as they are done, each on the threads and the device of `place`."""
    return spread(address, work, jobs, threads=place.threads, gpus=int(place.device.startswith("cuda")))


def ordered(
    address: str,
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    place: Where,
    progress: api.Progress,
    done: Callable[[int, Result], None] = lambda *_: None,
) -> list[Result]:
    """work(job) for every job, in their order; `done(index, result)` is called as soon as one is there."""
    found: dict[int, Result] = {}
    progress(0, len(jobs))
    for index, result in spread_at(address, work, jobs, place):
        found[index] = result
        done(index, result)
        progress(len(found), len(jobs))
    return [found[index] for index in range(len(jobs))]


@lru_cache(maxsize=1)
def open_there(place: Where) -> api.Bench:
    """The bench in a worker, kept for its next shard. InputError where it is not the driver's."""
    settle(place)
    where: dict[str, Any] = {"data_dir": place.data_dir, "allow_unofficial": place.unofficial, "root": place.root}
    device = api.pick_device(place.device)
    bench, card = api.open_bench(place.name, device, data=place.data, split=place.split, n=place.n, **where)
    if (card.weights_sha256, bench.test.checksum) != (place.weights_sha256, place.data_sha256):
        raise api.InputError(f"{platform.node()} has other weights or images of {place.name}; share one folder.")
    return bench


def settle(place: Where) -> None:
    """Sets the worker's threads; InputError where its code is of another version."""
    if api.__version__ != place.version:
        raise api.InputError(f"{platform.node()} runs version {api.__version__}, not {place.version}; update it.")
    torch.set_num_threads(place.threads)


def counted(shard: Shard) -> list[int]:
    """In a worker: how many of the shard's images are right under each attack."""
    return [int(correct.sum()) for correct in open_there(shard.where).correct(shard.trial, shard.attacks)]


def parts(trial: api.Trial) -> list[api.Trial]:
    """The trial in pieces of at most `IMAGES` images."""
    return [
        replace(trial, first=first, n=min(IMAGES, trial.first + trial.n - first))
        for first in range(trial.first, trial.first + trial.n, IMAGES)
    ]


Task = tuple[api.Trial, tuple[api.Attack | None, ...]]


def records(
    address: str,
    place: Where,
    tasks: Sequence[Task],
    progress: api.Progress,
    finished: Callable[[list[api.EvalRecord]], None],
) -> None:
    """Calls `finished` with a task's records, one an attack, as soon as the last of its shards is counted."""
    shards = [(i, Shard(place, part, attacks)) for i, (trial, attacks) in enumerate(tasks) for part in parts(trial)]
    counts: dict[int, list[list[int]]] = {}

    def done(number: int, result: list[int]) -> None:
        index = shards[number][0]
        counts.setdefault(index, []).append(result)
        trial, attacks = tasks[index]
        if len(counts[index]) == len(parts(trial)):
            totals = zip(attacks, map(sum, zip(*counts[index], strict=True)), strict=True)
            crafted = [(attack, trial.crafted_at if attack else None, total) for attack, total in totals]
            finished([api.EvalRecord(trial.setting, a, at, trial.n, total, trial.seed) for a, at, total in crafted])

    ordered(address, counted, [shard for _, shard in shards], place, progress, done)
