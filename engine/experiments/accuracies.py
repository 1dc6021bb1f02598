"""What E0, E1, E2 and E8 share: the accuracies of networks side by side.

Usage::

    shown, chart = accuracies(family, ("single", "dual-bn"), n, seed, progress)
    robust(family, "dual-bn", n, seed)                     # EvalRecord of the adversarial branch
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.attacks import PGD
from engine.cards import EvalRecord
from engine.data.base import Progress
from engine.experiments.base import Chart, Steps, Table, table
from engine.experiments.family import Family, branches
from engine.experiments.intervals import Estimate
from engine.headline import STEPS
from engine.sweep import pgd
from engine.values import Branch, branch_setting

MARGIN = 0.05
"""Two accuracies are called about equal where the whole interval of their difference lies within 5 points of 0."""
COLUMNS = ("network", "branch", "accuracy", "value", "low", "high", "n")
ONE_SEED = "One seed a network: the intervals cover the choice of test images, not that of the seed."
UNPAIRED = (
    "Differences between networks are taken from counts (Newcombe), as if on different images: wider than need be."
)


def attack_of(family: Family, role: str) -> PGD:
    """PGD-20 at the eps that the network was trained against."""
    return pgd(STEPS, family.eps(role))


def robust(family: Family, role: str, n: int, seed: int, branch: Branch = Branch.ADV) -> EvalRecord:
    """Accuracy of a branch under the white-box attack."""
    return family.record(role, branch_setting(branch), attack_of(family, role), n, seed)


def accuracies(
    family: Family, roles: Sequence[str], n: int, seed: int, progress: Progress | None
) -> tuple[Table, Chart]:
    """Clean and robust accuracy of every branch of those of the roles that are here."""
    here = [role for role in roles if role in family.members]
    steps = Steps(2 * sum(len(branches(family.members[role])) for role in here), progress)
    rows: list[tuple[str, str, str, float, float, float, int]] = []
    for role in here:
        for branch, setting in branches(family.members[role]):
            for kind, attack in (("clean", None), ("robust", attack_of(family, role))):
                record = family.record(role, setting, attack, n, seed, steps.inside)
                rows.append((role, branch, kind, *Estimate.of(record.interval).cells, record.n))
                steps.done()
    caption = "Clean accuracy and accuracy under white-box PGD-20 at the eps trained against, each with its n."
    chart = Chart(
        *("accuracy", "bars", "network", "value", "", "images right"),
        "Every network and branch on clean and on attacked images.",
        *("low", "high", "branch", "accuracy"),
        percent=True,
    )
    return table("accuracy", caption, COLUMNS, rows), chart
