"""Findings on disk: one JSON file each, `<folder>/<family>/<experiment>.json`.

Usage::

    save_finding(folder, finding)
    findings, problems = load_findings(folder, cards)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from engine.cards import ModelCard
from engine.experiments.base import Finding, marked_stale
from engine.files import parse_json, write_atomic
from engine.values import InputError


def finding_path(folder: Path, family: str, experiment: str) -> Path:
    return folder / family / f"{experiment}.json"


def save_finding(folder: Path, finding: Finding) -> None:
    text = json.dumps(finding.as_json(), allow_nan=False, separators=(",", ":"))
    write_atomic(finding_path(folder, finding.family, finding.experiment), (text + "\n").encode())


def load_finding(path: Path) -> Finding:
    """InputError where the file is missing or damaged."""
    try:
        value = parse_json(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); make it again: python -m engine paper --again.") from None
    return Finding.from_json(value, str(path))


def load_findings(folder: Path, cards: Iterable[ModelCard]) -> tuple[list[Finding], list[str]]:
    """All readable findings by family and experiment, marked where stale, and one sentence for each that is not."""
    hashes = {card.name: card.weights_sha256 for card in cards}
    findings: list[Finding] = []
    problems: list[str] = []
    for path in folder.glob("*/*.json"):
        try:
            findings.append(marked_stale(load_finding(path), hashes))
        except InputError as error:
            problems.append(str(error))
    findings.sort(key=lambda f: (f.family, f.experiment[:1], len(f.experiment), f.experiment))
    return findings, problems
