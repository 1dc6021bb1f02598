"""X2, AP arithmetic: the line through both AP, beyond its ends and in its halves; barriers and calibration along it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from engine.data.base import Progress
from engine.evaluation import Bench
from engine.experiments.base import Chart, Experiment, Outcome, Steps, Table, table
from engine.experiments.family import Family
from engine.experiments.intervals import Estimate, below, bootstrap, together
from engine.experiments.measure import MakeAffine, PerImage, accuracy, calibration_error, paired, per_image, recomposed
from engine.sweep import pgd
from engine.values import LAM_MAX, LAM_MIN, NormSetting, Reestimated

STEPS = 10
STEP = 0.125
LAMS = tuple(LAM_MIN + STEP * i for i in range(round((LAM_MAX - LAM_MIN) / STEP) + 1))
INSIDE = [i for i, lam in enumerate(LAMS) if 0 <= lam <= 1]
MARGIN = 0.05
"""Nats: what counts as a barrier."""
KINDS = ("clean", "attacked")
PARTS: dict[str, MakeAffine] = {
    "adversarial weight, clean bias": lambda _, layer: (layer.weight[1].clone(), layer.bias[0].clone()),
    "clean weight, adversarial bias": lambda _, layer: (layer.weight[0].clone(), layer.bias[1].clone()),
    "adversarial, halved": lambda _, layer: (layer.weight[1] / 2, layer.bias[1] / 2),
    "adversarial, doubled": lambda _, layer: (layer.weight[1] * 2, layer.bias[1] * 2),
}


def setting_at(lam: float) -> NormSetting:
    return NormSetting(lam, Reestimated("clean"))


def above_chord(losses: Tensor) -> Tensor:
    """(b, t) losses at equal steps along a path -> (b,): the most that an inner one lies above the line of the ends."""
    t = torch.linspace(0, 1, losses.shape[1], dtype=losses.dtype)
    chord = losses[:, :1] * (1 - t) + losses[:, -1:] * t
    return (losses - chord)[:, 1:-1].amax(1)


def least_curvature(losses: Tensor) -> Tensor:
    """(b, t) -> (b,): the smallest second difference; below 0 the path is not convex."""
    return losses.diff(n=2, dim=1).amin(1)


def barrier_rows(found: list[PerImage], seed: int) -> tuple[list[tuple[str | float, ...]], dict[str, Estimate]]:
    """Rows of the table of barriers, and the barrier of each loss."""
    clean, attacked = (torch.stack([found[i].loss[:, column] for i in INSIDE], 1) for column in (0, 1))
    measures: dict[str, Callable[[Tensor], Tensor]] = {"barrier": above_chord, "least curvature": least_curvature}
    rows: list[tuple[str | float, ...]] = []
    barriers: dict[str, Estimate] = {}
    for name, losses in (("clean", clean), ("attacked", attacked), ("half of each", (clean + attacked) / 2)):
        for measure, statistic in measures.items():
            estimate = bootstrap(losses, statistic, seed)
            rows.append((name, measure, *estimate.cells))
            if measure == "barrier":
                barriers[name] = estimate
    return rows, barriers


def along(found: list[PerImage], seed: int) -> tuple[Table, ...]:
    """Accuracy, loss and calibration error at every lambda, on clean and on attacked images."""
    values: dict[str, list[tuple[str | float, ...]]] = {"accuracy": [], "loss": [], "calibration": []}
    for lam, one in zip(LAMS, found, strict=True):
        for column, kind in enumerate(KINDS):
            loss, right, sure = one.loss[:, column], one.right[:, column], one.confidence[:, column]
            values["accuracy"].append((lam, kind, *accuracy(right).cells))
            values["loss"].append((lam, kind, *paired(loss, torch.zeros_like(loss), seed).cells))
            values["calibration"].append((lam, kind, *calibration_error(sure, right, seed).cells))
    captions = {
        "accuracy": "Accuracy at every AP lambda, NS re-estimated on clean images.",
        "loss": "Mean cross-entropy (nats) at every AP lambda.",
        "calibration": "Expected calibration error, 15 bins, at every AP lambda.",
    }
    columns = ("lambda", "images", "value", "low", "high")
    return tuple(table(name, captions[name], columns, rows) for name, rows in values.items())


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    steps, attack = Steps(len(LAMS) + len(PARTS), progress), replace(pgd(STEPS, family.eps("dual-bn")), stop="never")
    bench, found = family.bench("dual-bn", n), list[PerImage]()
    for lam in LAMS:
        found.append(per_image(bench.view(setting_at(lam)), attack, bench, n, seed, steps.inside))
        steps.done()
    barrier, barriers = barrier_rows(found, seed)
    parts: list[tuple[str | float, ...]] = []
    robust: dict[str, Tensor] = {}
    for name, affine in PARTS.items():
        other = Bench(recomposed(bench.model, affine), bench.test, bench.calibration)
        one = per_image(other.view(setting_at(1.0)), attack, other, n, seed, steps.inside)
        robust[name] = one.right[:, 1]
        for column, kind in enumerate(KINDS):
            error = calibration_error(one.confidence[:, column], one.right[:, column], seed).value
            parts.append((name, kind, *accuracy(one.right[:, column]).cells, error))
        steps.done()
    ends = {lam: one for lam, one in zip(LAMS, found, strict=True) if lam in (-0.25, 0.0, 1.0, 1.25)}
    further = paired(ends[1.25].right[:, 1], ends[1.0].right[:, 1], seed)
    cleaner = paired(ends[-0.25].right[:, 0], ends[0.0].right[:, 0], seed)
    tables = along(found, seed)
    errors = {kind: [row[2] for row in tables[2].rows if row[0] == 1.0 and row[1] == kind][0] for kind in KINDS}
    halves = {name: accuracy(right) for name, right in robust.items()}
    sentence = (
        f"Between both AP the clean loss lies at most {barriers['clean'].plain} nats above the straight line (a minus: "
        f"below it all the way), the attacked one {barriers['attacked'].plain}. A quarter beyond the adversarial AP "
        f"changes the robust accuracy by {further.points}, a quarter beyond the clean AP the clean accuracy by "
        f"{cleaner.points}. Of the halves, the adversarial biases with clean weights are right on "
        f"{halves['clean weight, adversarial bias'].percent} under attack, the adversarial weights with clean biases "
        f"on {halves['adversarial weight, clean bias'].percent}. At the adversarial AP the calibration error is "
        f"{errors['clean']:.3f} on clean and {errors['attacked']:.3f} on attacked images."
    )
    return Outcome(
        together(below(barriers[name], MARGIN) for name in KINDS),
        sentence,
        f"{attack.label}, every image through all steps",
        (
            f"The loss is known at {len(INSIDE)} points between the AP; a narrower barrier would be missed.",
            "A barrier is a largest value and so biased upwards; so is a small calibration error.",
            "Verdicts under attack are those of the last step, so a few images more count as right than with the "
            "attack that stops at success.",
        ),
        (),
        (
            *tables,
            table(
                "barriers",
                f"Most that the loss lies above the chord inside lambda 0 to 1, and its smallest second difference "
                f"(steps of {STEP:g}), in nats.",
                ("loss", "measure", "value", "low", "high"),
                barrier,
            ),
            table(
                "parts",
                "AP put together from both branches' halves, and re-scaled (in theory a mere temperature, since NS "
                "are re-estimated).",
                ("AP", "images", "value", "low", "high", "calibration error"),
                parts,
            ),
        ),
        (
            _line("accuracy", "images right", "Accuracy along and beyond the line through both AP.", percent=True),
            _line("loss", "cross-entropy, nats", "The loss along the same line: no hill between the ends?"),
            _line("calibration", "calibration error", "How far confidence is from accuracy.", percent=True),
            Chart(
                *("parts", "bars", "AP", "value", "", "images right"),
                "Which half of the AP does it, and what re-scaling does.",
                *("low", "high", "images"),
                percent=True,
            ),
        ),
        f"/?model={family.members['dual-bn'].name}",
    )


def _line(name: str, title: str, caption: str, percent: bool = False) -> Chart:
    axes = ("lambda", "value", "AP lambda: 0 clean, 1 adversarial", title)
    return Chart(name, "lines", *axes, caption, *("low", "high", "images"), percent=percent)


EXPERIMENT = Experiment(
    "X2",
    "AP arithmetic",
    "From the clean to the adversarial AP the way is straight: no barrier of the loss lies in between (none above "
    f"{MARGIN:g} nats).",
    compute,
    needs=("dual-bn",),
    beyond=True,
)
