"""Sweeps: accuracies along lambda, written point by point, resumable, never shown for another network or other data.

Usage::

    for done, total in run_sweep(path, bench, header, plan(card.norm_design, n=1000)): ...
    records = load_sweep(path, header)

A sweep file is JSON lines: a header that says what was measured, then one `EvalRecord` a line. A line cut short by a
kill is dropped and computed again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from engine import __version__
from engine.attacks import PGD, fgsm
from engine.cards import EvalRecord, ModelCard
from engine.data.base import ImageSet
from engine.evaluation import Bench
from engine.files import parse_json, write_atomic
from engine.values import InputError, NormDesign, NormSetting, Reestimated, Statistics, Stored, ThreatModel

SCHEMA = 1
STOPS = tuple(round(0.05 * i, 2) for i in range(21))
COARSE = tuple(round(0.1 * i, 1) for i in range(11))
PLANE = tuple(round(i / 6, 4) for i in range(7))
LINES: dict[str, Callable[[float], NormSetting]] = {
    "ap@stored:0": lambda lam: NormSetting(lam, Stored(0.0)),
    "ap@stored:1": lambda lam: NormSetting(lam, Stored(1.0)),
    "ap@clean": lambda lam: NormSetting(lam, Reestimated("clean")),
    "ns@0": lambda lam: NormSetting(0.0, Stored(lam)),
    "ns@1": lambda lam: NormSetting(1.0, Stored(lam)),
}
"""The five lines through the plane of settings, as functions of the lambda that moves."""


def pgd(steps: int, eps: float) -> PGD:
    """The sweeps' PGD: step eps/4, random start, each image left alone once fooled (white-box counting only)."""
    return PGD(ThreatModel("Linf", eps), steps, eps / 4, stop="success")


MAIN_EPS = 8 / 255
MAIN_ATTACKS: tuple[PGD | None, ...] = (None, fgsm(ThreatModel("Linf", MAIN_EPS)), pgd(10, MAIN_EPS))
EXTRA_ATTACKS = tuple(pgd(10, level / 255) for level in (2, 4, 16)) + (pgd(20, MAIN_EPS),)
EXTRA_LINES = ("ap@stored:1", "ap@clean")
STRIP_ATTACKS = tuple(attack for attack in MAIN_ATTACKS if attack is not None)


@dataclass(frozen=True, slots=True)
class Point:
    """One accuracy to compute."""

    setting: NormSetting
    attack: PGD | None
    n: int


def canonical(setting: NormSetting, design: NormDesign) -> NormSetting:
    """The setting with each lambda that the design makes meaningless set to 0: equal values, equal networks."""
    affine = 0.0 if design.share_parameters else setting.affine
    shared = design.share_statistics and isinstance(setting.statistics, Stored)
    return NormSetting(affine, Stored(0.0) if shared else setting.statistics, setting.overrides)


def canonical_on(line: str, design: NormDesign, lam: float) -> NormSetting:
    """The canonical setting at lambda on a line: where a design makes the line constant, one and the same value."""
    return canonical(LINES[line](lam), design)


def distinct_lines(design: NormDesign) -> list[str]:
    """The lines along which a design differs from point to point and from line to line; for single BN the first."""
    kept: dict[tuple[NormSetting, ...], str] = {}
    for name, line in LINES.items():
        kept.setdefault(tuple(canonical(line(lam), design) for lam in STOPS), name)
    return list(kept.values())


def same_line(name: str, design: NormDesign) -> str:
    """The line of `distinct_lines` that has the same networks as this one."""
    wanted = [canonical(LINES[name](lam), design) for lam in STOPS]
    return next(
        key for key in distinct_lines(design) if [canonical(LINES[key](lam), design) for lam in STOPS] == wanted
    )


def plan(design: NormDesign, n: int, n_plane: int) -> list[Point]:
    """Every point of a checkpoint's sweeps, the first curves first, without those that the design makes equal."""
    first = sorted(LINES, key=lambda line: line not in EXTRA_LINES)
    points = [Point(LINES[line](lam), a, n) for line in first for lam in STOPS for a in MAIN_ATTACKS]
    plane = [NormSetting(affine, Stored(statistics)) for affine in PLANE for statistics in PLANE]
    points += [Point(setting, attack, n_plane) for setting in plane for attack in (None, pgd(10, MAIN_EPS))]
    points += [Point(LINES[line](lam), a, n) for line in EXTRA_LINES for lam in COARSE for a in EXTRA_ATTACKS]
    return list({Point(canonical(p.setting, design), p.attack, p.n): None for p in points})


def header(card: ModelCard, test: ImageSet, seed: int) -> dict[str, Any]:
    """What a sweep file must say at its top to belong to this network and these images."""
    return {
        "schema": SCHEMA,
        "weights_sha256": card.weights_sha256,
        "data": test.name,
        "split": test.split,
        "n": len(test),
        "data_sha256": test.checksum,
        "data_note": test.note,
        "seed": seed,
        "engine_version": __version__,
    }


def _read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Header and complete record lines; InputError where there is no header."""
    try:
        lines = path.read_text().split("\n")
        first = parse_json(lines[0])
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run the sweep again.") from None
    if not isinstance(first, dict):
        raise InputError(f"{path} has no header; delete it and run the sweep again.")
    return first, lines[1:-1]


def load_sweep(path: Path, expected: dict[str, Any]) -> list[EvalRecord]:
    """The records of a sweep file. InputError where it was made with other weights, images, seed or another format.

    Only the keys of `expected` are compared, so that a page without the images can still show the curves.
    """
    found, lines = _read(path)
    for key, value in expected.items():
        if found.get(key) != value:
            raise InputError(
                f"{path} is stale: its {key} is {found.get(key)!r}, not {value!r}; delete it and run the sweep again."
            )
    try:
        return [EvalRecord.from_json(parse_json(line)) for line in lines]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} holds a damaged record ({error}); delete it and run the sweep again.") from None


def sweep_header(path: Path) -> dict[str, Any]:
    """The header of a sweep file as it stands."""
    return _read(path)[0]


def begun(path: Path, head: dict[str, Any]) -> list[EvalRecord]:
    """The records of a file that more will be appended to: none and a new file, or what a kill left whole."""
    if not path.exists():
        write_atomic(path, (json.dumps(head) + "\n").encode())
        return []
    records = load_sweep(path, head)
    found, lines = _read(path)
    write_atomic(path, "\n".join([json.dumps(found), *lines, ""]).encode())
    return records


def missing_points(path: Path, head: dict[str, Any], points: Iterable[Point]) -> list[Point]:
    """The points that the file, begun where there is none, does not hold yet."""
    have = {(r.setting, r.attack, r.n) for r in begun(path, head)}
    return [p for p in points if (p.setting, p.attack, p.n) not in have]


def in_order(path: Path, head: dict[str, Any], points: Iterable[Point]) -> None:
    """Brings records that were written as they came into the order of the plan, what is not in it last."""
    place: dict[object, int] = {(p.setting, p.attack, p.n): index for index, p in enumerate(points)}
    records = sorted(begun(path, head), key=lambda r: place.get((r.setting, r.attack, r.n), len(place)))
    lines = [json.dumps(value) for value in (sweep_header(path), *(record.as_json() for record in records))]
    write_atomic(path, "\n".join([*lines, ""]).encode())


def run_sweep(path: Path, bench: Bench, head: dict[str, Any], points: Iterable[Point]) -> Iterator[tuple[int, int]]:
    """Computes what is missing and yields (done, total) after each record, which is then safely on disk."""
    points = list(points)
    missing = missing_points(path, head, points)
    done = len(points) - len(missing)
    yield done, len(points)
    for (setting, n), group in groupby(missing, key=lambda p: (p.setting, p.n)):
        for record in bench.evaluate_many(setting, [p.attack for p in group], n, head["seed"]):
            append(path, record)
            done += 1
            yield done, len(points)


def append(path: Path, record: EvalRecord) -> None:
    try:
        with path.open("a") as file:
            file.write(json.dumps(record.as_json()) + "\n")
            file.flush()
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}; run the sweep again to go on from here.") from None


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracies along one line: lambdas and records of equal length."""

    lams: tuple[float, ...]
    records: tuple[EvalRecord, ...]


def curve(
    records: Iterable[EvalRecord], design: NormDesign, line: Callable[[float], NormSetting], attack: PGD | None
) -> Curve | None:
    """The curve along a line under an attack, or None where the sweep does not hold at least its two ends."""
    best: dict[NormSetting, EvalRecord] = {}
    for record in records:
        if record.attack == attack and (record.white_box or attack is None):
            known = best.get(record.setting)
            best[record.setting] = record if known is None or record.n > known.n else known
    found = [(lam, best[key]) for lam in STOPS if (key := canonical(line(lam), design)) in best]
    if len(found) < 2 or found[0][0] != 0 or found[-1][0] != 1:
        return None
    return Curve(tuple(lam for lam, _ in found), tuple(record for _, record in found))


def statistics_name(statistics: Statistics) -> str:
    """'stored:1', 'clean', 'adv', 'noise' or 'mix': as on the command line."""
    return f"stored:{statistics.lam:g}" if isinstance(statistics, Stored) else asdict(statistics)["source"]


def strip_key(line: str, attack: PGD) -> str:
    """Name of a strip in strip.npz."""
    return f"{line}|{attack.label}"
