"""E2: which half of BN must be dual in training, the statistics or the affine parameters?"""

from __future__ import annotations

from engine.data.base import Progress
from engine.experiments.accuracies import MARGIN, ONE_SEED, UNPAIRED, accuracies, robust
from engine.experiments.base import Experiment, Outcome, Prediction, Verdict, table
from engine.experiments.family import EPS_16, Family
from engine.experiments.intervals import Estimate, above, difference, together, within

DESIGNS = ("single", "dual-ns", "dual-ap", "dual-bn")
PAIRS = (("dual-ap", "dual-bn"), ("dual-ns", "dual-bn"), ("dual-ap", "dual-ns"), ("dual-ns", "single"))
P5 = (
    f"Dual AP is as robust as dual BN (within {100 * MARGIN:g} points), and dual NS is closer to dual BN at eps 8/255 "
    "than at 16/255."
)


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    roles = [design + eps for eps in ("", EPS_16) for design in DESIGNS]
    shown, chart = accuracies(family, roles, n, seed, progress)
    gaps: dict[tuple[str, str, str], Estimate] = {}
    for eps in ("", EPS_16):
        for a, b in PAIRS:
            if a + eps in family.members and b + eps in family.members:
                gaps[a, b, eps] = difference(robust(family, a + eps, n, seed), robust(family, b + eps, n, seed))
    rows = [(f"{a} - {b}", eps.lstrip("@") or "8/255", *gap.cells) for (a, b, eps), gap in gaps.items()]
    caption = "Robust accuracy of the adversarial branch, difference between two designs (Newcombe)."
    compared = table("differences", caption, ("designs", "eps", "value", "low", "high"), rows)
    absent = family.missing("dual-ns", "dual-ap")
    verdicts: list[Verdict] = [
        verdict
        for eps in ("", EPS_16)
        if ("dual-ap", "dual-bn", eps) in gaps and ("dual-ap", "dual-ns", eps) in gaps
        for verdict in (
            within(gaps["dual-ap", "dual-bn", eps], MARGIN),
            above(gaps["dual-ap", "dual-ns", eps], 0),
        )
    ]
    sentence = absent or (
        f"Dual AP is {gaps['dual-ap', 'dual-bn', ''].points} from dual BN and {gaps['dual-ap', 'dual-ns', ''].points} "
        f"from dual NS in robust accuracy; dual NS is {_said(gaps, 'dual-ns', 'single')} from single BN."
    )
    at_16 = family.missing(*(design + EPS_16 for design in DESIGNS))
    return Outcome(
        together(verdicts),
        sentence,
        "PGD-20 at the eps trained against, white-box",
        (ONE_SEED, UNPAIRED, *([at_16] if at_16 else [])),
        (_p5(family, gaps),),
        (shown, compared),
        (chart,),
        "/models",
    )


def _said(gaps: dict[tuple[str, str, str], Estimate], a: str, b: str) -> str:
    return gaps[a, b, ""].points if (a, b, "") in gaps else "(no such network here)"


def _p5(family: Family, gaps: dict[tuple[str, str, str], Estimate]) -> Prediction:
    absent = family.missing("dual-ap", "dual-ns", *(d + EPS_16 for d in ("dual-ap", "dual-ns", "dual-bn")))
    if absent:
        return Prediction("p5", P5, "undecided", absent)
    near, far = gaps["dual-ns", "dual-bn", ""], gaps["dual-ns", "dual-bn", EPS_16]
    change = Estimate(
        near.value - far.value,
        near.value - far.value - ((near.value - near.low) ** 2 + (far.high - far.value) ** 2) ** 0.5,
        near.value - far.value + ((near.high - near.value) ** 2 + (far.value - far.low) ** 2) ** 0.5,
    )
    equal: list[Verdict] = [within(gaps["dual-ap", "dual-bn", eps], MARGIN) for eps in ("", EPS_16)]
    closer: Verdict = above(change, 0)  # dual NS trails dual BN: closer is less far below
    sentence = (
        f"From dual BN dual NS is {near.points} at eps 8/255 and {far.points} at 16/255, {change.points} between."
    )
    verdicts: list[Verdict] = [*equal, closer]
    return Prediction("p5", P5, together(verdicts), sentence)


EXPERIMENT = Experiment(
    "E2",
    "Which half matters in training",
    f"Dual AP alone do what the whole dual BN does (within {100 * MARGIN:g} points of robust accuracy); dual NS alone "
    "do less.",
    compute,
    needs=("dual-bn",),
    uses=tuple(d + e for e in ("", EPS_16) for d in DESIGNS if d + e != "dual-bn"),
)
