"""`sweep`: every curve the app shows of a checkpoint, on this machine or on a Ray cluster."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from engine import api
from engine.attacks import PGD
from engine.cli import shards
from engine.cli.evaluate import open_from, set_threads
from engine.cli.output import progress, show
from engine.gaps import make_track, save_tracks
from engine.strip import save_strips
from engine.sweep import (
    STOPS,
    STRIP_ATTACKS,
    Point,
    append,
    canonical_on,
    distinct_lines,
    in_order,
    missing_points,
    strip_key,
)

N_STRIP = 8
Line = Callable[[float], api.NormSetting]
Part = tuple[Line, PGD, int]
"""Of gaps and strips: line, attack, number of images."""
Found = TypeVar("Found")
Made = Callable[..., Found]
"""bench, the three of a part, progress -> gaps or strip; `track_of` or `strip_of`."""


def track_of(bench: api.Bench, line: Line, attack: PGD, n: int, callback: api.Progress | None = None) -> api.Track:
    return make_track(bench, line, STOPS, attack, n, api.SEED, callback)


def strip_of(bench: api.Bench, line: Line, attack: PGD, n: int, callback: api.Progress | None = None) -> api.Strip:
    return api.make_strip(bench, line, STOPS, attack, range(n), api.SEED, callback)


def there(job: tuple[Made[Found], shards.Where, Part]) -> Found:
    """In a worker."""
    make, place, part = job
    return make(shards.open_there(place), *part)


def all_made(
    make: Made[Found],
    parts: Sequence[Part],
    bench: api.Bench,
    arguments: argparse.Namespace,
    place: shards.Where | None,
    callback: api.Progress,
) -> list[Found]:
    """`make` of every part, here or on the cluster."""
    if place is None:
        return [make(bench, *part, callback) for part in parts]
    return shards.ordered(arguments.ray, there, [(make, place, part) for part in parts], place, callback)


def run_far(
    address: str, place: shards.Where, path: Path, head: dict[str, Any], points: Sequence[Point], callback: api.Progress
) -> None:
    """`api.run_sweep` on a cluster: records are written as they come, and in the plan's order once all are there."""
    missing = missing_points(path, head, points)
    groups = [
        (api.Trial(setting, n, head["seed"]), tuple(point.attack for point in group))
        for (setting, n), group in groupby(missing, key=lambda p: (p.setting, p.n))
    ]

    def finished(records: list[api.EvalRecord]) -> None:
        for record in records:
            append(path, record)

    shards.records(address, place, groups, callback, finished)
    in_order(path, head, points)


def run(arguments: argparse.Namespace) -> None:
    """The curves (sweep.jsonl), the gaps of the layers and the images beside them (strip.npz, built-in data only)."""
    set_threads(arguments)
    if not 1 <= arguments.n_plane <= arguments.n:
        raise api.InputError(f"--n-plane must lie between 1 and --n ({arguments.n}), got {arguments.n_plane}.")
    if arguments.n_gaps < 1:
        raise api.InputError(f"--n-gaps must be at least 1, got {arguments.n_gaps}.")
    bench, card = open_from(arguments, arguments.n, far=bool(arguments.ray))
    place = shards.opened(arguments, bench, card) if arguments.ray else None
    folder = api.checkpoint_folder(arguments.name, arguments.root)
    path, head = folder / "sweep.jsonl", api.header(card, bench.test, api.SEED)
    points = api.plan(card.norm_design, arguments.n, arguments.n_plane)
    with progress(f"sweep {card.name}") as callback:
        if place is not None:
            run_far(arguments.ray, place, path, head, points, callback)
        else:
            for done, total in api.run_sweep(path, bench, head, points):
                callback(done, total)
    lines = {name: partial(canonical_on, name, card.norm_design) for name in distinct_lines(card.norm_design)}
    write_gaps(folder, bench, card, lines, arguments, place)
    if bench.test.name == "shapes":
        write_strips(folder, bench, card, lines, arguments, place)
    show({"checkpoint": card.name, "points": len(points)}, arguments.json, card.name, ["points"], [[str(len(points))]])


def write_gaps(
    folder: Path,
    bench: api.Bench,
    card: api.ModelCard,
    lines: dict[str, partial[api.NormSetting]],
    arguments: argparse.Namespace,
    place: shards.Where | None,
) -> None:
    """gaps.json, unless it is there."""
    if (folder / "gaps.json").exists():
        return
    main, n = next(a for a in STRIP_ATTACKS if a.steps > 1), min(arguments.n_gaps, arguments.n)
    with progress("layer gaps") as callback:
        parts: list[Part] = [(line, main, n) for line in lines.values()]
        found = all_made(track_of, parts, bench, arguments, place, callback)
    save_tracks(folder / "gaps.json", card.weights_sha256, dict(zip(lines, found, strict=True)))


def write_strips(
    folder: Path,
    bench: api.Bench,
    card: api.ModelCard,
    lines: dict[str, partial[api.NormSetting]],
    arguments: argparse.Namespace,
    place: shards.Where | None,
) -> None:
    """strip.npz, unless it is there."""
    if (folder / "strip.npz").exists():
        return
    wanted = {strip_key(key, attack): (line, attack) for key, line in lines.items() for attack in STRIP_ATTACKS}
    with progress("images") as callback:
        parts: list[Part] = [(*each, N_STRIP) for each in wanted.values()]
        found = all_made(strip_of, parts, bench, arguments, place, callback)
    save_strips(folder / "strip.npz", card.weights_sha256, dict(zip(wanted, found, strict=True)))
