"""What a checkpoint answers at each step of the tour: text as a function of its own results, true where a claim fails.

Usage::

    answer = swap_affine(Results(shown, findings, cards, measured=None))
    answer.text, answer.right
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.command import evaluate_command
from app.explore.payload import accuracy_at, axis
from app.shown import Shown
from app.tour.values import Answer, chosen, exact, nothing, percent, points
from engine import api

ATTACK = api.pgd(10, api.MAIN_EPS)
SWAPS = ("Falls by over 10 points", "Stays within 10 points", "Rises by 10 to 40 points", "Rises by over 40 points")
SWAP_BOUNDS = (-0.1, 0.1, 0.4)
SINGLE = (
    "This network has **one** set of scales, shifts and statistics for all images, so there is nothing to show here. "
    "Choose a network with two branches above, for instance shapes-dual-bn."
)


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """All that the answers rest on. findings: those of the checkpoint's family, by experiment; cards: all of them."""

    shown: Shown
    findings: Mapping[str, api.Finding]
    cards: Sequence[api.ModelCard]

    @property
    def card(self) -> api.ModelCard:
        return self.shown.card

    @property
    def single(self) -> bool:
        design = self.card.norm_design
        return design.share_statistics and design.share_parameters

    def pair(self, line: str, lam: float) -> tuple[api.EvalRecord, api.EvalRecord] | None:
        """Clean and robust accuracy at lambda on a line, or None where that was not swept."""
        curves = [api.curve(self.shown.records, self.card.norm_design, api.LINES[line], a) for a in (None, ATTACK)]
        clean, robust = (None if one is None else accuracy_at(one, lam) for one in curves)
        return None if clean is None or robust is None else (clean, robust)

    def unswept(self) -> Answer:
        return nothing(f"This network has not been swept yet. `python -m engine sweep {self.card.name}` does it.")

    def evidence(self, *records: api.EvalRecord) -> tuple[str, tuple[str, ...]]:
        """What the records say about themselves, and the commands that make them again."""
        record = next((r for r in records if r.attack is not None), records[0])
        attack = f"{record.attack.label}, {record.access}" if record.attack else "no attack"
        images = f"{self.card.data['name']} {self.shown.sweep.get('split', 'test')} images"
        text = (
            f"n = {record.n:,} {images} · {attack} · in brackets 95 % intervals · seed {record.seed} · weights "
            f"{self.card.weights_sha256[:8]}"
        )
        flags = ["--unofficial"] * bool(self.shown.sweep.get("data_note"))
        commands = dict.fromkeys(evaluate_command(self.card.name, one, *flags) for one in records)
        return text, tuple(commands)

    def claim(self, experiment: str) -> str:
        """The verdict on a claim of the paper where it was tested on this very network; else nothing."""
        found = self.findings.get(experiment)
        if found is None or found.stale or found.checkpoints.get(self.card.name) != self.card.weights_sha256:
            return ""
        verdict = {"holds": "holds", "fails": "fails", "undecided": "is undecided"}[found.verdict]
        return f"\n\nThe paper's claim [{experiment}](/paper?claim={experiment}) **{verdict}** on these networks."


def puzzle(of: Results) -> Answer:
    """Both branches as they were trained, attacked."""
    if of.single:
        return nothing(SINGLE)
    clean, adv = of.pair("ap@stored:0", 0.0), of.pair("ap@stored:1", 1.0)
    if clean is None or adv is None:
        return of.unswept()
    gap = api.difference(adv[1], clean[1])
    said = (
        f"Of the attacked images the clean branch still gets {percent(clean[1])} right, the adversarial branch "
        f"{percent(adv[1])}: {points(gap)}. Unattacked it is {percent(clean[0])} and {percent(adv[0])}."
    )
    if gap.low > 0:
        said += " Same images, same attack, same convolutions. **Where, then, is the robustness kept?**"
    elif gap.high < 0:
        said += " Here the **clean** branch withstands more, which the paper would not expect."
    else:
        said += " These images show **no difference** between the branches: in this network there is little to explain."
    text, commands = of.evidence(*clean, *adv)
    return Answer(
        "Both branches are attacked. How many more images does the adversarial branch get right?",
        ("Hardly more: under 10 points", "10 to 40 points more", "Over 40 points more"),
        chosen(gap, (0.1, 0.4)), said + of.claim("E0"),
        f"Attacked, the adversarial branch is {points(gap)} ahead of the clean one.", text, commands,
    )  # fmt: skip


STORED = {
    "dual-bn": "This network keeps **all four** twice, one set for each kind of image.",
    "dual-ap": "This network keeps γ and β twice, and **one** μ and σ for both branches.",
    "dual-ns": "This network keeps μ and σ twice, and **one** γ and β for both branches.",
    "dual-linear": "This network keeps each of the four **once**; its branches have a linear head each instead.",
    "single": "This network keeps each of the four **once**, for all images.",
}


def storage(of: Results) -> Answer:
    """How many numbers batch norm owns, and which of them a branch has for itself."""
    model = of.shown.model
    mine = sum(2 * layer.num_features for _, layer in api.dual_layers(model))
    total = sum(parameter.numel() for parameter in api.at(model, api.branch_setting(api.Branch.ADV)).parameters())
    share = mine / total
    said = (
        f"γ and β of one branch are {mine:,} of {total:,} learned numbers: **{100 * share:.1f} %**. "
        f"{STORED[of.card.design]}"
    )
    if not (of.card.norm_design.share_affine and of.card.norm_design.share_statistics):
        said += " In the figure they lie apart. But far apart is not yet the cause: next we swap one after the other."
    return Answer(
        "How much of all the network's learned numbers are the scales and shifts of one branch?",
        ("Under 1 %", "1 to 10 %", "Over 10 %"), chosen(exact(share), (0.01, 0.1)), said,
        f"Scales and shifts of a branch are {100 * share:.1f} % of the learned numbers.",
        f"Counted from the weights {of.card.weights_sha256[:8]}, no images involved.",
        (f"python -m engine show {of.card.name}",),
    )  # fmt: skip


def moved(of: Results, line: str) -> tuple[api.Estimate, api.Estimate, str, tuple[api.EvalRecord, ...]] | None:
    """What the way from 0 to 1 on a line does to robust and clean accuracy, and both in words."""
    start, end = of.pair(line, 0.0), of.pair(line, 1.0)
    if start is None or end is None:
        return None
    robust, clean = api.difference(end[1], start[1]), api.difference(end[0], start[0])
    said = (
        f"Robust accuracy goes from {percent(start[1])} to {percent(end[1])}, {points(robust)}; clean accuracy from "
        f"{percent(start[0])} to {percent(end[0])}, {points(clean)}."
    )
    return robust, clean, said, (*start, *end)


def carries(robust: api.Estimate, what: str) -> str:
    """The verdict on one swap."""
    if robust.low >= 0.1:
        return f"In this network the {what} **do carry** robustness with them."
    if robust.high < -0.1:
        return f"In this network the {what} take robustness **away**."
    if robust.high < 0.1:
        return f"So swapping the {what} alone makes **hardly a difference** to robustness."
    return "Whether that is more than 10 points these images cannot say."


def swap_statistics(of: Results) -> Answer:
    """Clean AP throughout; the clean branch's stored statistics against the adversarial branch's."""
    if of.single:
        return nothing(SINGLE)
    start = of.pair("ns@0", 0.0)
    if of.card.norm_design.share_statistics:
        value = "" if start is None else f" Its clean end gets {percent(start[1])} of the attacked images right."
        return nothing(
            "The branches of this network **share their statistics**: there are none to swap, so whatever sets the "
            f"branches apart must sit elsewhere.{value}"
        )
    found = moved(of, "ns@0")
    if found is None:
        return of.unswept()
    robust, clean, said, records = found
    said += " " + carries(robust, "statistics")
    if clean.high < -0.05:
        said += (
            " And look at the clean images: they suffer **without any attack**. These μ and σ were collected behind "
            "other scales and shifts; behind these they do not fit."
        )
    text, commands = of.evidence(*records)
    return Answer(
        "Scales and shifts stay clean; only the statistics become those of attacked images. Robust accuracy ...",
        SWAPS, chosen(robust, SWAP_BOUNDS), said,
        f"Swapping only the statistics: {points(robust)} of robust, {points(clean)} of clean accuracy.", text, commands,
    )  # fmt: skip


def swap_affine(of: Results) -> Answer:
    """Clean against adversarial AP, the statistics measured anew on clean images."""
    if of.single:
        return nothing(SINGLE)
    design = of.card.norm_design
    if design.share_parameters:
        return nothing(
            "The branches of this network **share their scales and shifts**: there are none to swap. Its branches "
            "differ in nothing but their statistics, which you swapped in the step before."
        )
    found = moved(of, "ap@clean")
    if found is None:
        return of.unswept()
    robust, clean, said, records = found
    said += " " + carries(robust, axis("ap", design).name)
    other = None if design.share_statistics else moved(of, "ns@0")
    if other is not None:
        more, less = robust.low > other[0].high, robust.high < other[0].low
        word = "more than" if more else "less than" if less else "not surely more or less than"
        said += f" That is {word} what the statistics did: {points(other[0])}."
    text, commands = of.evidence(*records)
    return Answer(
        f"Now the other way: adversarial {axis('ap', design).name}, statistics measured anew on **clean** images. "
        "Robust accuracy ...",
        SWAPS, chosen(robust, SWAP_BOUNDS), said + of.claim("E7"),
        f"Swapping only the {axis('ap', design).name}: {points(robust)} of robust, {points(clean)} of clean accuracy.",
        text, commands,
    )  # fmt: skip


def halfway(of: Results) -> Answer:
    """The blend in the middle against the adversarial end, and the worst clean accuracy on the way."""
    if of.single:
        return nothing(SINGLE)
    if of.card.norm_design.share_parameters:
        return nothing("The branches of this network share their scales and shifts: every blend of them is the same.")
    clean = api.curve(of.shown.records, of.card.norm_design, api.LINES["ap@clean"], None)
    half, end = of.pair("ap@clean", 0.5), of.pair("ap@clean", 1.0)
    if clean is None or half is None or end is None:
        return of.unswept()
    behind = api.difference(half[1], end[1])
    worst = min(clean.records, key=lambda record: record.interval.value)
    lam = clean.lams[clean.records.index(worst)]
    ends = min(clean.records[0].interval.low, clean.records[-1].interval.low)
    said = (
        f"Half-way the network gets {percent(half[0])} of the clean images and {percent(half[1])} of the attacked ones "
        f"right; under attack that is {points(behind)} against the adversarial end. "
    )
    if worst.interval.high < ends:
        said += f"On the way it **breaks**: at λ = {lam:g} only {percent(worst)} of the clean images are right."
    else:
        said += (
            f"Nowhere on the way does it break: its lowest clean accuracy is {percent(worst)}, at λ = {lam:g}. Two "
            "networks, trained apart in these numbers alone, and **every mixture between them works**."
        )
    text, commands = of.evidence(*half, end[1])
    return Answer(
        "Half-way between the two sets nobody trained the network. Against the adversarial end, its robust accuracy "
        "there is ...",
        ("Over 30 points lower", "5 to 30 points lower", "Within 5 points, or higher"),
        chosen(behind, (-0.3, -0.05)), said + of.claim("X2"),
        f"Half-way, robust accuracy is {points(behind)} against the adversarial end.", text, commands,
    )  # fmt: skip
