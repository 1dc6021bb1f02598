"""What the Layers page measures: the statistics of each norm layer's input for four sources of images at one AP.

Usage::

    found = measured(shown, Question(sha, setting, level=8, noise="uniform"), progress)
    gaps(found, "attacked")                # one Distances a layer, each with its interval
    gaps_of(stored_moments(model))         # the same between the two branches' stored NS
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

from torch import Tensor, nn

from app.cache import networks_at, remember, results
from app.jobs import Tell, slot
from app.shown import Shown
from engine import api

N, GROUP = 256, 32
"""Images a source, and images a group: groups are what progress counts and what the jackknife leaves out."""
STUDENT = {1: 12.706, 3: 3.182, 7: 2.365}
"""Two-sided 95 % quantile of Student's t by degrees of freedom."""
Noise = Literal["uniform", "sign"]
Progress = Callable[[int, int], object]
ByLayer = dict[str, api.Moments]
QUANTITIES = {"mean": "mean μ", "sigma": "deviation σ"}


@dataclass(frozen=True, slots=True)
class Question:
    """What is measured: at which setting, with which attack size (level/255) and which noise of the same size."""

    weights_sha256: str
    setting: api.NormSetting
    level: int
    noise: Noise

    @property
    def attack(self) -> api.PGD:
        """PGD-10 of which every image goes through all steps."""
        return replace(api.pgd(10, self.level / 255), stop="never")

    @property
    def control(self) -> api.Noise:
        return api.Noise(self.attack.threat, self.noise)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """GROUP images of every source: moments and, of clean and attacked, counts by layer; how many are told right."""

    moments: dict[str, ByLayer]
    counts: dict[str, dict[str, Tensor]]
    right: dict[str, int]
    n: int


@dataclass(frozen=True, slots=True)
class Distances:
    """How far two sources lie apart in one layer, for mean and sigma of its input, by three measures."""

    layer: str
    standardised: tuple[float, float]
    paired: tuple[float, float]
    w1: tuple[float, float]

    def value(self, metric: str, quantity: str) -> float:
        return getattr(self, metric)[quantity == "sigma"]


METRICS = {"standardised": "relative", "paired": "channel by channel", "w1": "W1"}
MEANING = {
    "standardised": "shift of μ in units of σ, and |log| of the ratio of both σ; averaged over channels",
    "paired": "|difference| of each channel with itself, averaged; layers with large values weigh more",
    "w1": "as the paper: Wasserstein distance over channels, each side sorted: blind to which channel is which",
}


def part(bench: api.Bench, question: Question, networks: tuple[nn.Module, api.LogitsFn], at: int, n: int) -> Part:
    """The images from `at` on; as many others, n further on, are the null: clean images again, but different ones."""
    view, craft = networks
    images, labels = (tensor.to(bench.device) for tensor in bench.test.tensors(at, at + GROUP))
    others, other_labels = (tensor.to(bench.device) for tensor in bench.test.tensors(at + n, at + n + GROUP))
    attacked = question.attack(craft, images, labels, generator=api.seeded(api.SEED, at))
    noisy = question.control(craft, images, labels, generator=api.seeded(api.SEED, at))
    sources = {"clean": images, "attacked": attacked, "noisy": noisy, "other": others}
    answers = {"other": other_labels}
    return Part(
        moments={name: api.measure(view, [batch]) for name, batch in sources.items()},
        counts={name: api.histograms(view, [sources[name]]) for name in ("clean", "attacked")},
        right={name: int(api.judged(view, batch, answers.get(name, labels)).sum()) for name, batch in sources.items()},
        n=len(images),
    )


def measured(shown: Shown, question: Question, progress: Progress, tell: Tell) -> tuple[Part, ...]:
    """All groups; each is kept as soon as it is there, so that interrupted work goes on where it stopped."""
    assert shown.bench is not None
    n = size(shown.bench)
    parts: tuple[Part, ...] = results().get(question, ())
    while len(parts) < n // GROUP:
        progress(len(parts), n // GROUP)
        with slot(tell, "layers", question):
            by_now: tuple[Part, ...] = results().get(question, ())
            if len(by_now) > len(parts):  # another visitor asks for the same
                parts = by_now
                continue
            networks = networks_at(shown.bench, question.weights_sha256, question.setting)
            parts = (*parts, part(shown.bench, question, networks, GROUP * len(parts), n))
            remember(question, parts)
    return parts


def size(bench: api.Bench) -> int:
    """Images a source: at most N, and a whole number of groups of half the images that are here."""
    return min(N, len(bench.test) // 2) // GROUP * GROUP


def complete(shown: Shown, question: Question) -> tuple[Part, ...] | None:
    """The groups of a question if all are there."""
    if shown.bench is None:
        return None
    parts: tuple[Part, ...] = results().get(question, ())
    return parts if len(parts) == size(shown.bench) // GROUP else None


def merged(parts: Iterable[Part], source: str) -> ByLayer:
    """Moments of all groups of a source together."""

    def join(a: ByLayer, b: ByLayer) -> ByLayer:
        return {layer: a[layer].merge(b[layer]) for layer in a}

    return reduce(join, (part.moments[source] for part in parts))


def stored_moments(model: nn.Module) -> dict[str, ByLayer]:
    """The two branches' stored NS, NS_clean^clean and NS_adv^adv, as moments."""
    return {
        name: {
            layer: api.Moments(1, *(values.detach().double() for values in module.statistics_row(branch)))
            for layer, module in api.dual_layers(model)
        }
        for name, branch in (("clean", api.Branch.CLEAN), ("attacked", api.Branch.ADV))
    }


def distances(a: ByLayer, b: ByLayer) -> list[Distances]:
    """From source a to source b, layer by layer."""
    return [
        Distances(gap.layer, (gap.mean, gap.sigma), _paired(a[gap.layer], b[gap.layer]), (gap.w1_mean, gap.w1_sigma))
        for gap in api.statistics_gaps(a, b)
    ]


def _paired(a: api.Moments, b: api.Moments) -> tuple[float, float]:
    pairs = ((a.mean, b.mean), (a.var.sqrt(), b.var.sqrt()))
    mean, sigma = ((u - v).abs().mean().item() for u, v in pairs)
    return mean, sigma


@dataclass(frozen=True, slots=True)
class Spread:
    """One distance of one layer (or the mean over layers: layer "") with its 95 % interval."""

    layer: str
    metric: str
    quantity: str
    value: float
    low: float
    high: float


def gaps(parts: tuple[Part, ...], source: str) -> list[Spread]:
    """Every distance from clean to a source, by layer and averaged over layers, with a jackknife interval over groups.

    Leaving out the same group on both sides keeps images paired (Quenouille 1956; Tukey 1958).
    """
    whole = table(distances(merged(parts, "clean"), merged(parts, source)))
    if len(parts) < 2:
        return [Spread(*key, value, math.nan, math.nan) for key, value in whole.items()]
    without = [
        table(distances(merged(rest, "clean"), merged(rest, source)))
        for rest in ([p for p in parts if p is not left] for left in parts)
    ]
    freedom = len(parts) - 1
    rows: list[Spread] = []
    for key, value in whole.items():
        left_out = [of[key] for of in without]
        centre = sum(left_out) / len(parts)
        error = math.sqrt(freedom / len(parts) * sum((v - centre) ** 2 for v in left_out))
        half = STUDENT.get(freedom, 2.365) * error
        rows.append(Spread(*key, value, max(0.0, value - half), value + half))
    return rows


def table(found: list[Distances]) -> dict[tuple[str, str, str], float]:
    """(layer, metric, quantity) -> value; layer "" is the mean over layers."""
    values = {(d.layer, m, q): d.value(m, q) for d in found for m in METRICS for q in QUANTITIES}
    for metric in METRICS:
        for quantity in QUANTITIES:
            over = [d.value(metric, quantity) for d in found]
            values["", metric, quantity] = sum(over) / len(over)
    return values
