"""Sweeps: what is planned, what survives a kill, a full disk and a change of weights, and what a curve is."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.attacks import PGD, fgsm
from engine.cards import EvalRecord
from engine.norm import at
from engine.sweep import (
    COARSE,
    LINES,
    MAIN_ATTACKS,
    PLANE,
    STOPS,
    Point,
    append,
    canonical,
    curve,
    distinct_lines,
    header,
    load_sweep,
    pgd,
    plan,
    run_sweep,
    same_line,
    statistics_name,
    sweep_header,
)
from engine.values import (
    DESIGNS,
    DUAL_AP,
    DUAL_BN,
    DUAL_NS,
    SINGLE,
    InputError,
    NormDesign,
    NormSetting,
    Reestimated,
    Stored,
    ThreatModel,
)
from tests.support import card_for, dual, linear_bench, random_images

designs = pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
BENCH = linear_bench(n=40, n_calibration=20)
HEAD = header(replace(card_for("toy", DUAL_BN), weights_sha256="ab"), BENCH.test, seed=0)
ATTACK = pgd(3, 0.02)
POINTS = [
    Point(NormSetting(lam, statistics), attack, n)
    for statistics, n in ((Stored(0.0), 40), (Reestimated("clean", n=20), 40), (Stored(1.0), 30))
    for lam in (0.0, 0.5, 1.0)
    for attack in (None, ATTACK)
]


def drain(path: Path, points: list[Point] = POINTS, stop_after: int | None = None) -> list[tuple[int, int]]:
    """What run_sweep yields, left alone after `stop_after` values."""
    steps = run_sweep(path, BENCH, HEAD, points)
    return list(steps) if stop_after is None else [next(steps) for _ in range(stop_after)]


@designs
def test_a_plan_computes_nothing_twice(design: NormDesign) -> None:
    points = plan(design, n=1000, n_plane=500)
    assert len(set(points)) == len(points)
    assert all(canonical(point.setting, design) == point.setting for point in points)
    for line in LINES.values():
        for lam in STOPS:
            for attack in MAIN_ATTACKS:
                assert Point(canonical(line(lam), design), attack, 1000) in points


def test_a_plan_drops_what_a_design_makes_constant() -> None:
    """In numbers: 5 lines share their corners; a design without its own AP or NS has fewer different settings."""
    n_stops, n_plane = len(STOPS), len(PLANE) ** 2
    settings = {name: {p.setting for p in plan(d, 1000, 500) if p.n == 1000} for name, d in DESIGNS.items()}
    planes = {name: len({p.setting for p in plan(d, 1000, 500) if p.n == 500}) for name, d in DESIGNS.items()}
    assert {name: len(found) for name, found in settings.items()} == {
        "single": 1 + 1,  # stored, and re-estimated
        "dual-ap": n_stops + n_stops,
        "dual-linear": n_stops + n_stops,  # its heads stand where the others have their AP
        "dual-ns": n_stops + 1,
        "dual-bn": 4 * n_stops - 4 + n_stops,
    }
    one_way = dict.fromkeys(("dual-ap", "dual-ns", "dual-linear"), len(PLANE))
    assert planes == {"single": 1, "dual-bn": n_plane} | one_way
    extra = {(p.setting.affine, p.attack) for p in plan(DUAL_BN, 1000, 500) if p.attack == pgd(20, 8 / 255)}
    assert {affine for affine, _ in extra} == set(COARSE)


@designs
def test_equal_canonical_settings_are_equal_networks(design: NormDesign) -> None:
    model, images = dual(design), random_images(3)
    for setting in (NormSetting(0.3, Stored(0.7)), NormSetting(1.0, Stored(1.0)), NormSetting(0.25, Stored(0.0))):
        same = at(model, canonical(setting, design))(images)
        assert same.allclose(at(model, setting)(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("design", "lines"),
    [
        (SINGLE, ["ap@stored:0", "ap@clean"]),
        (DUAL_AP, ["ap@stored:0", "ap@clean", "ns@0", "ns@1"]),
        (DUAL_NS, ["ap@stored:0", "ap@stored:1", "ap@clean", "ns@0"]),
        (DUAL_BN, list(LINES)),
    ],
    ids=lambda value: value.name if isinstance(value, NormDesign) else "",
)
def test_lines_that_are_the_same_networks_are_found(design: NormDesign, lines: list[str]) -> None:
    assert distinct_lines(design) == lines
    assert [same_line(line, design) for line in lines] == lines
    assert {same_line(line, design) for line in LINES} == set(lines)


def test_a_sweep_holds_what_the_bench_says(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    assert drain(path) == [(done, len(POINTS)) for done in range(len(POINTS) + 1)]
    records = load_sweep(path, HEAD)
    assert sweep_header(path) == HEAD
    assert records == [BENCH.evaluate(p.setting, p.attack, p.n, HEAD["seed"]) for p in POINTS]
    before = path.read_bytes()
    assert drain(path) == [(len(POINTS), len(POINTS))]
    assert path.read_bytes() == before


@pytest.mark.parametrize("stopped_after", [1, 2, 5, len(POINTS)])
@pytest.mark.parametrize("cut", [0, 1, 25], ids=lambda n: f"{n}-bytes-lost")
def test_a_sweep_killed_in_the_middle_of_a_line_goes_on(tmp_path: Path, stopped_after: int, cut: int) -> None:
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    drain(whole)
    drain(killed, stop_after=stopped_after)
    if stopped_after > 1:
        killed.write_bytes(killed.read_bytes()[: -cut or None])
    missing = len(POINTS) - (stopped_after - 1) + (cut > 0 and stopped_after > 1)
    assert len(drain(killed)) == missing + 1
    assert sorted(killed.read_text().splitlines()) == sorted(whole.read_text().splitlines())


def test_more_points_are_added_to_a_finished_sweep(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    drain(path, POINTS[:4])
    assert drain(path)[0] == (4, len(POINTS))
    assert len(load_sweep(path, HEAD)) == len(POINTS)


@pytest.mark.parametrize(
    ("field", "value"),
    [("weights_sha256", "cd"), ("data_sha256", "x"), ("data", "cifar10"), ("split", "train"), ("seed", 1),
     ("engine_version", "0.0.0"), ("schema", 0), ("n", 41)],
)  # fmt: skip
def test_a_sweep_of_something_else_is_refused(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "sweep.jsonl"
    drain(path, POINTS[:2])
    before, other = path.read_bytes(), HEAD | {field: value}
    assert other != HEAD
    for use in (lambda: load_sweep(path, other), lambda: next(run_sweep(path, BENCH, other, POINTS))):
        with pytest.raises(InputError, match=f"is stale: its {field} is .*delete it and run the sweep again"):
            use()
    assert path.read_bytes() == before
    assert len(load_sweep(path, {k: v for k, v in HEAD.items() if k != field})) == 2


def line_with(**changes: Any) -> str:
    record = EvalRecord(POINTS[1].setting, ATTACK, POINTS[1].setting, 40, 20, 0).as_json()
    return json.dumps(record | changes)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("{\n", id="header-cut"),
        pytest.param("[]\n", id="header-a-list"),
        pytest.param(json.dumps(HEAD) + "\n\n", id="empty-line"),
        pytest.param(json.dumps(HEAD) + "\n3\n", id="a-number"),
        pytest.param(json.dumps(HEAD) + '\n{"n": 1}\n', id="fields-missing"),
        pytest.param(json.dumps(HEAD) + "\n" + line_with(setting=[]) + "\n", id="setting-a-list"),
        pytest.param(json.dumps(HEAD) + "\n" + line_with(attack={"threat": 1}) + "\n", id="attack-form"),
        pytest.param(json.dumps(HEAD) + "\n" + line_with()[:40] + "\n" + line_with() + "\n", id="cut-in-the-middle"),
    ],
)
def test_a_damaged_sweep_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sweep.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match="delete it and run the sweep again"):
        load_sweep(path, HEAD)
    assert path.read_text() == content


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(InputError, match="Cannot write .*: No space left on device; run the sweep again to go on"):
        append(path, BENCH.evaluate(POINTS[0].setting, None, 5, 0))


@pytest.fixture
def limit_files() -> Iterator[Callable[[int], None]]:
    """Sets how many bytes a file may have; the kernel refuses more, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_sweep_that_ran_out_of_space_goes_on_later(tmp_path: Path, limit_files: Callable[[int], None]) -> None:
    whole, path = tmp_path / "whole.jsonl", tmp_path / "sweep.jsonl"
    drain(whole)
    limit_files(os.path.getsize(whole) // 2)
    with pytest.raises(InputError, match="Cannot write .*File too large; run the sweep again to go on"):
        drain(path)
    limit_files(resource.RLIM_INFINITY)
    assert 0 < drain(path)[0][0] < len(POINTS)
    assert sorted(path.read_text().splitlines()) == sorted(whole.read_text().splitlines())


def record(setting: NormSetting, attack: PGD | None, n: int, n_correct: int) -> EvalRecord:
    return EvalRecord(setting, attack, setting if attack else None, n, n_correct, 0)


def test_a_curve_holds_its_line_only() -> None:
    line, other = LINES["ap@stored:1"], LINES["ap@stored:0"]
    records = [record(line(lam), ATTACK, 100, round(100 * lam)) for lam in (1.0, 0.0, 0.35, 0.1)]
    noise = [
        record(other(0.5), ATTACK, 100, 1),
        record(line(0.5), None, 100, 1),
        record(line(0.5), pgd(4, 0.02), 100, 1),
    ]
    transfer = replace(record(line(0.6), ATTACK, 100, 1), attack_setting=other(0.6))
    off_grid = record(line(0.333), ATTACK, 100, 1)
    found = curve([*records, *noise, transfer, off_grid], DUAL_BN, line, ATTACK)
    assert found is not None
    assert found.lams == (0.0, 0.1, 0.35, 1.0)
    assert [r.n_correct for r in found.records] == [0, 10, 35, 100]


def test_of_two_records_of_one_point_the_larger_counts() -> None:
    line = LINES["ns@0"]
    records = [record(line(lam), None, n, n // 2) for lam in (0.0, 1.0) for n in (500, 1000, 200)]
    found = curve(records, DUAL_BN, line, None)
    assert found is not None
    assert [r.n for r in found.records] == [1000, 1000]


@pytest.mark.parametrize("lams", [(), (0.0,), (0.0, 0.5), (0.5, 1.0)], ids=str)
def test_a_curve_without_its_ends_is_none(lams: tuple[float, ...]) -> None:
    line = LINES["ap@clean"]
    assert curve([record(line(lam), None, 10, 5) for lam in lams], DUAL_BN, line, None) is None


def test_a_line_that_a_design_makes_constant_is_flat() -> None:
    records = [record(canonical(LINES["ns@1"](0.0), SINGLE), None, 10, 5)]
    found = curve(records, SINGLE, LINES["ns@1"], None)
    assert found is not None
    assert found.lams == STOPS
    assert {r.n_correct for r in found.records} == {5}


def test_names_of_statistics_are_those_of_the_command_line() -> None:
    names = [statistics_name(statistics) for statistics in (Stored(0.5), Stored(1.0), Reestimated("mix"))]
    assert names == ["stored:0.5", "stored:1", "mix"]
    assert fgsm(ThreatModel("Linf", 8 / 255)).label == "FGSM at 8/255"
    assert replace(pgd(20, 8 / 255), n_restarts=3).label == "PGD-20 at 8/255, 3 restarts"
    assert PGD(ThreatModel("L2", 0.5), 1, 0.1).label == "PGD-1 at L2 0.5"
