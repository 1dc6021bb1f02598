"""E0, the puzzle: clean images in adversarial training cost robustness with one BN, and two BN win it back."""

from __future__ import annotations

from engine.data.base import Progress
from engine.experiments.base import Chart, Experiment, Outcome, Prediction, Steps, Verdict, table
from engine.experiments.family import Family, branches
from engine.experiments.intervals import Estimate, above, below, difference, together
from engine.headline import STEPS
from engine.sweep import pgd
from engine.values import Branch, branch_setting

ROLES = ("standard", "madry", "single", "dual-bn")
FAR, NONE = 0.2, 0.05
"""p1: what counts as far more robust, and as not robust."""
P1 = (
    f"The adversarial branch is far more robust than the clean one (by over {100 * FAR:g} points), which has no "
    f"robustness to speak of (under {100 * NONE:g} %)."
)


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    roles = [role for role in ROLES if role in family.members]
    steps = Steps(2 * sum(len(branches(family.members[role])) for role in roles), progress)
    rows: list[tuple[str, str, str, float, float, float, int]] = []
    attack = pgd(STEPS, family.eps("dual-bn"))
    for role in roles:
        for branch, setting in branches(family.members[role]):
            for kind, tried in (("clean", None), ("robust", attack)):
                record = family.record(role, setting, tried, n, seed, steps.inside)
                rows.append((role, branch, kind, *Estimate.of(record.interval).cells, record.n))
                steps.done()
    ends = {b: family.record("dual-bn", branch_setting(b), attack, n, seed) for b in Branch}
    parts: list[Verdict] = []
    sentences: list[str] = []
    absent = family.missing("single", "madry")
    if not absent:
        single, madry = (family.record(r, branch_setting(Branch.ADV), attack, n, seed) for r in ("single", "madry"))
        cost, gain = difference(madry, single), difference(ends[Branch.ADV], single)
        parts = [above(cost, 0), above(gain, 0)]
        sentences = [
            f"Leaving the clean images out changes the robust accuracy of a single-BN network by {cost.points}.",
            f"Two BN change it by {gain.points} against one.",
        ]
    gap, clean = difference(ends[Branch.ADV], ends[Branch.CLEAN]), Estimate.of(ends[Branch.CLEAN].interval)
    p1 = Prediction(
        "p1",
        P1,
        together([above(gap, FAR), below(clean, NONE)]),
        f"The clean branch is right on {clean.percent} under attack, the adversarial one {gap.points} from there.",
    )
    columns = ("network", "branch", "accuracy", "value", "low", "high", "n")
    shown = table("accuracy", f"Clean accuracy and accuracy under {attack.label}, white-box.", columns, rows)
    chart = Chart(
        *("accuracy", "bars", "network", "value", "", "images right"),
        "Every network and branch on clean and on attacked images.",
        *("low", "high", "branch", "accuracy"),
        percent=True,
    )
    return Outcome(
        together(parts),
        " ".join(sentences) or absent,
        attack.label,
        ("One seed a network: the intervals cover the choice of test images, not that of the seed.",),
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
