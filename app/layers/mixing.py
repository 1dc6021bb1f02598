"""A mix of AP, layer by layer: its URL form, and its accuracies, answered on few images and refined on more.

Usage::

    setting = Mix(base=1.0, held="clean", layers=((3, 0.0),)).setting(names)     # one layer's AP clean, the others adv.
    for verdicts in refine(shown, Live(sha, setting, attack)): ...                # n grows from 16 to 256
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.cache import networks_at, remember, results
from app.jobs import Tell, slot
from app.shown import Shown
from engine import api

CHUNKS = ((0, 16), (16, 64), (64, 128), (128, 192), (192, 256))
"""Test images judged one chunk after the other: the first answers at once, the others narrow the interval."""
N_CALIBRATION = 64
"""Images that NS are re-estimated on here: fewer than for the curves, so that an answer does not wait for them."""


@dataclass(frozen=True, slots=True)
class Mix:
    """AP lambda of all layers and, by depth, of those that differ; the NS as in `engine.api.LINES` ('clean', ...)."""

    base: float
    held: str
    layers: tuple[tuple[int, float], ...] = ()

    def setting(self, names: Sequence[str]) -> api.NormSetting:
        """Without layers that say what all say: equal networks, equal settings."""
        wanted = api.LINES[f"ap@{self.held}"](self.base)
        statistics = api.Reestimated("clean", N_CALIBRATION) if self.held == "clean" else wanted.statistics
        overrides = [(names[at], api.LayerMix(lam)) for at, lam in sorted(self.layers) if lam != self.base]
        return api.NormSetting(self.base, statistics, tuple(overrides))


def mix_text(layers: Sequence[tuple[int, float]]) -> str:
    """'3:0.5,7:0', as in the URL."""
    return ",".join(f"{at}:{lam:g}" for at, lam in sorted(layers))


def parse_mix(text: str, n_layers: int) -> tuple[tuple[int, float], ...]:
    """The inverse of `mix_text`. InputError where it is no mix of a network with so many norm layers."""
    found: dict[int, float] = {}
    for entry in filter(None, text[:2000].split(",")):
        depth, _, lam = entry.partition(":")
        try:
            at, value = int(depth), float(lam)
        except ValueError:
            at, value = -1, math.nan
        if not (0 <= at < n_layers and 0 <= value <= 1):
            raise api.InputError(
                f"{entry[:20]!r} is no layer's λ: write mix=3:0.5,7:0 for layer 3 at 0.5 and layer 7 at 0; "
                f"layers go from 0 to {n_layers - 1}, λ from 0 to 1."
            )
        found[at] = round(value, 2)
    return tuple(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Live:
    """What is judged; also the key its verdicts are kept under."""

    weights_sha256: str
    setting: api.NormSetting
    attack: api.PGD


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """Which of the first images (n,) are right clean, and which also attacked; bool."""

    clean: Tensor
    robust: Tensor

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def intervals(self) -> tuple[api.Interval, api.Interval]:
        """Clean and robust accuracy."""
        return api.wilson(int(self.clean.sum()), len(self)), api.wilson(int(self.robust.sum()), len(self))


NOTHING = Verdicts(torch.zeros(0, dtype=torch.bool), torch.zeros(0, dtype=torch.bool))


def refine(shown: Shown, live: Live, tell: Tell) -> Iterator[Verdicts]:
    """Verdicts on more and more images, what is kept first; white-box, only images that are right clean are attacked.

    Each chunk takes the slot for itself, so that another visitor waits for one chunk at most.
    """
    bench = shown.bench
    assert bench is not None
    found: Verdicts = results().get(live, NOTHING)
    if len(found):
        yield found
    for start, stop in CHUNKS:
        if start < len(found) or start >= len(bench.test):
            continue
        with slot(tell, "mixer", live):
            by_now: Verdicts = results().get(live, NOTHING)
            if len(by_now) > len(found):  # another visitor asks for the same
                found = by_now
            else:
                more = _judge(bench, live, start, stop)
                found = Verdicts(torch.cat([found.clean, more.clean]), torch.cat([found.robust, more.robust]))
                remember(live, found)
        yield found


def _judge(bench: api.Bench, live: Live, start: int, stop: int) -> Verdicts:
    view, craft = networks_at(bench, live.weights_sha256, live.setting)
    images, labels = (tensor.to(bench.device) for tensor in bench.test.tensors(start, stop))
    clean = api.judged(view, images, labels)
    robust, where = clean.clone(), clean.nonzero()[:, 0]
    if len(where):
        chosen, truth = images[where.to(bench.device)], labels[where.to(bench.device)]
        attacked = live.attack(craft, chosen, truth, generator=api.seeded(api.SEED, start))
        robust[where] = api.judged(view, attacked, truth)
    return Verdicts(clean, robust)


def change(now: Verdicts, before: Verdicts) -> list[tuple[float, float]]:
    """Change of clean and robust accuracy on the images that both have, each with half its 95 % interval (paired)."""
    n = min(len(now), len(before))
    rows: list[tuple[float, float]] = []
    for a, b in ((now.clean, before.clean), (now.robust, before.robust)):
        difference = a[:n].double() - b[:n].double()
        rows.append((difference.mean().item(), 1.96 * difference.std(correction=1).item() / math.sqrt(n)))
    return rows
