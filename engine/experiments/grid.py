"""E7: at test time, do AP or NS carry the robustness? Every AP with every NS, stored and re-estimated, white-box."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from engine.data.base import Progress
from engine.experiments.base import Chart, Experiment, Outcome, Prediction, Steps, table
from engine.experiments.family import Family
from engine.experiments.intervals import Estimate, above, bootstrap, together
from engine.sweep import pgd
from engine.values import SOURCES, NormSetting, Reestimated, Statistics, Stored, wilson

N_IMAGES, STEPS, RATIO, COLLAPSED = 1000, 10, 5, 0.5
STORED = (Stored(0.0), Stored(1.0))
ENDS, KINDS = ("clean", "adversarial"), ("clean", "robust")
COLUMNS = ("protocol", "accuracy", "AP", "NS", "value", "low", "high", "n")
EFFECTS = ("protocol", "accuracy", "effect", "value", "low", "high")
CellRow = tuple[str, str, str, str, float, float, float, int]
P2 = f"With re-estimated NS the effect of the AP on robust accuracy is more than {RATIO} times that of the NS."


def main_effects(cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(AP, NS, interaction), (b,) each, of means (b, 2 AP, m NS): AP lambda 1 minus 0 and NS column 1 minus column 0.

    NS columns 0 and 1 are clean and adversarial; further columns enter the AP effect only. Interaction: half the change
    of the AP effect from NS column 0 to column 1.
    """
    affine = (cells[:, 1] - cells[:, 0]).mean(1)
    statistics = (cells[:, :, 1] - cells[:, :, 0]).mean(1)
    interaction = ((cells[:, 1, 1] - cells[:, 0, 1]) - (cells[:, 1, 0] - cells[:, 0, 0])) / 2
    return affine, statistics, interaction


LEAD = f"AP - {RATIO} |NS|"
EFFECT_OF: dict[str, Callable[[Tensor], Tensor]] = {
    "AP": lambda means: main_effects(means)[0],
    "NS": lambda means: main_effects(means)[1],
    "interaction": lambda means: main_effects(means)[2],
    "AP - |NS|": lambda means: main_effects(means)[0] - main_effects(means)[1].abs(),
    LEAD: lambda means: main_effects(means)[0] - RATIO * main_effects(means)[1].abs(),
}


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    n, eps = min(n, N_IMAGES), family.eps("dual-bn")
    attack = pgd(STEPS, eps)
    protocols = {"stored": STORED, "re-estimated": tuple(Reestimated(source, eps=eps) for source in SOURCES)}
    steps = Steps(2 * sum(map(len, protocols.values())), progress)
    cells: list[CellRow] = []
    effects: dict[tuple[str, str, str], Estimate] = {}
    for protocol, columns in protocols.items():
        right: list[list[Tensor]] = [[], []]
        for affine, statistics in product((0, 1), columns):
            setting = NormSetting(float(affine), statistics)
            verdicts = family.correct("dual-bn", setting, [None, attack], n, seed, steps.inside)
            right[affine].append(torch.stack(verdicts, 1))
            for kind, correct in zip(KINDS, verdicts, strict=True):
                share = Estimate.of(wilson(int(correct.sum()), n))
                cells.append((protocol, kind, ENDS[affine], named(statistics), *share.cells, n))
            steps.done()
        values = torch.stack([torch.stack(row, 1) for row in right], 1)  # (n, AP, NS, kind)
        for (index, kind), (name, effect) in product(enumerate(KINDS), EFFECT_OF.items()):
            effects[protocol, kind, name] = bootstrap(values[..., index], effect, seed)
    effect_rows = [(*key, *effect.cells) for key, effect in effects.items() if "|" not in key[2]]
    contrasts = [(*key, *effect.cells) for key, effect in effects.items() if "|" in key[2]]
    affine, statistics = (effects["re-estimated", "robust", name] for name in ("AP", "NS"))
    stored = [effects["stored", "robust", name] for name in ("AP", "NS")]
    p2 = Prediction(
        "p2",
        P2,
        above(effects["re-estimated", "robust", LEAD], 0),
        f"AP {affine.points}, NS {statistics.points}.",
    )
    sentence = (
        f"With NS re-estimated, the adversarial AP change the robust accuracy by {affine.points}, NS of attacked "
        f"instead of clean images by {statistics.points}; with stored NS it is {stored[0].points} and "
        f"{stored[1].points}."
    )
    return Outcome(
        together([above(affine, 0), above(effects["re-estimated", "robust", "AP - |NS|"], 0)]),
        sentence,
        f"{attack.label}, white-box at every cell",
        _caveats(cells),
        (p2,),
        (
            table(
                "grid", f"Share right of {n} images by AP and NS, each cell attacked through itself.", COLUMNS, cells
            ),
            table("effects", "Main effects; paired bootstrap over images.", EFFECTS, effect_rows),
            table("contrasts", "Differences of the effects; the verdicts rest on them.", EFFECTS, contrasts),
        ),
        (
            Chart(
                *("grid", "grid", "NS", "value", "normalization statistics", "images right"),
                "Stored NS belong to their own branch's AP, re-estimated ones to the AP in use.",
                *("low", "high", "AP", "accuracy"),
                percent=True,
            ),
            Chart(
                *("effects", "bars", "effect", "value", "", "change of accuracy"),
                "What exchanging AP or NS changes, with 95 % intervals.",
                *("low", "high", "protocol", "accuracy"),
                percent=True,
            ),
        ),
        f"/?model={family.members['dual-bn'].name}",
    )


def named(statistics: Statistics) -> str:
    """'stored clean', 'stored adv' or the images that NS were re-estimated on."""
    return statistics.source if isinstance(statistics, Reestimated) else f"stored {ENDS[int(statistics.lam)]}"


def _caveats(cells: list[CellRow]) -> tuple[str, ...]:
    """One for each cell whose clean accuracy collapsed: what looks robust there would be a broken network."""
    collapsed = [f"AP {c[2]} with NS {c[3]}" for c in cells if c[1] == "clean" and c[4] < COLLAPSED]
    broken = f"Clean accuracy collapsed at {'; '.join(collapsed)}: robustness means nothing there."
    budget = f"PGD-{STEPS} is an upper bound; a stronger attack leaves less."
    return (budget, *([broken] if collapsed else []))


EXPERIMENT = Experiment(
    "E7",
    "AP or NS at test time",
    "The affine parameters in use decide how robust the network is; on whose images the statistics were estimated "
    "hardly matters.",
    compute,
    needs=("dual-bn",),
    at_most=N_IMAGES,
)
