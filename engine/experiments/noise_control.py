"""E6: is an attack special to the statistics? Noise of equal size as the control, accuracy beside the gap."""

from __future__ import annotations

import math

import torch

from engine.attacks import Noise
from engine.data.base import Progress
from engine.experiments.base import Cell, Chart, Experiment, Outcome, Prediction, Steps, table
from engine.experiments.family import Family
from engine.experiments.intervals import Estimate, above, bootstrap, resamples, spread, together, within
from engine.experiments.layers import BIAS, N_BOOT, N_IMAGES, attacked, layer_rows, over_layers
from engine.features import DISTANCES
from engine.norm import dual_layers
from engine.sources import CLEAN, NULL, Sample, Source, distances, resampled
from engine.values import Branch, ThreatModel, branch_setting, eps_label, wilson

FACTOR, COST = 2, 0.2
METRICS = ("w1 mean", "w1 sigma", "shift", "log ratio")
P4 = f"On a standard network W1 of attacked to clean images is that of noisy to clean ones, within a factor {FACTOR}."
COLUMNS = ("eps", "metric", "source", "layer", "value", "low", "high")


def sources(eps: float) -> tuple[Source, ...]:
    """Clean, attacked, uniform and Gaussian noise of the same largest size, other clean images."""
    threat = ThreatModel("Linf", eps)
    noise = [Source(f"{kind} noise", Noise(threat, kind)) for kind in ("uniform", "gaussian")]
    return CLEAN, attacked(eps), *noise, NULL


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    n, levels = min(n, N_IMAGES), (family.eps("standard"), 2 * family.eps("standard"))
    steps, counts = Steps(len(levels), progress), resamples(n, seed, N_BOOT)
    gaps: list[tuple[Cell, ...]] = []
    means: list[tuple[Cell, ...]] = []
    shares: list[tuple[Cell, ...]] = []
    logs: dict[tuple[str, str], Estimate] = {}
    costs: dict[str, Estimate] = {}
    for eps in levels:
        label = eps_label(eps)
        sample = family.sample("standard", branch_setting(Branch.ADV), sources(eps), n, seed, steps.inside)
        sides = {source: resampled(moments, counts) for source, moments in sample.moments.items()}
        drawn = {
            (metric, source): distances(metric, sides["clean"], side)
            for metric in METRICS
            for source, side in sides.items()
            if source != "clean"
        }
        for (metric, source), draws in drawn.items():
            gaps += [(label, metric, source, *row) for row in layer_rows(draws, sample.layers)]
            means.append((label, metric, source, *over_layers(draws).cells))
        for metric in ("w1 mean", "w1 sigma"):
            adv, noise = (drawn[metric, source].mean(1) for source in ("adv", "uniform noise"))
            logs[label, metric] = spread((adv / noise).log())
        means += _to_stored(family, sample, label, n)
        both = torch.stack([sample.correct["uniform noise"], sample.correct["adv"]], 1)
        costs[label] = bootstrap(both, lambda m: m[:, 0] - m[:, 1], seed)
        for source, correct in sample.correct.items():
            shares.append((label, source, *Estimate.of(wilson(int(correct.sum()), n)).cells, n))
        steps.done()
    main = eps_label(levels[0])
    at_eps = {first: [row for row in gaps if (row[0] == main) == first] for first in (True, False)}
    ratios = {key: Estimate(*(math.exp(v) for v in log.cells)) for key, log in logs.items()}
    equal = together(within(logs[main, metric], math.log(FACTOR)) for metric in ("w1 mean", "w1 sigma"))
    said = " and ".join(f"{ratios[main, m].plain} for {m.removeprefix('w1 ')}" for m in ("w1 mean", "w1 sigma"))
    return Outcome(
        together([equal, above(costs[main], COST)]),
        f"At eps {main} W1 of attacked images is {said} times that of uniform noise, while the noise leaves "
        f"{costs[main].points} more images right.",
        f"PGD-10 at {main} and at {eps_label(levels[1])}, white-box",
        (
            BIAS,
            "Noise is drawn within eps and clipped to [0, 1]; the paper's is not clipped. The paper compares with the "
            "stored NS (rows 'to stored NS'), whose offset both curves share; we compare with the same images, clean.",
        ),
        (Prediction("p4", P4, equal, f"Attack over noise at eps {main}: {said}."),),
        (
            table("layers", f"Distance from the clean images by source, {n} images.", COLUMNS, at_eps[True]),
            table("layers at twice the eps", "The same at twice the eps.", COLUMNS, at_eps[False]),
            table("mean", "The same, mean over layers.", ("eps", "metric", "source", "value", "low", "high"), means),
            table("accuracy", "Accuracy under each source.", ("eps", "source", "value", "low", "high", "n"), shares),
        ),
        (
            Chart(
                *("layers", "lines", "layer", "value", "", "distance from clean"),
                "Attack, noise of equal size, and other clean images, which show what chance does.",
                *("low", "high", "source", "metric"),
                y_scale="log",
            ),
            Chart(
                *("accuracy", "bars", "source", "value", "", "images right"),
                "What the same images do to the accuracy.",
                *("low", "high", "eps"),
                percent=True,
            ),
        ),
        f"/layers?model={family.members['standard'].name}",
    )


def _to_stored(family: Family, sample: Sample, label: str, n: int) -> list[tuple[Cell, ...]]:
    """W1 of each source to the stored NS (the paper's reference), mean over layers; no interval."""
    stored = {name: layer.statistics_row(Branch.ADV) for name, layer in dual_layers(family.bench("standard", n).model)}
    rows: list[tuple[Cell, ...]] = []
    for metric in ("w1 mean", "w1 sigma"):
        for source, moments in sample.moments.items():
            found: list[float] = []
            for layer, images in moments.items():
                mean, var = (tensor.double().cpu() for tensor in stored[layer])
                whole = images.whole
                found.append(DISTANCES[metric](mean, var.sqrt(), whole.mean, whole.var.sqrt()).mean().item())
            rows.append((label, metric, f"{source} to stored NS", sum(found) / len(found), None, None))
    return rows


EXPERIMENT = Experiment(
    "E6",
    "Noise of equal size",
    f"Noise moves the feature statistics of a standard network as far as an attack of equal size does (within a factor "
    f"{FACTOR}), and yet leaves far more images right (over {100 * COST:g} points).",
    compute,
    needs=("standard",),
    at_most=N_IMAGES,
)
