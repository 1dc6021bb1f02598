"""E1: is a network worse off where attacked images are normalized by the statistics of clean ones?"""

from __future__ import annotations

from engine.cards import ModelCard
from engine.data.base import Progress
from engine.experiments.accuracies import MARGIN, ONE_SEED, UNPAIRED, accuracies, attack_of, robust
from engine.experiments.base import Experiment, Outcome, Verdict, table
from engine.experiments.family import Family
from engine.experiments.grid import N_IMAGES, STEPS
from engine.experiments.intervals import bootstrap, difference, together, within
from engine.sweep import pgd
from engine.values import Branch, NormSetting, Reestimated, Stored

COMPARED = ("self-statistics", "compared", "value", "low", "high", "n")


def own_statistics(crossed: ModelCard) -> str:
    """The role that differs from a cross-NS network only in whose statistics it trained with."""
    return crossed.design


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    """The trained comparison needs a cross-NS network; the test-time one, NS learned anew, needs dual BN only."""
    shown, chart = accuracies(family, ("single", "dual-ap", "cross-ns", "dual-bn"), n, seed, progress)
    few, attack = min(n, N_IMAGES), pgd(STEPS, family.eps("dual-bn"))
    sources = (Stored(1.0), Reestimated("clean", eps=attack.threat.eps), Reestimated("adv", eps=attack.threat.eps))
    own, *learned = (
        family.correct("dual-bn", NormSetting(float(Branch.ADV), s), [None, attack], few, seed, progress)[1]
        for s in sources
    )
    on_clean, on_adv = (
        bootstrap((other.double() - own.double())[:, None], lambda m: m[:, 0], seed) for other in learned
    )
    rows = [("stored NS", "NS learned on clean images", *on_clean.cells, few)]
    rows.append(("stored NS", "NS learned on attacked images", *on_adv.cells, few))
    verdicts: list[Verdict] = [within(on_clean, MARGIN)]
    sentence = (
        f"At the adversarial AP of dual BN, NS learned anew on clean images change the robust accuracy by "
        f"{on_clean.points}, on attacked ones by {on_adv.points} ({few} images, {attack.label})."
    )
    absent = family.missing("cross-ns")
    if not absent:
        absent = family.missing(own_statistics(family.members["cross-ns"]))
    if absent:
        verdicts, sentence = [], f"{absent} {sentence}"
    else:
        role = own_statistics(family.members["cross-ns"])
        gap = difference(robust(family, "cross-ns", n, seed), robust(family, role, n, seed))
        rows.append((role, "cross-ns", *gap.cells, n))
        verdicts.append(within(gap, MARGIN))
        sentence = f"Trained with clean statistics for both, robust accuracy is {gap.points} from {role}. {sentence}"
    return Outcome(
        together(verdicts),
        sentence,
        f"{attack_of(family, 'dual-bn').label}, white-box",
        (ONE_SEED, UNPAIRED),
        (),
        (shown, table("differences", "Robust accuracy, compared minus self-statistics.", COMPARED, rows)),
        (chart,),
        f"/?model={family.members['dual-bn'].name}",
    )


EXPERIMENT = Experiment(
    "E1",
    "Cross statistics",
    "Attacked images normalized by the statistics of clean images do about as well as by their own (robust accuracy "
    f"within {100 * MARGIN:g} points), in training and at test time.",
    compute,
    needs=("dual-bn",),
    uses=("cross-ns", "single", "dual-ap"),
)
