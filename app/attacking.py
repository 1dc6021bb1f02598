"""What the Attack page computes: films, surfaces, curves and transfer matrices, each for a frozen request and kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import streamlit as st
import torch
from PIL import Image

from app.cache import networks_at, remember, results
from app.components.film import FilmPayload, Pane, data_uri
from app.jobs import WAITING, slot
from app.payload import Shown
from engine import api

Floats = npt.NDArray[np.float32]
MAGNIFY, EDGE, N_SURFACE, RADIUS = 8, 1, 21, 2.0
N_CURVE, LEVELS, STEP_COUNTS = 200, (0, 1, 2, 4, 6, 8, 12, 16, 24, 32), (1, 2, 5, 10, 20, 40)
N_QUERIES, N_DISTANCE, FARTHEST = 500, 64, 32
CORNERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Shot:
    """One image and one attack at some settings, usually two: what film, surface and exports show."""

    weights_sha256: str
    settings: tuple[api.NormSetting, ...]
    attack: api.PGD
    index: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A figure that is computed on a click."""

    weights_sha256: str
    kind: str
    settings: tuple[api.NormSetting, ...]
    attack: api.PGD


@contextmanager
def quick_slot() -> Generator[None]:
    """The torch slot for work of a fraction of a second; says so where another visitor holds it."""
    note = st.empty()
    with slot(lambda: note.caption(WAITING)):
        yield
    note.empty()


def films(shown: Shown, shot: Shot) -> tuple[api.Film, ...]:
    """The attack at both settings, from the same start. InputError where a setting is impossible."""
    return tuple(_one_film(shown, replace(shot, settings=(setting,))) for setting in shot.settings)


def surfaces(shown: Shown, shot: Shot) -> tuple[api.Surface, ...]:
    """The loss around the image at both settings, along each setting's own attack."""
    return tuple(_one_surface(shown, replace(shot, settings=(setting,))) for setting in shot.settings)


def _one_film(shown: Shown, shot: Shot) -> api.Film:
    key = (shot, "film")
    made: api.Film | None = results().get(key)
    if made is None:
        assert shown.bench is not None
        image = torch.from_numpy(shown.bench.test.images[shot.index]).to(shown.bench.device, torch.float32) / 255
        label = int(shown.bench.test.labels[shot.index])
        generator = api.seeded(api.SEED, shot.index)
        with quick_slot():
            view, craft = networks_at(shown.bench, shot.weights_sha256, shot.settings[0])
            made = api.film(view, shot.attack, image, label, generator=generator, craft=craft)
        remember(key, made)
    return made


def _one_surface(shown: Shown, shot: Shot) -> api.Surface:
    key = (shot, "surface")
    made: api.Surface | None = results().get(key)
    if made is None:
        assert shown.bench is not None
        one = _one_film(shown, shot)
        image, last = (torch.from_numpy(one.images[at]).to(shown.bench.device) for at in (0, -1))
        generator = api.seeded(api.SEED, shot.index)
        with quick_slot():
            view, _ = networks_at(shown.bench, shot.weights_sha256, shot.settings[0])
            made = api.surface(view, image, one.label, last - image, RADIUS, N_SURFACE, generator=generator)
        remember(key, made)
    return made


Progress = Callable[[int, int], None]


def over_eps(bench: api.Bench, asked: Asked, progress: Progress) -> list[tuple[float, str, api.EvalRecord]]:
    """(eps in 1/255, setting, record) on the first images, the attack's step size growing with eps."""
    rows: list[tuple[float, str, api.EvalRecord]] = []
    total = len(asked.settings) * len(LEVELS)
    for setting in asked.settings:
        attacks: list[api.PGD | None] = []
        for level in LEVELS:
            eps = level / 255
            share = asked.attack.step_size / asked.attack.threat.eps
            counting = replace(asked.attack, step_size=share * eps, stop="success") if level else None
            attacks.append(replace(counting, threat=api.ThreatModel("Linf", eps)) if counting else None)
        for level, record in zip(LEVELS, bench.evaluate_many(setting, attacks, N_CURVE, api.SEED), strict=True):
            rows.append((level, name(setting), record))
            progress(len(rows), total)
    return rows


def over_steps(bench: api.Bench, asked: Asked, progress: Progress) -> list[tuple[float, str, api.EvalRecord]]:
    """(steps, setting, record): does a longer attack find more? Step size as chosen."""
    rows: list[tuple[float, str, api.EvalRecord]] = []
    for setting in asked.settings:
        attacks: list[api.PGD | None] = [replace(asked.attack, steps=steps, stop="success") for steps in STEP_COUNTS]
        for steps, record in zip(STEP_COUNTS, bench.evaluate_many(setting, attacks, N_CURVE, api.SEED), strict=True):
            rows.append((steps, name(setting), record))
            progress(len(rows), len(asked.settings) * len(STEP_COUNTS))
    return rows


def matrix(bench: api.Bench, asked: Asked, progress: Progress) -> list[api.Transfer]:
    """Crafted at each setting, judged at all of them."""
    return list(api.transfer(bench, asked.settings, asked.attack, N_CURVE, api.SEED, progress))


def doubts(bench: api.Bench, asked: Asked, progress: Progress) -> list[api.Flag]:
    """Checks of the attack at the last setting; transfer from the others."""
    *others, setting = asked.settings
    black_box = api.Square(asked.attack.threat, N_QUERIES, stop="success")
    return list(api.suspicions(bench, setting, asked.attack, N_CURVE, api.SEED, others, black_box, progress))


def distances(bench: api.Bench, asked: Asked, progress: Progress) -> list[tuple[str, float]]:
    """(setting, smallest eps in 1/255) of each image that the attack fools within 32/255; infinite for the others."""
    attack = replace(
        asked.attack, threat=api.ThreatModel("Linf", FARTHEST / 255), step_size=FARTHEST / 255 / 4, stop="success"
    )
    rows: list[tuple[str, float]] = []
    for done, setting in enumerate(asked.settings):
        craft = api.crafting_network(bench.view(setting))
        images, labels = (tensor.to(bench.device) for tensor in bench.test.tensors(0, N_DISTANCE))

        def within(step: int, total: int, before: int = done) -> None:
            progress(before * total + step, len(asked.settings) * total)

        generator = api.seeded(api.SEED, 0)
        found = api.minimal_eps(attack, craft, images, labels, generator=generator, progress=within)
        rows += [(name(setting), 255 * eps) for eps in found.eps.tolist()]
    return rows


def name(setting: api.NormSetting) -> str:
    return f"λ = {setting.affine:g}"


def frame_names(attack: api.PGD) -> list[str]:
    start = ["random start"] if attack.random_start else ["start"]
    return ["the image", *start, *(f"step {step} of {attack.steps}" for step in range(1, attack.steps + 1))]


def payload(shots: tuple[api.Film, ...], shot: Shot, classes: tuple[str, ...]) -> FilmPayload:
    """What the film component shows."""
    panes = [
        Pane(name(setting), *(array.round(4).tolist() for array in (one.confidence, one.loss, one.margin)))
        for setting, one in zip(shot.settings, shots, strict=True)
    ]
    rows = [row for one in shots for row in pictures(one)]
    side = shots[0].images.shape[-1]
    return FilmPayload(panes, data_uri(sheet(rows)), side, frame_names(shot.attack), classes, shots[0].label, MAGNIFY)


def pictures(one: api.Film) -> tuple[Floats, Floats, Floats]:
    """Frames, their differences from the image around grey, and the differences' spectra; each (s, 3, h, w)."""
    delta = one.images - one.images[0]
    waves = api.spectrum(delta)
    grey = (waves / max(float(waves.max()), 1e-12)) ** 0.5
    return one.images, np.clip(0.5 + MAGNIFY * delta, 0, 1), np.repeat(grey[:, None], 3, axis=1)


def sheet(rows: list[Floats]) -> bytes:
    """PNG with a frame a column and a picture a row; every tile repeats its border once."""
    padded = [np.pad(row, ((0, 0), (0, 0), (EDGE, EDGE), (EDGE, EDGE)), mode="edge") for row in rows]
    whole = np.concatenate([np.concatenate(list(row), axis=2) for row in padded], axis=1)
    content = io.BytesIO()
    Image.fromarray(np.rint(whole.transpose(1, 2, 0) * 255).astype(np.uint8)).save(content, "PNG", compress_level=1)
    return content.getvalue()


def animation(shots: tuple[api.Film, ...], scale: int = 5) -> bytes:
    """An animated GIF: a row a setting, image, difference and spectrum beside each other."""
    rows = [np.concatenate(pictures(one), axis=3) for one in shots]
    frames = (np.concatenate(rows, axis=2).transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)
    large = [Image.fromarray(frame.repeat(scale, 0).repeat(scale, 1)) for frame in frames]
    content = io.BytesIO()
    large[0].save(content, "GIF", save_all=True, append_images=large[1:], duration=120, loop=0)
    return content.getvalue()


def table(shots: tuple[api.Film, ...], shot: Shot, classes: tuple[str, ...]) -> str:
    """CSV: a row a setting and frame."""
    lines = [",".join(["lambda", "frame", "loss", "margin", *classes])]
    for setting, one in zip(shot.settings, shots, strict=True):
        for frame, title in enumerate(frame_names(shot.attack)):
            values = (one.loss[frame], one.margin[frame], *one.confidence[frame])
            lines.append(",".join([f"{setting.affine:g}", title, *(f"{value:.5f}" for value in values)]))
    return "\n".join(lines) + "\n"
