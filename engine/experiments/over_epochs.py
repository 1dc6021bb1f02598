"""E5: the gap between clean and attacked statistics at equal AP, epoch by epoch."""

from __future__ import annotations

import torch

from engine.data.base import Progress
from engine.experiments.base import Chart, Experiment, Outcome, Steps, Verdict, table
from engine.experiments.family import Family
from engine.experiments.intervals import Estimate, above, resamples, spread, together
from engine.features import DISTANCES
from engine.training.snapshots import N_IMAGES, STEPS, load_snapshots

ROLES = ("madry", "dual-bn", "single", "standard", "dual-ap", "dual-ns", "trades", "cross-ns", "dual-linear")
METRICS = ("w1 mean", "w1 sigma", "shift", "log ratio")
SMALLER = 2


def compute(family: Family, _n: int, seed: int, progress: Progress | None) -> Outcome:
    kept = {
        role: path
        for role in ROLES
        if role in family.members and (path := family.root / family.members[role].name / "snapshots.npz").exists()
    }
    if not kept:
        return Outcome(
            "undecided",
            f"No network of the family {family.name} has statistics by epoch (snapshots.npz) beside its weights; train "
            "one with snapshots = true in its recipe.",
        )
    steps, rows, verdicts, said = Steps(len(kept), progress), list[tuple[str, int, str, float]](), list[Verdict](), ""
    shrunk: list[tuple[str, str, float, float, float]] = []
    for role, path in kept.items():
        layers = load_snapshots(path)
        epochs = next(iter(layers.values())).epochs
        for metric in METRICS:
            curves = torch.tensor([], dtype=torch.float64)
            for shots in layers.values():
                sides = (shots.clean_mean, shots.clean_var**0.5, shots.adv_mean, shots.adv_var**0.5)
                values = DISTANCES[metric](*(torch.from_numpy(side).double() for side in sides)).nanmean(-1)
                curves = torch.cat([curves, values[None].nan_to_num(0.0)])  # (layers, epochs)
            rows += [(role, int(e), metric, float(v)) for e, v in zip(epochs, curves.mean(0), strict=True)]
            ends = resamples(len(curves), seed) @ curves[:, [0, -1]] / len(curves)
            change = spread(ends[:, 0] / ends[:, 1].clamp_min(1e-12))
            shrunk.append((role, metric, *change.cells))
            if role == next(iter(kept)) and metric.startswith("w1"):
                verdicts.append(above(change, SMALLER))
                said += f"{' and ' if said else ''}{_times(change)} for {metric.removeprefix('w1 ')}"
        steps.done()
    first = next(iter(kept))
    return Outcome(
        together(verdicts),
        f"From the first to the last epoch of {first} W1 at equal AP shrinks {said}.",
        f"PGD-{STEPS} through the adversarial branch",
        (
            f"{N_IMAGES} training images an epoch; the interval is over layers (bootstrap), not over images or seeds.",
            "W1 has the units of the activations, which change in training; shift and log ratio do not.",
        ),
        (),
        (
            table("epochs", "Mean distance over layers.", ("network", "epoch", "metric", "value"), rows),
            table("shrunk", "First over last epoch.", ("network", "metric", "value", "low", "high"), shrunk),
        ),
        (
            Chart(
                *("epochs", "lines", "epoch", "value", "epoch", "distance from clean"),
                "The gap at equal AP over training.",
                series="network",
                facet="metric",
                y_scale="log",
            ),
        ),
        "/models",
    )


def _times(change: Estimate) -> str:
    return f"{change.plain} times"


EXPERIMENT = Experiment(
    "E5",
    "The gap over training",
    f"At equal AP the gap between clean and attacked statistics collapses early in training (it ends over {SMALLER} "
    "times smaller than it began) and stays small.",
    compute,
    needs=(),
    uses=ROLES,
)
