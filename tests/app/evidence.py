"""Findings whose numbers are made up by a formula: one of each kind of chart, verdict and circumstance.

Usage::

    write_findings(root / "paper")            # E0, E3 and E7 on two families
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from engine import api
from engine.experiments import Chart, Prediction, Table, save_finding
from engine.experiments.base import Cell

FAMILIES = ("shapes", "cifar10-resnet20")
AXES = ("clean AP", "adversarial AP")
LAYERS = tuple(f"layer{stage}.{block}.bn{i}" for stage in (1, 2, 3) for block in (0, 1, 2) for i in (1, 2))


def around(value: float, by: float) -> tuple[float, float, float]:
    return value, value - by, value + by


def bars() -> tuple[Table, Chart]:
    """Accuracy of four networks and their branches, clean and attacked."""
    rows: list[tuple[Cell, ...]] = []
    for i, network in enumerate(("standard", "madry", "single", "dual-bn")):
        for branch in ("clean", "adversarial") if network == "dual-bn" else ("only",):
            robust = 0.02 if branch == "clean" or network == "standard" else 0.55 + 0.03 * i
            for kind, value in (("clean", 0.98 - 0.01 * i), ("robust", robust)):
                rows.append((network, branch, kind, *around(value, 0.015), 2000))
    table = Table(
        "accuracy", "Clean accuracy and accuracy under PGD-20 at 8/255, white-box.",
        ("network", "branch", "accuracy", "value", "low", "high", "n"), tuple(rows),
    )  # fmt: skip
    return table, Chart(
        "accuracy", "bars", "network", "value", "", "images right", "Every network and branch", "low", "high", "branch",
        "accuracy", percent=True,
    )  # fmt: skip


def distances() -> tuple[Table, Chart, Chart]:
    """Distance of the statistics by depth: at equal AP far below the stored branches'; on a log axis."""
    rows: list[tuple[Cell, ...]] = []
    for source, size in (("stored branches", 0.3), ("equal AP, adversarial", 0.01), ("equal AP, noise", 0.012)):
        for depth, layer in enumerate(LAYERS):
            value = size * (1 + 0.5 * math.sin(depth))
            rows.append((depth, layer, source, *around(value, 0.1 * value)))
    columns = ("depth", "layer", "source", "value", "low", "high")
    table = Table("distances", "W1 of the mean by layer.", columns, tuple(rows))
    by_depth = Chart(
        "distances", "lines", "depth", "value", "depth", "W1 of the mean",
        "The gap between the stored branches is not there at equal AP", "low", "high", "source", y_scale="log",
    )  # fmt: skip
    by_layer = replace(by_depth, kind="bars", x="layer", x_title="layer", y_scale="linear", caption="The same by layer")
    return table, by_depth, by_layer


def cross() -> tuple[Table, Table, tuple[Chart, ...]]:
    """Accuracy of every NS under every AP as a grid; the main effects as points."""
    rows = tuple(
        (f"NS {ns}", ap, kind, *around(0.02 + 0.6 * a * (kind == "robust") + 0.9 * (kind == "clean"), 0.02))
        for kind in ("clean", "robust") for ns in ("clean", "adversarial", "noise") for a, ap in enumerate(AXES)
    )  # fmt: skip
    table = Table("grid", "Accuracy of NS and AP combined.", ("ns", "ap", "accuracy", "value", "low", "high"), rows)
    effects = Table(
        "effects", "Main effects.", ("effect", "value", "low", "high"),
        (("AP", *around(0.6, 0.03)), ("NS", *around(-0.004, 0.02)), ("AP x NS", None, None, None)),
    )  # fmt: skip
    return table, effects, (
        Chart(
            "grid", "grid", "ap", "value", "affine parameters", "accuracy", "Robust by NS and AP", "low", "high", "ns",
            "accuracy", percent=True,
        ),
        Chart("effects", "points", "effect", "value", "", "change", "Main effects", "low", "high", percent=True),
    )  # fmt: skip


def finding(experiment: str, family: str, **changes: object) -> api.Finding:
    """An undecided finding without figures, and what is changed of it."""
    made = api.Finding(
        experiment, f"Title of {experiment}", f"What the paper says in {experiment}.", family, "undecided",
        "The interval holds zero: +0.8 [-2.2, +3.8] points, and $5 for *nobody*.",
        ("One seed a network: the intervals cover the choice of test images, not that of the seed.",), 2000, 0,
        "PGD-20 at 8/255", {}, "a" * 64, "", api.__version__, f"python -m engine paper {experiment} --family {family}",
        12.5, (), (), (), "/?model=shapes-dual-bn",
    )  # fmt: skip
    return replace(made, **changes)  # pyright: ignore[reportArgumentType]


def findings(family: str) -> Iterable[api.Finding]:
    """On CIFAR-10 E3 fails."""
    table, chart = bars()
    p1 = Prediction("p1", "The adversarial branch is far more robust.", "holds", "By +62.3 [+60.0, +64.4] points.")
    yield finding("E0", family, tables=(table,), charts=(chart,), predictions=(p1,))
    table, *charts = distances()
    p3 = replace(p1, name="p3", verdict="fails")
    yield finding(
        "E3", family, tables=(table,), charts=tuple(charts), predictions=(p3,),
        verdict="holds" if family == "shapes" else "fails",
    )  # fmt: skip
    table, effects, charts = cross()
    yield finding("E7", family, tables=(table, effects), charts=charts, verdict="holds")


def write_findings(folder: Path) -> None:
    for family in FAMILIES:
        for one in findings(family):
            save_finding(folder, one)
