"""`headline`: the figures of a card, measured (again) on more images."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine import api
from engine.checkpoint import save_card
from engine.cli.evaluate import set_threads
from engine.cli.output import percent, progress, show
from engine.headline import auto_record, headline


def measured(card: api.ModelCard, device: torch.device, arguments: argparse.Namespace, n: int) -> api.ModelCard:
    """The card with its figures on the first n held-out images and, for CIFAR-10, on the official test images here."""
    where: dict[str, Any] = {"data_dir": arguments.data_dir, "allow_unofficial": arguments.unofficial}
    bench, _ = api.open_bench(card.name, device, data=arguments.data, n=n, root=arguments.root, **where)
    eps, design = float(card.config["eps"]), card.norm_design
    with progress(f"headline {card.name}") as callback:
        records, breakdowns = headline(bench, design, eps, n, callback)
    card = replace(card, records=records, breakdowns=breakdowns, evaluation=described(bench.test))
    if bench.test.name != "cifar10":
        return card
    try:
        test = api.load_data("cifar10", "test", **where)
    except api.InputError:  # those images are not here, and the held-out ones are what counts
        return card
    with progress("official test images") as callback:
        official, _ = headline(replace(bench, test=test), design, eps, len(test), callback)
    return replace(card, official=official, official_images=described(test))


def with_auto(
    folder: Path, card: api.ModelCard, device: torch.device, arguments: argparse.Namespace, n: int
) -> api.ModelCard:
    """The card with AutoAttack's standard version on its adversarial branch, all else as it was; resumes."""
    where: dict[str, Any] = {"data_dir": arguments.data_dir, "allow_unofficial": arguments.unofficial}
    bench, _ = api.open_bench(card.name, device, data=arguments.data, n=n, root=arguments.root, **where)
    path = folder / ".auto.jsonl"
    with progress(f"AutoAttack {card.name}") as callback:
        head = api.header(card, bench.test, api.SEED)
        record = auto_record(bench, path, head, float(card.config["eps"]), callback)
    path.unlink()
    return replace(card, auto=(record,), auto_images=described(bench.test))


def described(images: api.ImageSet) -> dict[str, Any]:
    """Which images these are."""
    return {"name": images.name, "split": images.split, "sha256": images.checksum, "note": images.note}


def table(records: tuple[api.EvalRecord, ...]) -> list[list[str]]:
    return [
        [f"{r.attack.label if r.attack else 'clean'}, AP {r.setting.affine:g}", percent(r.interval)] for r in records
    ]


def run(arguments: argparse.Namespace) -> None:
    set_threads(arguments)
    folder = api.checkpoint_folder(arguments.name, arguments.root)
    card, device = api.load_card(folder), api.pick_device(arguments.device)
    if arguments.auto is None:
        card = measured(card, device, arguments, arguments.n)
    else:
        card = with_auto(folder, card, device, arguments, arguments.auto)
    save_card(folder, card)
    show(card.as_json(), arguments.json, card.name, ["of", "accuracy"], table(card.records + card.auto))
