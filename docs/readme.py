"""Rewrites the table of checkpoints in README.md from their cards: python -m docs.readme."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine import api
from engine.cli.models import headline

README = Path(__file__).resolve().parents[1] / "README.md"
START, END = "<!-- checkpoints -->", "<!-- /checkpoints -->"
COLUMNS = (
    "checkpoint",
    "design",
    "learned from",
    "ε",
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
    link = f"[{card.name}](checkpoints/{card.name}/card.json)"
    clean = [accuracy(records.get(f"clean {role}")) for role in ("clean", "robust")]
    if card.design == "single":
        clean = ["the same", "the same"]
    adversarial = [accuracy(records.get(f"adv {role}")) for role in ("clean", "robust")]
    adversarial += [accuracy(next(iter(card.auto), None))] * with_auto
    return [link, card.norm_design.label, card.learned_from, api.eps_label(card.config["eps"]), *clean, *adversarial]


def block(cards: Sequence[api.ModelCard]) -> str:
    """The table and what its figures are, as Markdown."""
    attacks = {r.attack.label.split(" at ")[0] for card in cards for r in card.records if r.attack is not None}
    counts = {f"{record.n:,}" for card in cards for record in card.records}
    notes = [(card.name, what, str(of["note"])) for card in cards for what, of in sources(card) if of.get("note")]
    tried = [record for card in cards for record in card.auto]
    columns = (*COLUMNS, *["AutoAttack"] * bool(tried))
    table = [columns, ("---",) * len(columns), *(row(card, bool(tried)) for card in cards)]
    auto = f" AutoAttack: the standard version on {' or '.join(sorted({f'{r.n:,}' for r in tried}))} of them."
    return "\n".join(
        [
            f"Percent correct [95 % Wilson interval] of {' or '.join(sorted(counts))} images that were not trained on; "
            f"robust: {' or '.join(sorted(attacks))} at ε, white-box.{auto if tried else ''}",
            "",
            *("| " + " | ".join(cells) + " |" for cells in table),
            *(f"\n{name}, {what} images: {note}" for name, what, note in notes),
        ]
    )


def sources(card: api.ModelCard) -> tuple[tuple[str, dict[str, object]], ...]:
    return ("training", card.data), ("test", card.evaluation)


def updated(text: str, cards: Sequence[api.ModelCard]) -> str:
    """The README with the block between the marks made anew."""
    before, found, rest = text.partition(START)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise api.InputError(f"{README.name} has no {START} ... {END}; put the two marks back.")
    return f"{before}{START}\n{block(cards)}\n{END}{after}"


if __name__ == "__main__":
    readable, problems = api.list_cards()
    if problems:
        raise SystemExit(problems[0])
    README.write_text(updated(README.read_text(), readable))
