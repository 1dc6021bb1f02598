"""E3: the domain gap of the stored statistics vanishes once both kinds of images pass through the same AP."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.data.base import Progress
from engine.experiments.base import Cell, Chart, Experiment, Outcome, Prediction, Steps, table
from engine.experiments.family import Family
from engine.experiments.intervals import Estimate, above, resamples, together
from engine.experiments.layers import BIAS, N_BOOT, N_IMAGES, by_branch, layer_rows, over_layers, ratio
from engine.features import stored_gaps
from engine.norm import dual_layers
from engine.sources import Sample, distances, notation, resampled
from engine.values import Branch, branch_setting

SMALLER, FAR_SMALLER, N_CHANNELS = 2, 10, 20
STATISTICS = (("mean", "w1 mean"), ("sigma", "w1 sigma"))
P3 = f"At equal AP, W1 of means and of sigmas is at least {FAR_SMALLER} times below that of the branches' stored NS."


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    n, eps = min(n, N_IMAGES), family.eps("dual-bn")
    steps = Steps(2, progress)
    samples: dict[Branch, Sample] = {}
    for branch in Branch:
        sources = by_branch(eps, branch)
        samples[branch] = family.sample("dual-bn", branch_setting(branch), sources, n, seed, steps.inside)
        steps.done()
    model, counts = family.bench("dual-bn", n).model, resamples(n, seed, N_BOOT)
    drawn = {b: {name: resampled(m, counts) for name, m in sample.moments.items()} for b, sample in samples.items()}
    layers = samples[Branch.ADV].layers
    found = {gap.layer: gap for gap in stored_gaps(model)}
    stored = {
        "mean": torch.tensor([found[layer].w1_mean for layer in layers], dtype=torch.float64),
        "sigma": torch.tensor([found[layer].w1_sigma for layer in layers], dtype=torch.float64),
    }
    rows: list[tuple[Cell, ...]] = []
    ratios: dict[tuple[str, str], Estimate] = {}
    means: list[tuple[Cell, ...]] = []
    for statistic, metric in STATISTICS:
        curves: dict[str, Tensor] = {"stored NS, each branch its own AP": stored[statistic].expand(len(counts), -1)}
        ends = (drawn[branch]["clean"] for branch in Branch)
        curves["clean images, AP exchanged"] = distances(metric, *ends)
        for branch, name in ((Branch.ADV, "adversarial"), (Branch.CLEAN, "clean")):
            gaps = distances(metric, drawn[branch]["clean"], drawn[branch]["adv"])
            curves[f"{name} AP for both"] = gaps
            ratios[statistic, name] = ratio(stored[statistic], gaps)
        for name, draws in curves.items():
            rows += [(statistic, name, *row) for row in layer_rows(draws, layers)]
            means.append((statistic, name, *over_layers(draws).cells))
    ratio_rows = [(statistic, name, *estimate.cells) for (statistic, name), estimate in ratios.items()]
    said = "; ".join(f"{s} at the {name} AP {e.plain}" for (s, name), e in ratios.items())
    layer = layers[3 * len(layers) // 4]
    return Outcome(
        together(above(estimate, SMALLER) for estimate in ratios.values()),
        f"Between stored NS, W1 is this many times what it is at equal AP: {said}.",
        "PGD-10 through the adversarial branch",
        (
            BIAS,
            "Layers normalize with the branch's stored NS while the statistics are taken, for both kinds of images.",
        ),
        (Prediction("p3", P3, together(above(e, FAR_SMALLER) for e in ratios.values()), f"Times smaller: {said}."),),
        (
            table("layers", f"W1 over channels, {n} images.", ("statistic", "compared", *LAYER), rows),
            table("mean", "The same, mean over layers.", ("statistic", "compared", "value", "low", "high"), means),
            table("ratio", "Stored over equal AP.", ("statistic", "AP", "value", "low", "high"), ratio_rows),
            table(
                "channels",
                f"The last {N_CHANNELS} channels of {layer}: NS_x^y of x images at y's AP, {n} images.",
                ("statistic", "channel", "of", "AP", "value"),
                channel_rows(samples, layer),
            ),
            table(
                "affine", f"AP of the same channels of {layer}.", ("half", "channel", "AP", "value"), _ap(model, layer)
            ),
        ),
        (
            Chart(
                *("channels", "bars", "channel", "value", f"channel of {layer}", "mean or sigma of its input"),
                "Same AP, different images: bars coincide. Same images, different AP: they do not.",
                series="of",
                facet="statistic",
            ),
            Chart(
                *("layers", "lines", "layer", "value", "", "W1 over channels"),
                "The gap by depth: between stored NS, and at equal AP.",
                *("low", "high", "compared", "statistic"),
                y_scale="log",
            ),
        ),
        f"/layers?model={family.members['dual-bn'].name}",
    )


LAYER = ("layer", "value", "low", "high")


def channel_rows(samples: dict[Branch, Sample], layer: str) -> list[tuple[Cell, ...]]:
    """(statistic, channel, NS_x^y, AP, value) of a layer's last channels."""
    rows: list[tuple[Cell, ...]] = []
    for branch, sample in samples.items():
        for source in ("clean", "adv"):
            whole = sample.moments[source][layer].whole
            for statistic, values in (("mean", whole.mean), ("sigma", whole.var.sqrt())):
                of, ap = notation(source, float(branch)), branch.name.lower()
                for channel in range(max(0, len(values) - N_CHANNELS), len(values)):
                    rows.append((statistic, channel, of, ap, float(values[channel])))
    return rows


def _ap(model: torch.nn.Module, layer: str) -> list[tuple[Cell, ...]]:
    norm = dict(dual_layers(model))[layer]
    rows: list[tuple[Cell, ...]] = []
    for branch in Branch:
        for half, values in zip(("weight", "bias"), norm.affine_entry(branch), strict=True):
            for channel in range(max(0, len(values) - N_CHANNELS), len(values)):
                rows.append((half, channel, branch.name.lower(), float(values[channel])))
    return rows


EXPERIMENT = Experiment(
    "E3",
    "The vanishing domain gap",
    "Clean and attacked images have nearly the same feature statistics when they pass through the same AP; what sets "
    f"the two branches' stored NS apart (over {SMALLER} times as much) is the AP upstream.",
    compute,
    needs=("dual-bn",),
    at_most=N_IMAGES,
)
