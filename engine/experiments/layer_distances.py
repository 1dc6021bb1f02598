"""E4: by how much do AP, and by how much do NS at equal AP, differ in every layer?"""

from __future__ import annotations

from collections import defaultdict

import torch

from engine.data.base import Progress
from engine.experiments.base import Cell, Chart, Experiment, Outcome, Steps, table
from engine.experiments.family import Family
from engine.experiments.intervals import above, resamples, together
from engine.experiments.layers import BIAS, METRICS, N_BOOT, N_IMAGES, by_branch, layer_rows, over_layers, ratio
from engine.features import affine_distances
from engine.sources import distances, resampled
from engine.values import Branch, branch_setting

FAR = 10
COLUMNS = ("what", "layer", "value", "low", "high")


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    n, steps = min(n, N_IMAGES), Steps(1, progress)
    setting, sources = branch_setting(Branch.ADV), by_branch(family.eps("dual-bn"), Branch.ADV)
    sample = family.sample("dual-bn", setting, sources, n, seed, steps.inside)
    steps.done()
    counts, layers = resamples(n, seed, N_BOOT), sample.layers
    clean, adv = (resampled(sample.moments[source], counts) for source in ("clean", "adv"))
    draws = {m: distances(m, clean, adv) for m in METRICS}
    affine: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in affine_distances(family.bench("dual-bn", n).model):
        affine[row.half, "w1"].append(row.w1)
        affine[row.half, "paired"].append(row.paired)
        affine[row.half, "cosine"].append(row.cosine)
    fixed = {key: torch.tensor(values, dtype=torch.float64) for key, values in affine.items()}
    halves = {half: fixed[half, "w1"] for half in ("weight", "bias")}
    w1: list[tuple[Cell, ...]] = [
        (half, layer, *[float(v)] * 3)
        for half, values in halves.items()
        for layer, v in zip(layers, values, strict=True)
    ]
    w1 += [(m.removeprefix("w1 "), *row) for m in ("w1 mean", "w1 sigma") for row in layer_rows(draws[m], layers)]
    others: list[tuple[Cell, ...]] = [(m, *row) for m in METRICS[2:] for row in layer_rows(draws[m], layers)]
    others += [
        (f"{kind} {half}", layer, *[float(v)] * 3)
        for (half, kind), values in fixed.items()
        if kind != "w1"
        for layer, v in zip(layers, values, strict=True)
    ]
    ratios = {(half, m): ratio(values, draws[m]) for half, values in halves.items() for m in ("w1 mean", "w1 sigma")}
    means: list[tuple[Cell, ...]] = [(f"w1 {half}", *[float(v.mean())] * 3) for half, v in halves.items()]
    means += [(m, *over_layers(draws[m]).cells) for m in METRICS]
    said = "; ".join(f"{half} over {m.removeprefix('w1 ')} {e.plain}" for (half, m), e in ratios.items())
    charts = [
        Chart(
            *(name, "lines", "layer", "value", "", title),
            *(caption, "low", "high", series, facet),
            y_scale="log" if name == "w1" else "linear",
        )
        for name, title, caption, series, facet in (
            (
                "w1",
                "W1 over channels",
                "AP of the two branches, and NS of the two kinds of images at equal AP.",
                "what",
                "",
            ),
            ("other metrics", "distance", "Metrics that compare each channel with itself, as W1 does not.", "", "what"),
        )
    ]
    return Outcome(
        together(above(estimate, FAR) for estimate in ratios.values()),
        f"Mean W1 over layers, AP over NS at equal AP: {said} times.",
        "PGD-10 through the adversarial branch",
        (
            BIAS,
            "AP and NS have different units, so their ratio depends on the scale of the activations; shift, log ratio "
            "and KL do not.",
            "W1 sorts the channels: it does not see two channels that change places; the paired distances do.",
        ),
        (),
        (
            table("w1", f"W1 as the paper computes it, {n} images, adversarial branch.", COLUMNS, w1),
            table("other metrics", "Channel by channel, same images.", COLUMNS, others),
            table("mean", "Mean over layers.", ("what", "value", "low", "high"), means),
        ),
        tuple(charts),
        f"/layers?model={family.members['dual-bn'].name}",
    )


EXPERIMENT = Experiment(
    "E4",
    "Distances layer by layer",
    f"In W1 the AP of the two branches differ over {FAR} times more than the NS of clean and attacked images do at "
    "equal AP.",
    compute,
    needs=("dual-bn",),
    at_most=N_IMAGES,
)
