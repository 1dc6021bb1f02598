"""What the Attack page shows at once: films of one attack and the loss around the image, computed in a moment and kept.

Usage::

    side = Side(0.25, "ap@clean", card.norm_design)
    one = film(shown, side, attack, index=7)
"""

from __future__ import annotations

import io
from collections.abc import Generator, Hashable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import torch
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from app.cache import networks_at, quick_results, remember, shared
from app.charts.pictures import Floats, film_sheet, magnified, pixels, sheet
from app.components.film import FilmPayload, Pane, data_uri
from app.jobs import slot
from app.selection import setting_on
from app.shown import Shown
from engine import api

MAGNIFY, N_SURFACE, RADIUS, LAM_STEP = 8, 21, 2.0, 0.05
Filmed = api.PGD | api.APGD


@dataclass(frozen=True, slots=True)
class Side:
    """One of the networks compared: lambda on a line of settings through a design."""

    lam: float
    line: str
    design: api.NormDesign

    @property
    def setting(self) -> api.NormSetting:
        return setting_on(self.line, self.lam)

    @property
    def network(self) -> api.NormSetting:
        """The same for all settings that are the same network in this design."""
        return api.canonical(self.setting, self.design)

    @property
    def name(self) -> str:
        return f"λ = {self.lam:g}"


def distinct(sides: Sequence[Side]) -> tuple[Side, ...]:
    """One side for each network."""
    return tuple({side.network: side for side in reversed(sides)}.values())[::-1]


@contextmanager
def quick_slot(key: Hashable) -> Generator[None]:
    """The torch slot for work of a fraction of a second; says so where another visitor holds it.

    Only then: the browser goes through the whole page for every element, also for one that stays empty. Without one,
    reading the state is where Streamlit ends a run whose visitor has moved a control meanwhile.
    """
    st.session_state.get("left")
    note: DeltaGenerator | None = None

    def tell(said: str) -> None:
        nonlocal note
        note = st.empty() if note is None else note
        note.caption(said)

    with slot(tell, "film", key):
        if note is not None:
            note.empty()
        yield


def film(shown: Shown, side: Side, attack: Filmed, index: int) -> api.Film:
    """The attack on one image at one setting. InputError where the setting is impossible."""
    key = (shown.card.weights_sha256, side.network, attack, shown.image(index), "film")
    made: api.Film | None = quick_results().get(key)
    if made is not None:
        return made
    assert shown.bench is not None
    bench = shown.bench

    def make() -> api.Film:
        (image,), (label,) = bench.test.tensors(index, index + 1)
        view, craft = networks_at(bench, shown.card.weights_sha256, side.network)
        generator = api.seeded(api.SEED, index)
        return api.film(view, attack, image.to(bench.device), int(label), generator=generator, craft=craft)

    with quick_slot(key):
        return shared(key, make, quick_results())


def surface(shown: Shown, side: Side, attack: Filmed, index: int) -> api.Surface:
    """The loss around the image at one setting, along that setting's own attack."""
    key = (shown.card.weights_sha256, side.network, attack, shown.image(index), "surface")
    made: api.Surface | None = quick_results().get(key)
    if made is not None:
        return made
    assert shown.bench is not None
    bench, one = shown.bench, film(shown, side, attack, index)

    def make() -> api.Surface:
        image, last = (torch.from_numpy(one.images[at]).to(bench.device) for at in (0, -1))
        view, _ = networks_at(bench, shown.card.weights_sha256, side.network)
        generator = api.seeded(api.SEED, index)
        return api.surface(view, image, one.label, last - image, RADIUS, N_SURFACE, generator=generator)

    with quick_slot(key):
        return shared(key, make, quick_results())


def prepare_neighbours(shown: Shown, sides: Sequence[Side]) -> None:
    """Networks one slider step away: measuring NS anew takes three times as long as the attack on one image."""
    assert shown.bench is not None
    for side in sides:
        for lam in (side.lam + LAM_STEP, side.lam - LAM_STEP):
            if 0 <= lam <= 1:
                near = Side(round(lam, 2), side.line, side.design).network
                with quick_slot((shown.card.weights_sha256, near)):
                    networks_at(shown.bench, shown.card.weights_sha256, near)


def frame_names(attack: Filmed) -> list[str]:
    start = "start" if isinstance(attack, api.PGD) and not attack.random_start else "random start"
    return ["the image", start, *(f"step {step} of {attack.steps}" for step in range(1, attack.steps + 1))]


def pane(shown: Shown, side: Side, attack: Filmed, index: int) -> Pane:
    """What the film component shows of one side; the same object for the same question, encoded once."""
    key = (shown.card.weights_sha256, side, attack, shown.image(index), "pane")
    made: Pane | None = quick_results().get(key)
    if made is None:
        one = film(shown, side, attack, index)
        confidence, loss, margin = (array.round(4).tolist() for array in (one.confidence, one.loss, one.margin))
        made = Pane(side.name, confidence, loss, margin, data_uri(film_sheet(pictures(one))))
        remember(key, made, quick_results())
    return made


def payload(shown: Shown, sides: Sequence[Side], attack: Filmed, index: int) -> FilmPayload:
    """What the film component shows."""
    panes = [pane(shown, side, attack, index) for side in sides]
    assert shown.bench is not None
    test = shown.bench.test
    side, label = test.images.shape[-1], int(test.labels[index])
    return FilmPayload(panes, side, frame_names(attack), test.classes, label, MAGNIFY)


def pictures(one: api.Film) -> tuple[Floats, Floats, Floats, Floats]:
    """Frames, their differences from the image around grey, the differences' signs and spectra; each (s, 3, h, w)."""
    delta = one.images - one.images[0]
    waves = api.spectrum(delta)
    grey = (waves / max(float(waves.max()), 1e-12)) ** 0.5
    return one.images, magnified(delta, MAGNIFY), 0.5 + 0.5 * np.sign(delta), np.repeat(grey[:, None], 3, axis=1)


def still(one: api.Film, most: int = 6) -> bytes:
    """PNG: frames from the first to the last, and below them what was changed, magnified."""
    chosen = np.unique(np.linspace(0, len(one.images) - 1, most).round().astype(int))
    frames, change, *_ = pictures(one)
    return sheet([frames[chosen], change[chosen]])


def animation(films: Sequence[api.Film], scale: int = 5) -> bytes:
    """An animated GIF: a row a setting, image, difference, sign and spectrum beside each other."""
    rows = [np.concatenate(pictures(one), axis=3) for one in films]
    frames = [pixels(frame) for frame in np.concatenate(rows, axis=2)]
    large = [Image.fromarray(frame.repeat(scale, 0).repeat(scale, 1)) for frame in frames]
    content = io.BytesIO()
    large[0].save(content, "GIF", save_all=True, append_images=large[1:], duration=120, loop=0)
    return content.getvalue()


def film_table(shown: Shown, sides: Sequence[Side], attack: Filmed, index: int) -> pd.DataFrame:
    """A row a setting and frame: loss, margin and the confidence in each class."""
    assert shown.bench is not None
    about: dict[str, Any] = {"weights": shown.card.weights_sha256, "image": index, "attack": attack.label}
    rows: list[dict[str, Any]] = []
    for side in sides:
        one = film(shown, side, attack, index)
        for frame, title in enumerate(frame_names(attack)):
            numbers = {"loss": one.loss[frame], "margin": one.margin[frame]}
            shares = dict(zip(shown.bench.test.classes, one.confidence[frame], strict=True))
            rows.append({"lambda": side.lam, "frame": title} | numbers | shares | about | {"seed": api.SEED})
    return pd.DataFrame(rows).round(5)


def surface_table(sides: Sequence[Side], found: Sequence[api.Surface]) -> pd.DataFrame:
    """A row a point of the grid."""
    parts: list[pd.DataFrame] = []
    for side, one in zip(sides, found, strict=True):
        across, along = np.meshgrid(one.ticks, one.ticks, indexing="ij")
        columns = {"along_attack": along, "random_signs": across, "loss": one.loss, "margin": one.margin}
        parts.append(pd.DataFrame({"lambda": side.lam} | {name: grid.ravel() for name, grid in columns.items()}))
    return pd.concat(parts).round(5)
