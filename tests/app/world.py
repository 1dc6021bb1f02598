"""Checkpoints whose accuracies are made up by a formula, so that what a page shows can be checked by hand.

Usage::

    write_swept(root, "shapes-dual-bn")             # untrained network; curves, plane, strips and gaps all there
    n_correct(setting, attack)                      # of N images, at every point of that sweep
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from engine import api
from engine.checkpoint import save_checkpoint
from engine.features import LayerGap
from engine.gaps import save_tracks
from engine.strip import save_strips
from engine.values import DUAL_BN, NormDesign
from tests.support import card_for, dual_resnet

N = 1000
MAIN = "shapes-dual-bn"
STRIP_STOPS = (0.0, 0.5, 1.0)


def n_correct(setting: api.NormSetting, attack: api.PGD | None) -> int:
    """Clean: 900 falling by 200 towards the adversarial AP; attacked: 50 rising by 400, less for stronger attacks."""
    ns = setting.statistics.lam if isinstance(setting.statistics, api.Stored) else 0.5
    if attack is None:
        return round(900 - 200 * setting.affine - 20 * ns)
    return round(50 + 400 * setting.affine + 20 * ns - attack.steps - 100 * (attack.threat.eps - api.MAIN_EPS))


def record(setting: api.NormSetting, attack: api.PGD | None) -> api.EvalRecord:
    return api.EvalRecord(setting, attack, None if attack is None else setting, N, n_correct(setting, attack), api.SEED)


def headline() -> tuple[api.EvalRecord, ...]:
    """The records of a card: both branches, clean and under PGD-20."""
    attacks = (None, api.PGD(api.ThreatModel("Linf", api.MAIN_EPS), 20, 2 / 255))
    return tuple(record(api.branch_setting(branch), attack) for branch in api.Branch for attack in attacks)


def write_sweep(folder: Path, head: dict[str, Any]) -> None:
    """All points of a dual-BN sweep."""
    points = api.plan(DUAL_BN, N, N)
    lines = [json.dumps(head), *(json.dumps(record(p.setting, p.attack).as_json()) for p in points)]
    (folder / "sweep.jsonl").write_text("\n".join(lines) + "\n")


def strip(seed: int, side: int = 32, m: int = 8) -> api.Strip:
    """Random differences of at most 8 levels and random verdicts."""
    rng = np.random.default_rng(seed)
    s = len(STRIP_STOPS)
    classes = rng.integers(0, 10, (2, s, m)).astype(np.int8)
    confidence = rng.random((2, s, m)).astype(np.float32)
    deltas = rng.integers(-8, 9, (s, m, 3, side, side)).astype(np.int8)
    return api.Strip(np.arange(m), np.array(STRIP_STOPS), deltas, classes[0], confidence[0], classes[1], confidence[1])


def track(names: list[str]) -> api.Track:
    """Statistics gap of layer k at lambda: (k + 1) * (1 + lambda), half of it mean, half sigma."""
    rows = [
        tuple(
            LayerGap(name, (k + 1) * (1 + lam) / 2, (k + 1) * (1 + lam) / 2, 0.0, 0.0) for k, name in enumerate(names)
        )
        for lam in STRIP_STOPS
    ]
    return api.Track(STRIP_STOPS, "PGD-10 at 8/255", 256, api.SEED, tuple(rows))


def write_swept(root: Path, name: str, model: nn.Module | None = None, design: NormDesign = DUAL_BN) -> Path:
    """A checkpoint (dual BN and untrained unless given) with everything that a page can show."""
    folder = root / name
    card = replace(card_for(name, design), records=headline(), images_seen=120_000, wall_seconds=90.0)
    card = save_checkpoint(folder, model or dual_resnet(), card)
    write_sweep(folder, api.header(card, api.load_data("shapes", "test", N), api.SEED))
    attacks = [api.fgsm(api.ThreatModel("Linf", api.MAIN_EPS)), api.pgd(10, api.MAIN_EPS)]
    keys = [api.strip_key(line, attack) for line in api.LINES for attack in attacks]
    strips = {key: strip(seed) for seed, key in enumerate(keys)}
    save_strips(folder / "strip.npz", card.weights_sha256, strips)
    names = [layer for layer, _ in api.dual_layers(model or dual_resnet())]
    save_tracks(folder / "gaps.json", card.weights_sha256, {line: track(names) for line in api.LINES})
    return folder


def write_cifar(root: Path, name: str, design: NormDesign = DUAL_BN) -> Path:
    """A CIFAR-10 checkpoint with curves, without the images it was made on."""
    folder = root / name
    data = {"name": "cifar10", "split": "train-40k", "n": 40_000, "sha256": "", "note": ""}
    save_checkpoint(
        folder, dual_resnet(design=design), replace(card_for(name, design), data=data, classes=api.cifar.CLASSES)
    )
    card = api.load_card(folder)
    head = api.header(card, api.load_data("shapes", "test", 1), api.SEED)
    write_sweep(folder, head | {"data": "cifar10", "split": "held-out", "n": N, "data_sha256": "0" * 64})
    return folder


def truncate(path: Path) -> None:
    """Cuts a file in half, as an interrupted copy does."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def drop_field(path: Path, field: str) -> None:
    """Takes a field out of a JSON file."""
    value = json.loads(path.read_text())
    del value[field]
    path.write_text(json.dumps(value))
