"""`attribute`: how much of what a network looks at is the shape, and how much of what it listens to is the grating."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any

from engine import api
from engine.cli.evaluate import open_from, parse_attack, parse_statistics, set_threads
from engine.cli.models import attack_json
from engine.cli.output import percent, progress, show


def row_json(found: api.Shares) -> dict[str, Any]:
    """One setting's shares with their intervals."""
    parts = {"inside": found.inside, "even": found.even, "band": found.band, "elsewhere": found.elsewhere}
    intervals = {name: None if values is None else asdict(found.interval(values)) for name, values in parts.items()}
    attack = attack_json(found.attack)
    return {"setting": found.setting.as_json(), "attack": attack, "n_correct": found.n_correct, **intervals}


def row_text(found: api.Shares) -> list[str]:
    band = ["-", "-"]
    if found.band is not None and found.elsewhere is not None:
        band = [percent(found.interval(found.band)), percent(found.interval(found.elsewhere))]
    images = "clean" if found.attack is None else found.attack.label
    shape = [percent(found.interval(values)) for values in (found.inside, found.even)]
    return [f"{found.setting.affine:g}", images, *shape, *band]


def run(arguments: argparse.Namespace) -> None:
    """Shares on clean and, with an attack, on attacked images at every lambda of the AP."""
    set_threads(arguments)
    own = arguments.ns == "own"
    settings = [
        api.NormSetting(lam, api.Stored(lam) if own else parse_statistics(arguments.ns)) for lam in arguments.ap
    ]
    attack = parse_attack(arguments)
    bench, card = open_from(arguments, arguments.n)
    started = time.monotonic()
    what: dict[str, Any] = {"target": arguments.explain, "baseline": arguments.baseline}
    with progress("attribute") as callback:
        method, n, seed = arguments.method, arguments.n, arguments.seed
        rows = list(api.shares(bench, settings, attack, method, n, seed, **what, progress=callback))
    value = {
        "checkpoint": card.name,
        "weights_sha256": card.weights_sha256,
        "data": bench.test.name,
        "split": bench.test.split,
        "data_sha256": bench.test.checksum,
        "method": method,
        **what,
        "n": n,
        "seed": seed,
        "rows": [row_json(row) for row in rows],
        "device": str(bench.device),
        "seconds": round(time.monotonic() - started, 3),
    }
    columns = ["λ of AP", "images", "inside the shape", "weighing all alike", "grating's band", "other gratings' bands"]
    title = f"{card.name}: shares of the {method} map, with 95 % bootstrap intervals"
    show(value, arguments.json, title, columns, [row_text(row) for row in rows])
