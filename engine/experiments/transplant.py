"""X1, transplants: clean AP in some layers or channels, adversarial ones in the rest: where does robustness sit?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.attacks import PGD
from engine.data.base import Progress
from engine.evaluation import Bench, Trial, crafting_network, seeded
from engine.experiments.base import Chart, Experiment, Outcome, Steps, table
from engine.experiments.family import Family
from engine.experiments.intervals import Estimate, above, bootstrap
from engine.experiments.measure import accuracy, recomposed
from engine.norm import dual_layers
from engine.sweep import pgd
from engine.values import LayerMix, NormSetting, Reestimated, Stored

STEPS, KEPT = 10, 0.9
N_SEARCH = 256
"""Training images that scores and search rest on; the accuracies reported are those of held-out images."""
SHARES = (0.25, 0.5, 0.75)
POINTS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Lambdas at which the gradient of the attacked loss is averaged: the midpoint rule."""
Masks = dict[str, Tensor]
"""Layer name -> bool (c,): which channels keep the adversarial AP."""


def swapped(names: Sequence[str], clean: Sequence[str], stored: bool = False) -> NormSetting:
    """Clean AP in the layers `clean`, adversarial in the others; NS re-estimated on clean images, or those stored with
    each layer's AP."""
    mix = LayerMix(0.0, 0.0 if stored else None)
    statistics = Stored(1.0) if stored else Reestimated("clean")
    return NormSetting(1.0, statistics, tuple((name, mix) for name in names if name in clean))


def masked(model: nn.Module, masks: Masks) -> nn.Module:
    """The network whose adversarial branch has clean AP in every channel that `masks` leaves out."""
    return recomposed(
        model,
        lambda name, layer: (
            torch.where(masks[name], layer.weight[1], layer.weight[0]).detach(),
            torch.where(masks[name], layer.bias[1], layer.bias[0]).detach(),
        ),
    )


def fewest(total: int, value: Callable[[int], float], target: float) -> int:
    """The smallest count in 1..total whose value reaches the target, by bisection: values are taken to rise with it."""
    low, high = 0, total  # `low` is not enough, `high` is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if value(middle) >= target else (middle, high)
    return high


def first(ranking: Sequence[tuple[str, int]], count: int, model: nn.Module) -> Masks:
    """Masks of the first `count` (layer, channel) of a ranking."""
    masks = {name: torch.zeros(layer.num_features, dtype=torch.bool) for name, layer in dual_layers(model)}
    for name, channel in ranking[:count]:
        masks[name][channel] = True
    return {name: mask.to(next(model.parameters()).device) for name, mask in masks.items()}


def ranked(scores: dict[str, Tensor]) -> list[tuple[str, int]]:
    """All (layer, channel), the highest score first."""
    flat = [(float(score), name, channel) for name, row in scores.items() for channel, score in enumerate(row)]
    return [(name, channel) for _, name, channel in sorted(flat, key=lambda item: -item[0])]


def gains(bench: Bench, attack: PGD, seed: int, steps: Steps) -> dict[str, Tensor]:
    """How much each channel's adversarial AP lower the attacked loss, to first order along the path: layer -> (c,).

    Minus the gradient of the loss with respect to weight and bias, averaged over the path from clean to adversarial AP
    (attacked and NS re-estimated at every point), times the way each goes: integrated gradients of the AP.
    """
    layers = dict(dual_layers(bench.model))
    total = {name: torch.zeros(layer.num_features) for name, layer in layers.items()}
    for lam in POINTS:
        view = bench.view(NormSetting(lam, Reestimated("clean")))
        craft = crafting_network(view)
        norms = {name: view.get_submodule(name) for name in layers}
        parameters = [getattr(norm, key).requires_grad_(True) for norm in norms.values() for key in ("weight", "bias")]
        for start, (images, labels) in bench.batches(len(bench.test)):
            attacked = attack(craft, images, labels, generator=seeded(seed, start))
            loss = F.cross_entropy(view(attacked), labels, reduction="sum") / len(bench.test) / len(POINTS)
            found = iter(torch.autograd.grad(loss, parameters))
            for name, layer in layers.items():
                for pair in (layer.weight, layer.bias):
                    total[name] -= (next(found) * (pair[1] - pair[0])).detach().cpu()
        steps.done()
    return total


def sizes(model: nn.Module) -> dict[str, Tensor]:
    """How far apart both AP of each channel are: layer -> (c,)."""
    return {
        name: torch.hypot(layer.weight[1] - layer.weight[0], layer.bias[1] - layer.bias[0]).detach().cpu()
        for name, layer in dual_layers(model)
    }


def search_bench(bench: Bench, n: int) -> Bench:
    """The same network judged on its first n calibration images: training images, so that none is judged twice."""
    if bench.calibration is None:
        return bench
    images = bench.calibration
    n = min(n, len(images))
    return replace(bench, test=replace(images, images=images.images[:n], labels=images.labels[:n]))


class Work:
    """One network's transplants, judged clean and attacked."""

    def __init__(self, bench: Bench, attack: PGD, n: int, seed: int, steps: Steps) -> None:
        self.bench, self.attack, self.n, self.seed, self.steps = bench, attack, n, seed, steps
        self.layers = dict(dual_layers(bench.model))
        self.names = list(self.layers)

    def right(self, setting: NormSetting) -> tuple[Tensor, Tensor]:
        """Which images (n,) are right clean, and right under the white-box attack."""
        tried = self.bench.correct(Trial(setting, self.n, self.seed), [None, self.attack], self.steps.inside)
        clean, robust = tried
        self.steps.done()
        return clean, robust

    def with_channels(self, ranking: Sequence[tuple[str, int]], count: int) -> tuple[Tensor, Tensor]:
        """The same where only the first `count` channels of a ranking keep the adversarial AP."""
        model = masked(self.bench.model, first(ranking, count, self.bench.model))
        other = Work(replace(self.bench, model=model), self.attack, self.n, self.seed, self.steps)
        return other.right(NormSetting(1.0, Reestimated("clean")))


def cells(right: tuple[Tensor, Tensor]) -> list[tuple[str, float, float, float]]:
    return [(kind, *accuracy(one).cells) for kind, one in zip(("clean", "attacked"), right, strict=True)]


def retained(some: Tensor, whole: Tensor, seed: int) -> Estimate:
    """Accuracy of `some` as a share of that of `whole`, over the same images (n,)."""
    return bootstrap(torch.stack([some, whole], 1), lambda m: m[:, 0] / m[:, 1].clamp(min=1e-9), seed)


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    bench, attack = family.bench("dual-bn", n), pgd(STEPS, family.eps("dual-bn"))
    names = [name for name, _ in dual_layers(bench.model)]
    total = sum(layer.num_features for _, layer in dual_layers(bench.model))
    deep = range(0, len(names) + 1)
    stored_at = sorted({*deep[::5], len(names)})
    n_steps = len(deep) + len(stored_at) + 2 * len(names) + len(POINTS) + 3 * len(SHARES) + total.bit_length() + 1
    steps = Steps(n_steps, progress)
    work = Work(bench, attack, n, seed, steps)

    upto: list[tuple[int, str, str, str, float, float, float]] = []
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for stored, depths in ((False, deep), (True, stored_at)):
        for k in depths:
            right = work.right(swapped(names, names[:k], stored))
            found.setdefault(k, right)
            last = names[k - 1] if k else "none"
            upto += [(k, last, "stored" if stored else "re-estimated", *row) for row in cells(right)]
    whole = found[0][1]
    alone: list[tuple[str, str, str, float, float, float]] = []
    lost: dict[str, float] = {}
    for name in names:
        right = work.right(swapped(names, [name]))
        lost[name] = float((whole.double() - right[1].double()).mean())
        alone += [(name, "clean in this layer only", *row) for row in cells(right)]
        right = work.right(swapped(names, [other for other in names if other != name]))
        alone += [(name, "adversarial in this layer only", *row) for row in cells(right)]

    searching = Work(search_bench(bench, N_SEARCH), attack, min(N_SEARCH, n), seed, steps)
    score = ranked(gains(searching.bench, replace(attack, stop="never"), seed, steps))
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed)).tolist()
    rankings = {
        "first-order gain": score,
        "distance between both AP": ranked(sizes(bench.model)),
        "drawn at random": [score[i] for i in order],
    }
    curves: list[tuple[str, float, int, str, float, float, float]] = []
    half = Estimate(0.0, 0.0, 0.0)
    for rule, ranking in rankings.items():
        for share in SHARES:
            right = work.with_channels(ranking, round(share * total))
            curves += [(rule, share, round(share * total), *row) for row in cells(right)]
            if rule == "first-order gain" and share == 0.5:
                half = retained(right[1], whole, seed)
        for share, k in ((0.0, len(names)), (1.0, 0)):
            curves += [(rule, share, round(share * total), *row) for row in cells(found[k])]
    curves.sort(key=lambda row: (row[0], row[1]))

    goal = KEPT * float(searching.with_channels(score, total)[1].double().mean())
    count = fewest(total, lambda c: float(searching.with_channels(score, c)[1].double().mean()), goal)
    right = work.with_channels(score, count)
    kept = retained(right[1], whole, seed)
    masks = first(score, count, bench.model)
    least = [(name, len(mask), int(mask.sum())) for name, mask in masks.items()]
    worst = max(lost, key=lambda name: lost[name])
    sentence = (
        f"With the adversarial AP in the better-ranked half of the {total} channels {half.percent} of the robust "
        f"accuracy is kept. The search (on training images) needs {count} channels ({100 * count / total:.0f} %) for "
        f"{100 * KEPT:g} %; on held-out images they keep {kept.percent}, at a clean accuracy of "
        f"{accuracy(right[0]).percent} against {accuracy(found[0][0]).percent}. The layer whose clean AP cost most by "
        f"themselves is {worst} ({100 * lost[worst]:.1f} points)."
    )
    numbers = ("value", "low", "high")
    return Outcome(
        above(half, KEPT),
        sentence,
        attack.label,
        (
            f"Channels are ranked by a first-order estimate on {min(N_SEARCH, n)} training images and tried in that "
            "order only, so fewer may do; the bisection takes robustness to rise with their number.",
            "NS are re-estimated on clean images after every transplant, except in the rows named stored, where each "
            "layer keeps the NS that its AP were trained with.",
        ),
        (),
        (
            table(
                "up to",
                "Clean AP in the first k layers, adversarial in the rest.",
                ("k", "last clean layer", "NS", "images", *numbers),
                upto,
            ),
            table("alone", "One layer differs from all others.", ("layer", "AP", "images", *numbers), alone),
            table(
                "channels",
                "Adversarial AP in a share of the channels, clean in the rest.",
                ("ranked by", "share", "channels", "images", *numbers),
                curves,
            ),
            table("fewest", "Where the channels lie that the search keeps.", ("layer", "channels", "kept"), least),
        ),
        (
            Chart(
                "up to",
                "lines",
                "k",
                "value",
                "layers with clean AP, from the input on",
                "images right",
                "Walking the clean AP in, layer by layer.",
                *("low", "high", "images", "NS"),
                percent=True,
            ),
            Chart(
                "alone",
                "bars",
                "layer",
                "value",
                "",
                "images right",
                "What one layer's AP do by themselves.",
                *("low", "high", "images", "AP"),
                percent=True,
            ),
            Chart(
                "channels",
                "lines",
                "share",
                "value",
                "share of channels with adversarial AP",
                "images right",
                "How few channels carry it, by rule of choice.",
                *("low", "high", "ranked by", "images"),
                percent=True,
            ),
            Chart(
                "fewest",
                "bars",
                "layer",
                "kept",
                "",
                "channels kept",
                "Where the channels lie that keep the robustness.",
            ),
        ),
        f"/layers?model={family.members['dual-bn'].name}",
    )


EXPERIMENT = Experiment(
    "X1",
    "Transplants of AP",
    f"Robustness is concentrated: the adversarial AP of half of the channels keep {100 * KEPT:g} % of it.",
    compute,
    needs=("dual-bn",),
    beyond=True,
)
