"""Rewrites the tables of README.md from the cards and the findings of the checkpoints: python -m docs.readme."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix
from pathlib import Path

from engine import api
from engine.cli.models import headline

README = Path(__file__).resolve().parents[1] / "README.md"
COLUMNS = (
    "checkpoint",
    "design",
    "learned from",
    "ε",
    "images seen",
    "n",
    "clean branch: clean",
    "robust",
    "adversarial branch: clean",
    "robust",
)


def accuracy(record: api.EvalRecord | None) -> str:
    """'63.8 [61.7, 65.9]', or a dash."""
    if record is None:
        return "–"
    interval = record.interval
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def row(card: api.ModelCard, with_auto: bool) -> list[str]:
    """One checkpoint; a single BN has one branch, which stands in both places."""
    records = headline(card)
    n = f"{card.records[0].n:,}" if card.records else "–"
    link = f"[{card.name}](checkpoints/{card.name}/card.json)"
    clean = [accuracy(records.get(f"clean {role}")) for role in ("clean", "robust")]
    if card.design == "single":
        clean = ["the same", "the same"]
    adversarial = [accuracy(records.get(f"adv {role}")) for role in ("clean", "robust")]
    adversarial += [accuracy(next(iter(card.auto), None))] * with_auto
    made = [card.norm_design.label, card.learned_from, api.eps_label(card.config["eps"]), f"{card.images_seen:,}"]
    return [link, *made, n, *clean, *adversarial]


def block(cards: Sequence[api.ModelCard]) -> str:
    """The table and what its figures are, as Markdown."""
    attacks = {r.attack.label.split(" at ")[0] for card in cards for r in card.records if r.attack is not None}
    noted: dict[tuple[str, str], list[str]] = {}
    for card in cards:
        for what, of in sources(card):
            if of.get("note"):
                noted.setdefault((what, str(of["note"])), []).append(card.name)
    tried = [record for card in cards for record in card.auto]
    columns = (*COLUMNS, *["AutoAttack"] * bool(tried))
    table = [columns, ("---",) * len(columns), *(row(card, bool(tried)) for card in cards)]
    auto = f" AutoAttack: the standard version on {' or '.join(sorted({f'{r.n:,}' for r in tried}))} of them."
    return "\n".join(
        [
            f"Percent correct [95 % Wilson interval] of n images that were not trained on; "
            f"robust: {' or '.join(sorted(attacks))} at ε, white-box.{auto if tried else ''}",
            "",
            *("| " + " | ".join(cells) + " |" for cells in table),
            *(f"\n{together(names)}, {what} images: {note}" for (what, note), names in noted.items()),
        ]
    )


def together(names: Sequence[str]) -> str:
    """One name as it is, several by what they begin with."""
    return names[0] if len(names) == 1 else f"{commonprefix(names)}\\*"


def sources(card: api.ModelCard) -> tuple[tuple[str, dict[str, object]], ...]:
    return ("training", card.data), ("test", card.evaluation)


def claims(findings: Sequence[api.Finding]) -> str:
    """One row a claim or prediction, one column a family, as Markdown."""
    families = list(dict.fromkeys(f.family for f in findings))
    rows: dict[str, tuple[str, dict[str, str]]] = {}
    for f in findings:
        verdict = f.verdict + (" (of older weights)" if f.stale else "")
        rows.setdefault(f.experiment, (f.claim, {}))[1][f.family] = verdict
    for f in findings:
        for p in f.predictions:
            rows.setdefault(p.name, (p.text, {}))[1][f.family] = p.verdict
    counts = {f"{family} {max(f.n for f in findings if f.family == family):,}" for family in families}
    head = ("", "claim", *families)
    body = [(name, claim, *(found.get(f, "–") for f in families)) for name, (claim, found) in sorted(rows.items())]
    return "\n".join(
        [
            f"Held-out images at most: {', '.join(sorted(counts))}. Evidence and caveats: the Paper page.",
            "",
            *("| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *body)),
        ]
    )


def updated(text: str, cards: Sequence[api.ModelCard], findings: Sequence[api.Finding]) -> str:
    """The README with the blocks between the marks made anew."""
    for name, content in (("checkpoints", block(cards)), ("claims", claims(findings))):
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise api.InputError(f"{README.name} has no {start} ... {end}; put the two marks back.")
        text = f"{before}{start}\n{content}\n{end}{after}"
    return text


if __name__ == "__main__":
    readable, problems = api.list_cards()
    found, unreadable = api.load_findings(api.CHECKPOINTS / api.FINDINGS, readable)
    if problems or unreadable:
        raise SystemExit([*problems, *unreadable][0])
    README.write_text(updated(README.read_text(), readable, found))
