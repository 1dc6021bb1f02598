"""The engine calls behind a page, as a script that runs as it stands from the project's folder.

Usage::

    curve_code(shown, "ap@clean", attack, stops, n=1000)     # prints what Explore draws
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from app.shown import Shown
from engine import api


def source(value: Any) -> str:
    """A frozen value of the engine as the expression that makes it; what is at its default is left out."""
    if isinstance(value, float):
        levels = round(255 * value)
        return f"{levels} / 255" if len(repr(value)) > 6 and levels / 255 == value else repr(value)
    if isinstance(value, tuple):
        return f"({''.join(f'{source(item)}, ' for item in value).rstrip()})"
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    given: list[str] = []
    for one in fields(value):
        now = getattr(value, one.name)
        if one.init and (one.default is MISSING or now != one.default):
            given.append(f"{one.name}={source(now)}")
    return f"api.{type(value).__name__}({', '.join(given)})"


def opening(shown: Shown, what: str, n: int) -> str:
    """The network and its images, and a check that they are those of the figure."""
    unofficial = ", allow_unofficial=True" if shown.bench is not None and shown.bench.test.note else ""
    return f'''"""{what} Run it from the project's folder."""

from engine import api

bench, card = api.open_bench("{shown.card.name}", api.pick_device("auto"), n={n}{unofficial})
assert card.weights_sha256.startswith("{shown.card.weights_sha256[:16]}"), "These weights have changed since."
'''


def curve_code(shown: Shown, line: str, attack: api.PGD | None, lams: Sequence[float], n: int) -> str:
    """Accuracy at every lambda of a curve; leaves `records`: (lambda, attack) -> record."""
    attacks = f"(None, {source(attack)})" if attack else "(None,)"
    return (
        opening(shown, "Accuracy over lambda; the whole curve takes minutes, one lambda seconds.", n)
        + f"""lams = [{", ".join(f"{lam:g}" for lam in lams)}]
attacks = {attacks}
records = {{}}
for lam in lams:
    setting = api.LINES["{line}"](lam)
    for attack, record in zip(attacks, bench.evaluate_many(setting, attacks, n={n}, seed={api.SEED})):
        records[lam, attack] = record
        found = record.interval
        print(f"lambda {{lam:.2f}}", "robust" if attack else "clean", f"{{found.value:.1%}}",
              f"[{{found.low:.1%}}, {{found.high:.1%}}]", f"n = {{record.n}}")
"""
    )


def film_code(shown: Shown, settings: Sequence[api.NormSetting], attack: api.PGD | api.APGD, index: int) -> str:
    """One attack on one image, step by step; leaves `films`, one a setting."""
    return (
        opening(shown, "One attack on one image, step by step.", index + 1)
        + f"""settings = {source(tuple(settings))}
attack = {source(attack)}
(image,), (label,) = bench.test.tensors({index}, {index + 1})
films = []
for setting in settings:
    view = bench.view(setting)
    film = api.film(view, attack, image.to(bench.device), int(label), generator=api.seeded({api.SEED}, {index}))
    films.append(film)
    print(setting)
    for frame, (loss, margin) in enumerate(zip(film.loss, film.margin)):
        answer = card.classes[film.confidence[frame].argmax()]
        print(f"  frame {{frame:2}}: loss {{loss:.3f}}, margin {{margin:+.3f}}, {{answer}}")
"""
    )


def gaps_code(shown: Shown, setting: api.NormSetting, attack: api.PGD, n: int, group: int) -> str:
    """Statistics of clean and attacked images through one network; leaves `gaps`, one a layer."""
    return (
        opening(shown, "How far attacked images lie from clean ones in every norm layer, at equal AP.", n)
        + f"""attack = {source(attack)}
view = bench.view({source(setting)})
craft = api.crafting_network(view)
clean, attacked = [], []
for start in range(0, {n}, {group}):
    images, labels = (part.to(bench.device) for part in bench.test.tensors(start, start + {group}))
    clean.append(images)
    attacked.append(attack(craft, images, labels, generator=api.seeded({api.SEED}, start)))
gaps = api.statistics_gaps(api.measure(view, clean), api.measure(view, attacked))
for gap in gaps:
    print(f"{{gap.layer:24}} mean {{gap.mean:.4f}} deviations, log ratio {{gap.sigma:.4f}}, W1 {{gap.w1_mean:.4f}}")
"""
    )
