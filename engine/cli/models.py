"""`list` and `show`: what the checkpoints are."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine import api
from engine.checkpoint import read_weights
from engine.cli.output import percent, show


def headline(card: api.ModelCard) -> dict[str, api.EvalRecord]:
    """The card's records by role: 'clean' and 'robust' of each branch, e.g. 'adv robust'."""
    found: dict[str, api.EvalRecord] = {}
    for branch in api.Branch:
        for record in card.records:
            if record.setting == api.branch_setting(branch):
                found[f"{branch.name.lower()} {'clean' if record.attack is None else 'robust'}"] = record
    return found


def _record_json(record: api.EvalRecord) -> dict[str, Any]:
    return record.as_json() | {"accuracy": record.interval.value, "ci95": [record.interval.low, record.interval.high]}


def summary(card: api.ModelCard) -> dict[str, Any]:
    """One entry of `list --json`; the headline is the adversarial branch, the clean branch stands beside it."""
    records = {role: _record_json(record) for role, record in headline(card).items()}
    return {
        "name": card.name,
        "data": card.data["name"],
        "architecture": card.architecture,
        "design": card.design,
        "eps": card.config["eps"],
        "weights_sha256": card.weights_sha256,
        "headline": {"clean": records.get("adv clean"), "robust": records.get("adv robust")},
        "auto": [_record_json(record) for record in card.auto],
        "clean_branch": {"clean": records.get("clean clean"), "robust": records.get("clean robust")},
    }


ROLES = ("clean clean", "clean robust", "adv clean", "adv robust")


def sound(root: Path) -> tuple[list[api.ModelCard], list[str]]:
    """The cards whose weights are there and whole, and one sentence for each checkpoint that is damaged."""
    cards, problems = api.list_cards(root)
    found: list[api.ModelCard] = []
    for card in cards:
        try:
            read_weights(root / card.name, card)
            found.append(card)
        except api.InputError as error:
            problems.append(str(error))
    return found, problems


def run_list(arguments: argparse.Namespace) -> None:
    cards, problems = sound(arguments.root)
    rows = [
        [card.name, card.design, card.data["name"]]
        + [percent(r.interval) if (r := headline(card).get(role)) else "-" for role in ROLES]
        + [percent(card.auto[0].interval) if card.auto else "-"]
        for card in cards
    ]
    columns = ["name", "design", "data", "clean branch: clean", "robust", "adversarial branch: clean", "robust"]
    columns.append("AutoAttack")
    value = {"checkpoints": [summary(card) for card in cards], "problems": problems}
    rows += [[problem] + ["-"] * (len(columns) - 1) for problem in problems]
    show(value, arguments.json, "Checkpoints (white-box, 95 % intervals)", columns, rows)


def run_show(arguments: argparse.Namespace) -> None:
    card = api.load_card(api.checkpoint_folder(arguments.name, arguments.root))
    rows = [[key, value if isinstance(value, str) else json.dumps(value)] for key, value in card.as_json().items()]
    rows = [row for row in rows if row[0] not in ("records", "auto")]
    for record in card.records + card.auto:
        what = record.attack.label if record.attack else "clean"
        rows.append([f"{what}, AP {record.setting.affine:g}", percent(record.interval)])
    show(card.as_json(), arguments.json, card.name, ["field", "value"], rows)


def attack_json(attack: api.Attack | None) -> dict[str, Any] | None:
    return None if attack is None else asdict(attack)
