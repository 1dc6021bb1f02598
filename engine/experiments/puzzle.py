"""E0, the puzzle: clean images in adversarial training cost robustness with one BN, and two BN win it back."""

from __future__ import annotations

from engine.data.base import Progress
from engine.experiments.accuracies import ONE_SEED, UNPAIRED, accuracies, attack_of, robust
from engine.experiments.base import Experiment, Outcome, Prediction, Verdict
from engine.experiments.family import Family
from engine.experiments.intervals import Estimate, above, below, difference, together
from engine.values import Branch

FAR, NONE = 0.2, 0.05
"""p1: what counts as far more robust, and as not robust."""
P1 = (
    f"The adversarial branch is far more robust than the clean one (by over {100 * FAR:g} points), which has no "
    f"robustness to speak of (under {100 * NONE:g} %)."
)


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    shown, chart = accuracies(family, ("standard", "madry", "single", "dual-bn"), n, seed, progress)
    clean, adv = (robust(family, "dual-bn", n, seed, branch) for branch in Branch)
    verdicts: list[Verdict] = []
    sentence = family.missing("single", "madry")
    if not sentence:
        single, madry = (robust(family, role, n, seed) for role in ("single", "madry"))
        cost, gain = difference(madry, single), difference(adv, single)
        verdicts = [above(cost, 0), above(gain, 0)]
        sentence = (
            f"Leaving the clean images out changes the robust accuracy of a single-BN network by {cost.points}. "
            f"Two BN change it by {gain.points} against one."
        )
    gap, left = difference(adv, clean), Estimate.of(clean.interval)
    p1 = Prediction(
        "p1",
        P1,
        together([above(gap, FAR), below(left, NONE)]),
        f"Under attack the clean branch is right on {left.percent}, the adversarial one {gap.points} from there.",
    )
    return Outcome(
        together(verdicts),
        sentence,
        f"{attack_of(family, 'dual-bn').label}, white-box",
        (ONE_SEED, UNPAIRED),
        (p1,),
        (shown,),
        (chart,),
        f"/?model={family.members['dual-bn'].name}",
    )


EXPERIMENT = Experiment(
    "E0",
    "The puzzle",
    "Training on clean images as well costs a network with one BN robustness; a BN of its own for each kind of image "
    "wins it back.",
    compute,
    needs=("dual-bn",),
    uses=("standard", "madry", "single"),
)
