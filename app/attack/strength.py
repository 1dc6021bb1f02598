"""What the Attack page computes on a click: the strength of an attack, a table of numbers each, kept.

Usage::

    asked = Asked("eps", card.name, card.weights_sha256, sides, attack)
    rows = over_eps(bench, asked, progress)        # a data frame: what is drawn and what is downloaded

`progress(done, total)` is called often; it may raise to stop the work, and nothing is kept then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from app.attack.films import Side
from app.command import evaluate_command
from engine import api

N_CURVE, LEVELS, STEP_COUNTS = 200, (0, 1, 2, 4, 6, 8, 12, 16, 24, 32), (1, 2, 5, 10, 20, 40)
N_QUERIES, N_DISTANCE, FARTHEST = 500, 64, 32
CORNERS = (0.0, 0.25, 0.5, 0.75, 1.0)
N_FEW, LOOKED_AT_FEW = 64, ("answers are random", "gradients are zero")
"""The checks that look at fewer images."""
KINDS = ("FGSM", "PGD", "APGD", "Square", "quick AutoAttack")
FILMED = KINDS[:3]
"""Attacks whose every step is an image on the way; Square only keeps what worked."""
LOSSES = {"cross-entropy": "ce", "margin": "margin", "KL": "kl"}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A figure that is computed on a click; also the key that it is kept under."""

    kind: str
    checkpoint: str
    weights_sha256: str
    sides: tuple[Side, ...]
    attack: api.Attack


def make_attack(kind: str, loss: str, eps: float, steps: int) -> api.Attack:
    """One of KINDS; FGSM is one step along cross-entropy, Square and AutoAttack have budgets of their own."""
    threat, chosen = api.ThreatModel("Linf", eps), LOSSES[loss]
    known: dict[str, Callable[[], api.Attack]] = {
        "FGSM": lambda: api.fgsm(threat),
        "PGD": lambda: api.PGD(threat, steps, max(eps / 4, eps / steps), loss=chosen),  # pyright: ignore[reportArgumentType]
        "APGD": lambda: api.APGD(threat, steps, loss=chosen),  # pyright: ignore[reportArgumentType]
        "Square": lambda: api.Square(threat, N_QUERIES),
        "quick AutoAttack": lambda: api.quick_auto(threat),
    }
    return known[kind]()


def counting(attack: api.Attack) -> api.Attack:
    """The same attack, leaving alone what it has fooled: the same count for less work."""
    return replace(attack, stop="success") if isinstance(attack, api.PGD | api.APGD | api.Square) else attack


def name(attack: api.Attack) -> str:
    """Its label without the eps; AutoAttack without its budgets."""
    return "quick AutoAttack" if isinstance(attack, api.AutoAttack) else attack.label.split(" at ")[0]


def over_eps(bench: api.Bench, asked: Asked, progress: Progress) -> pd.DataFrame:
    """Accuracy at each of LEVELS, PGD's step size growing with eps."""
    attacks = [counting(api.resized(asked.attack, level / 255)) if level else None for level in LEVELS]
    return _accuracies(bench, asked, [{"eps_255": level} for level in LEVELS], attacks, progress)


def over_steps(bench: api.Bench, asked: Asked, progress: Progress) -> pd.DataFrame:
    """Accuracy at each of STEP_COUNTS: does a longer attack find more? PGD's step size as chosen."""
    assert isinstance(asked.attack, api.PGD | api.APGD)
    attacks = [counting(replace(asked.attack, steps=steps)) for steps in STEP_COUNTS]
    return _accuracies(bench, asked, [{"steps": steps} for steps in STEP_COUNTS], attacks, progress)


def _accuracies(
    bench: api.Bench,
    asked: Asked,
    points: Sequence[dict[str, float]],
    attacks: Sequence[api.Attack | None],
    progress: Progress,
) -> pd.DataFrame:
    """A row a side and point."""
    rows: list[dict[str, Any]] = []
    total = len(asked.sides) * len(points) * N_CURVE

    def within(done: int, _: int) -> None:
        progress(len(rows) * N_CURVE + done, total)

    for side in asked.sides:
        records = bench.evaluate_many(side.setting, attacks, N_CURVE, api.SEED, progress=within)
        for point, record in zip(points, records, strict=True):
            rows.append({"lambda": side.lam, "curve": name(asked.attack)} | point | _numbers(asked, record))
            progress(len(rows) * N_CURVE, total)
    return pd.DataFrame(rows)


def _numbers(asked: Asked, record: api.EvalRecord) -> dict[str, Any]:
    """The columns that every accuracy has; accuracy and its 95 % interval in percent."""
    accuracy, low, high = (100 * x for x in (record.interval.value, record.interval.low, record.interval.high))
    label = record.attack.label if record.attack else "none"
    command = evaluate_command(asked.checkpoint, record)
    return {"accuracy": accuracy, "low": low, "high": high, "n": record.n, "n_correct": record.n_correct,
            "attack": label, "seed": record.seed, "weights": asked.weights_sha256, "command": command}  # fmt: skip


def matrix(bench: api.Bench, asked: Asked, progress: Progress) -> pd.DataFrame:
    """A row a pair: crafted at one side, judged at another."""
    rows: list[dict[str, Any]] = []
    settings = [side.setting for side in asked.sides]
    assert isinstance(asked.attack, api.PGD | api.APGD)
    for crafted, found in zip(
        asked.sides, api.transfer(bench, settings, asked.attack, N_CURVE, api.SEED, progress), strict=True
    ):
        for judged, correct in zip(asked.sides, found.n_correct, strict=True):
            white = crafted == judged
            attack = counting(asked.attack) if white else asked.attack
            record = api.EvalRecord(judged.setting, attack, crafted.setting, found.n, correct, api.SEED)
            where = {"crafted_at": crafted.lam, "judged_at": judged.lam, "white_box": white}
            rows.append(where | _numbers(asked, record))
    return pd.DataFrame(rows)


def doubts(bench: api.Bench, asked: Asked, progress: Progress) -> pd.DataFrame:
    """Checks of the attack at the only side, a row each; the same ones as `evaluate --check`."""
    (side,) = asked.sides
    assert isinstance(asked.attack, api.PGD)
    black_box = api.Square(asked.attack.threat, N_QUERIES, stop="success")
    others = [setting for setting in map(api.branch_setting, api.Branch) if setting != side.setting]
    record = api.EvalRecord(side.setting, counting(asked.attack), side.setting, N_CURVE, 0, api.SEED)
    command = evaluate_command(asked.checkpoint, record, "--check")
    about = {"lambda": side.lam, "n": N_CURVE, "attack": asked.attack.label, "seed": api.SEED,
             "weights": asked.weights_sha256, "command": command}  # fmt: skip
    flags = api.suspicions(bench, side.setting, asked.attack, N_CURVE, api.SEED, others, black_box, progress)
    rows: list[dict[str, Any]] = []
    for flag in flags:
        n = min(N_FEW, N_CURVE) if flag.name in LOOKED_AT_FEW else N_CURVE
        interval = api.wilson(round(flag.value * n), n)
        share = {"share": 100 * flag.value, "low": 100 * interval.low, "high": 100 * interval.high}
        rows.append({"check": flag.name, "fired": flag.fired, "sentence": flag.sentence} | share | about | {"n": n})
    return pd.DataFrame(rows)


def distances(bench: api.Bench, asked: Asked, progress: Progress) -> pd.DataFrame:
    """A row a side and image: the smallest eps (in 1/255) that fools it; infinite where 32/255 does not."""
    attack = counting(api.resized(asked.attack, FARTHEST / 255))
    about = {"n": N_DISTANCE, "attack": attack.label, "seed": api.SEED, "weights": asked.weights_sha256}
    images, labels = (tensor.to(bench.device) for tensor in bench.test.tensors(0, N_DISTANCE))
    parts: list[pd.DataFrame] = []
    for side in asked.sides:

        def within(step: int, total: int, before: int = len(parts)) -> None:
            progress(before * total + step, len(asked.sides) * total)

        craft = api.crafting_network(bench.view(side.setting))
        generator = api.seeded(api.SEED, 0)
        found = api.minimal_eps(attack, craft, images, labels, generator=generator, progress=within)
        right = int((found.eps > 0).sum())
        clean = evaluate_command(
            asked.checkpoint, api.EvalRecord(side.setting, None, None, N_DISTANCE, right, api.SEED)
        )
        values = (255 * found.eps).tolist()
        columns: dict[str, Any] = {"lambda": side.lam, "image": range(N_DISTANCE), "smallest_eps_255": values}
        parts.append(pd.DataFrame(columns | about | {"command": clean}))
    return pd.concat(parts)


def at(rows: pd.DataFrame, side: Side) -> pd.DataFrame:
    """The rows of one side."""
    return pd.DataFrame(rows[rows["lambda"] == side.lam])


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median and its 95 % interval by order statistics (binomial, normal approximation); infinite values allowed."""
    ordered = sorted(values)
    n = len(ordered)
    reach = 0.98 * np.sqrt(n)
    low, high = max(0, int(np.floor(n / 2 - reach))), min(n - 1, int(np.ceil(n / 2 + reach)))
    return ordered[(n - 1) // 2], ordered[low], ordered[high]


def telling(rows: pd.DataFrame) -> dict[Any, Any]:
    """The row whose number says most: the accuracy nearest to one half."""
    return min(rows.to_dict("records"), key=lambda row: abs(row["accuracy"] - 50))
