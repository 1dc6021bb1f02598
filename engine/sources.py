"""Image sources side by side through one network: what they do to its norm layers' inputs and to its accuracy.

Usage::

    attacked = Source("adv", calibration_attack(8 / 255))
    sample = take_sample(bench, setting, (CLEAN, attacked, NULL), n=512, seed=0)
    sample.correct["adv"].float().mean()
    clean, adv = (resampled(sample.moments[source], counts) for source in ("clean", "adv"))
    gaps = distances("w1 mean", clean, adv)                 # (r, layers)

In the paper's notation NS_x^y, x is the source and y the AP of the setting; `notation` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.attacks import Attack, LogitsFn
from engine.data.base import Progress
from engine.evaluation import Bench, crafting_network, seeded
from engine.features import DISTANCES, ImageMoments, Recorder
from engine.values import InputError, NormSetting

LayerMoments = Mapping[str, ImageMoments]
Drawn = list[tuple[Tensor, Tensor]]
"""(mean, sigma) of every layer."""


@dataclass(frozen=True, slots=True)
class Source:
    """Test images as they are, or after an attack (noise is one: `engine.attacks.Noise`).

    crafted_at: the setting the attack is made against, None for the one that is measured (white-box); second: the n
    images after the first n, so that clean against second clean shows what chance alone does (the null).
    """

    name: str
    attack: Attack | None = None
    crafted_at: NormSetting | None = None
    second: bool = False


CLEAN, NULL = Source("clean"), Source("second clean", second=True)


def notation(source: str, affine: float) -> str:
    """'NS_adv^clean': the statistics of `source` images while the network runs with these AP."""
    return f"NS_{source}^" + {0.0: "clean", 1.0: "adv"}.get(affine, f"{affine:g}")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """moments[source][layer] and correct[source] (n,) bool; image i of every source stems from the same test image."""

    n: int
    moments: dict[str, dict[str, ImageMoments]]
    correct: dict[str, Tensor]

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(next(iter(self.moments.values())))


def resampled(moments: LayerMoments, counts: Tensor) -> Drawn:
    """(mean, sigma), each (r, c), of every layer with images drawn by counts (r, n); see `ImageMoments.resampled`."""
    found = (images.resampled(counts) for images in moments.values())
    return [(mean, var.sqrt()) for mean, var in found]


def distances(distance: str, a: Drawn, b: Drawn) -> Tensor:
    """(r, layers): a distance of engine.features, mean over channels, between two sources drawn by the same counts."""
    sides = zip(a, b, strict=True)
    return torch.stack([DISTANCES[distance](*one, *other).nanmean(-1) for one, other in sides], 1).nan_to_num(0.0)


def take_sample(
    bench: Bench, setting: NormSetting, sources: Sequence[Source], n: int, seed: int, progress: Progress | None = None
) -> Sample:
    """One pass over the images: each batch is crafted and measured for every source in turn; changes nothing."""
    needed = 2 * n if any(source.second for source in sources) else n
    if not 1 <= needed <= len(bench.test):
        raise InputError(f"{bench.test.name} has {len(bench.test)} {bench.test.split} images, {needed} were asked for.")
    view = bench.view(setting)
    recorder = Recorder(view)
    crafts: dict[NormSetting, LogitsFn] = {setting: crafting_network(view)}
    for source in sources:
        if source.crafted_at is not None and source.crafted_at not in crafts:
            crafts[source.crafted_at] = crafting_network(bench.view(source.crafted_at))
    moments: dict[str, dict[str, ImageMoments]] = {}
    correct: dict[str, list[Tensor]] = {source.name: [] for source in sources}
    for start, (images, labels) in bench.batches(n):
        for source in sources:
            chosen, targets = images, labels
            if source.second:
                tensors = bench.test.tensors(n + start, n + start + len(labels))
                chosen, targets = (tensor.to(bench.device) for tensor in tensors)
            if source.attack is not None:
                craft = crafts[source.crafted_at or setting]
                chosen = source.attack(craft, chosen, targets, generator=seeded(seed, start))
            correct[source.name].append((recorder(chosen).argmax(1) == targets).cpu())
            seen = recorder.taken()
            known = moments.get(source.name)
            moments[source.name] = {k: known[k].merge(v) for k, v in seen.items()} if known else seen
        if progress is not None:
            progress(start + len(labels), n)
    return Sample(n, moments, {name: torch.cat(parts) for name, parts in correct.items()})
