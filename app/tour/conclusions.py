"""The last answers of the tour, which rest on more than a sweep: domain gap, two tasks, and what it all means.

Usage::

    answer = domain_gap(results, parts)      # parts of app.layers.measures, or None until they are measured
    answer = meaning(results, answers)       # the answers of all steps before
"""

from __future__ import annotations

from collections.abc import Sequence

from app.command import evaluate_command
from app.layers.measures import Part, Spread, gaps
from app.layers.views import held_gap, held_words, remains, stored_gap, stored_words
from app.paper.claim import COMMAND, beyond, label
from app.tour.answers import SINGLE, Results
from app.tour.values import Answer, chosen, exact, nothing, percent, points, price
from engine import api

SHRINKS = ("Little: under 20 %", "A part: 20 to 80 %", "Nearly all: over 80 %")


def domain_gap(of: Results, parts: tuple[Part, ...] | None) -> Answer:
    """The two stored means against clean and attacked images behind one and the same AP."""
    if of.single:
        return nothing(SINGLE)
    if parts is None:
        problem = of.shown.problem or "They have not been measured yet."
        return nothing(f"This step measures the images themselves. {problem}")
    held, null = (held_gap(gaps(parts, source), "") for source in ("attacked", "other"))
    n, design = sum(part.n for part in parts), of.card.norm_design
    rest = " " + above_chance(held, null)
    measured = f"Behind the same scales and shifts, {held_words(held)}. Two sets of clean images: {held_words(null)}."
    evidence = (
        f"n = {n} {of.card.data['name']} images a source · PGD-10 at 8/255 through the adversarial branch · in "
        f"brackets 95 % intervals (jackknife over groups) · seed {api.SEED} · weights {of.card.weights_sha256[:8]}"
    )
    short = f"At equal scales and shifts, attacked images move μ by {held[0].value:.2f} σ (chance {null[0].value:.2f})."
    command = (f"python -m engine paper E3 --family {api.family_of(of.card)}",)
    stored = stored_gap(of.shown.model, "")
    if not stored[0]:  # stored once, or twice the same, as in a network that was converted
        return Answer(
            "", (), frozenset(), "This network stores one set of statistics, so it has **no stored gap** to be misled "
            f"by. {measured}{rest}", short, evidence, command,
        )  # fmt: skip
    left = api.Estimate(*(part / stored[0] for part in (held[0].value, held[0].low, held[0].high)))
    text = f"{remains(stored, held, null)}{rest}{of.claim('E3')}"
    evidence = f"Averaged over the layers, what the branches stored: {stored_words(stored)}. {measured} {evidence}"
    if design.share_affine:
        text = "Here the branches share their scales and shifts: what they stored **is** at equal AP already. " + text
    return Answer(
        "Now let clean and attacked images pass through the **same** scales and shifts. How much of the gap in the "
        "means μ remains?",
        SHRINKS, chosen(left, (0.2, 0.8)), text, short, evidence, command,
    )  # fmt: skip


def above_chance(held: tuple[Spread, Spread], null: tuple[Spread, Spread]) -> str:
    """Whether what remains is more than between two sets of clean images, for mean and deviation."""
    above = [name for name, h, n in zip(("μ", "σ"), held, null, strict=True) if h.low > n.high]
    if not above:
        return "In neither is that **surely more than chance**, that is, than between two sets of clean images."
    if len(above) == 2:
        return "That is **more than chance**: clean and attacked images do differ inside the network, by this much."
    other = "σ" if above == ["μ"] else "μ"
    return f"In {above[0]} that is **more than chance**, a small difference that is real; in {other} not surely."


def two_tasks(of: Results) -> Answer:
    """What the adversarial branch pays on clean images, and whether sets of their own help at all."""
    by = {(r.setting, r.attack is not None): r for r in of.card.records}
    keys = [(api.branch_setting(branch), attacked) for branch in api.Branch for attacked in (False, True)]
    if of.single:
        return nothing(SINGLE)
    if not set(keys) <= set(by):
        return nothing(f"Its accuracies are not on its card yet. `python -m engine headline {of.card.name}` adds them.")
    clean, _, paid, robust = (by[key] for key in keys)
    lost = api.difference(clean, paid)
    said = (
        f"On clean images the clean branch gets {percent(clean)} right, the adversarial branch {percent(paid)}: it "
        f"pays {price(lost)} for its {percent(robust)} under attack."
    )
    said += {True: " Being right and resisting pull the same numbers **different ways**.",
             False: " On these images that price may be nothing at all."}[lost.low > 0]  # fmt: skip
    alone = next((card for card in of.cards if sibling(card, of.card)), None)
    if alone is not None:
        other = next(r for r in alone.records if r.attack is not None)
        gain = api.difference(robust, other)
        sure = (
            "helps" if gain.low > 0 else "costs" if gain.high < 0 else "makes no difference that these images can show"
        )
        said += (
            f" {alone.name}, trained on the same two kinds of images with **one** set for both, withstands "
            f"{percent(other)}; against it, a set for each task {sure}: {points(gain)}."
        )
    text, commands = of.evidence(clean, paid, robust)
    commands += () if alone is None else (evaluate_command(alone.name, next(r for r in alone.records if r.attack)),)
    return Answer(
        "What does the adversarial branch pay for its robustness, on clean images?",
        ("Nothing, or under 1 point", "1 to 5 points", "Over 5 points"), chosen(lost, (0.01, 0.05)),
        said + of.claim("E8"), f"The adversarial branch pays {price(lost)} of clean accuracy.",
        text, commands,
    )  # fmt: skip


def sibling(card: api.ModelCard, of: api.ModelCard) -> bool:
    """Whether a card is the same network trained on both kinds of images with one set for all."""
    same = (card.data["name"], card.architecture, card.config["eps"]) == (
        of.data["name"], of.architecture, of.config["eps"],
    )  # fmt: skip
    attacked = any(record.attack is not None for record in card.records)
    return same and attacked and card.design == "single" and card.learned_from == "clean and attacked"


def meaning(of: Results, before: Sequence[Answer]) -> Answer:
    """How many of the paper's claims hold on the networks of this family, and what this network said at each step."""
    tested = [one for name, one in of.findings.items() if not beyond(name)]
    said = "\n".join(f"- {answer.short}" for answer in before if answer.short)
    family = api.family_of(of.card)
    told = f"\n\n**What {of.card.name} said:**\n\n{said}" if said else ""
    if not tested:
        return nothing(
            f"The paper's claims have not been tested on {label(family)} yet: `{COMMAND} --family {family}`.{told}"
        )
    named = {verdict: [one for one in tested if one.verdict == verdict] for verdict in ("holds", "fails", "undecided")}
    holds = len(named["holds"])
    parts = [
        f"{len(ones)} {several if len(ones) > 1 else alone} ({', '.join(one.experiment for one in ones)})"
        for (alone, ones), several in zip(named.items(), ("hold", "fail", "undecided"), strict=True) if ones
    ]  # fmt: skip
    text = (
        f"Of {len(tested)} claim{'s' * (len(tested) > 1)} of the paper tested on {label(family)}, "
        f"{'; '.join(parts)}. A claim holds or fails "
        "only where a 95 % interval decides."
    )
    stale = sum(bool(one.stale) for one in tested)
    text += f" {stale} of these were made with other weights than those here." if stale else ""
    share = holds / len(tested)
    first = tested[0]
    return Answer(
        f"How many of the paper's claims that were tested on {label(family)} hold?",
        ("Less than a third", "A third to two thirds", "Over two thirds"), chosen(exact(share), (1 / 3, 2 / 3)),
        text + told, f"{holds} of {len(tested)} claims hold.",
        f"Counted: up to {max(one.used or one.n for one in tested):,} images a claim · seed {first.seed} · each with "
        "its own intervals and attack on the Paper page",
        (f"{COMMAND} --family {family} --n {first.n}",),
    )  # fmt: skip
