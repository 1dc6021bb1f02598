"""The live card: the shown images attacked anew, white-box, at exactly the setting of the sliders."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st
import torch

from app.cache import Networks, networks_at, results, shared
from app.charts.pictures import magnified, sheet
from app.controls import hideable
from app.jobs import slot
from app.shown import Shown
from app.takeaway.tray import offer
from app.words import word
from engine import api


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """What the card computes; also the key its result is kept under."""

    weights_sha256: str
    setting: api.NormSetting
    attack: api.PGD
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LiveResult:
    """Original and adversarial images (n, 3, h, w), and for each its predicted class and confidence (n,)."""

    original: npt.NDArray[np.float32]
    adversarial: npt.NDArray[np.float32]
    clean: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
    attacked: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
    seconds: float


def compute(bench: api.Bench, networks: Networks, request: LiveRequest) -> LiveResult:
    """Attacks the networks of the request's setting (see `networks_at`) and judges there."""
    started = time.monotonic()
    view, craft = networks
    chosen = list(request.indices)
    images = torch.from_numpy(bench.test.images[chosen]).to(bench.device, torch.float32) / 255
    labels = torch.from_numpy(bench.test.labels[chosen]).to(bench.device)
    generator = api.seeded(api.SEED, 0)
    adversarial = request.attack(craft, images, labels, generator=generator)
    with torch.no_grad():
        verdicts = [view(x).softmax(1).max(1) for x in (images, adversarial)]
    clean, attacked = ((v.indices.cpu().numpy(), v.values.cpu().numpy()) for v in verdicts)
    seconds = time.monotonic() - started
    return LiveResult(images.cpu().numpy(), adversarial.cpu().numpy(), clean, attacked, seconds)


SOURCES = ("re-estimated", "stored")


@st.fragment
def live_card(shown: Shown, start: api.NormSetting, indices: tuple[int, ...], pinned: int, magnify: int) -> None:
    """Sliders for NS, eps and steps; the result follows when one is let go."""
    st.subheader("Attack it live")
    st.caption(
        f"The same images, attacked now, through the network at λ(AP) = {start.affine:g} and the statistics set here. "
        "Nothing is precomputed; λ below 0 and above 1 extrapolates."
    )
    assert shown.bench is not None
    stored = isinstance(start.statistics, api.Stored)
    row = hideable(st.grid(4, min_column_width=200))
    source = row.segmented_control(
        "Statistics (NS)", SOURCES, default="stored" if stored else "re-estimated", key=f"live_source_{stored}",
        required=True, help=word("NS", "Stored NS", "Re-estimated NS"),
    )  # fmt: skip
    lam = start.statistics.lam if isinstance(start.statistics, api.Stored) else round(start.affine, 2)
    ns = row.slider(
        "λ of the stored NS", -0.5, 1.5, lam, 0.05, key=f"live_ns_{lam:g}", disabled=source != "stored", help=word("λ")
    )
    level = row.slider("eps, in 1/255", 1, 32, 8, key="live_eps", bind="query-params", help=word("eps"))
    steps = row.slider("PGD steps", 1, 50, 10, key="live_steps", bind="query-params", help=word("PGD"))
    statistics = api.Stored(ns) if source == "stored" else api.Reestimated("clean")
    eps = level / 255
    attack = api.PGD(api.ThreatModel("Linf", eps), steps, max(eps / 4, eps / steps))
    setting = api.NormSetting(start.affine, statistics)
    request = LiveRequest(shown.card.weights_sha256, setting, attack, indices)
    result = results().get(request)
    if result is None:
        note = st.empty()
        try:
            bench, weights = shown.bench, shown.card.weights_sha256
            with slot(note.caption, "live", request):
                result = shared(request, lambda: compute(bench, networks_at(bench, weights, setting), request))
        except api.InputError as error:
            note.warning(str(error))
            return
    _draw(shown.bench, request, result, pinned, magnify)


def _draw(bench: api.Bench, request: LiveRequest, result: LiveResult, pinned: int, magnify: int) -> None:
    """Pictures, verdicts and figures; all made before the first is sent, so that the browser draws them at once."""
    classes, labels = bench.test.classes, bench.test.labels[list(request.indices)]
    delta = result.adversarial - result.original
    picture = sheet([result.original, result.adversarial, magnified(delta, magnify)])
    fooled = sum(int(p != t) for p, t in zip(result.attacked[0], labels, strict=True))
    table = ["| image | clean | attacked |", "|---|---|---|"]
    for i, label in enumerate(labels):
        cells = [
            f"{'✓' if predicted[i] == label else '✗'} {classes[predicted[i]]} {100 * confidence[i]:.0f}\u00a0%"
            for predicted, confidence in (result.clean, result.attacked)
        ]
        table.append(
            f"| {f'**{classes[label]}** (pinned)' if i == pinned else classes[label]} | {cells[0]} | {cells[1]} |"
        )
    left, right = st.columns([3, 2], gap="large")
    note = (
        f"{request.attack.label}, step {request.attack.step_size * 255:.2f}/255, random start, seed {api.SEED}, "
        f"white-box · computed in {1000 * result.seconds:.0f} ms · largest difference "
        f"{255 * float(np.abs(delta).max()):.2f}/255"
    )
    offer(
        "The images, attacked live",
        f"Original, adversarial, difference × {magnify}; {fooled} of {len(labels)} images fool the network. {note} · "
        f"{request.setting} · weights {request.weights_sha256[:8]} · {len(labels)} images, no interval",
        lambda: [("", picture)],
        lambda: rows(request, result, classes, labels),
    )
    left.image(
        picture,
        width="stretch",
        alt="The images, their adversarial versions and magnified differences; the table says what each is taken for",
        caption=f"Original · adversarial · difference × {magnify}. {fooled} of {len(labels)} images fool the network.",
    )
    right.markdown("\n".join(table))
    st.caption(note)


def rows(
    request: LiveRequest, result: LiveResult, classes: tuple[str, ...], labels: npt.NDArray[np.int64]
) -> pd.DataFrame:
    """A row an image: what it is, and what it is taken for before and after the attack."""
    columns: dict[str, object] = {"image": request.indices, "true": [classes[label] for label in labels]}
    for name, (predicted, confidence) in (("clean", result.clean), ("attacked", result.attacked)):
        columns |= {name: [classes[one] for one in predicted], f"{name}_confidence": confidence}
    about = {"attack": request.attack.label, "seed": api.SEED, "weights": request.weights_sha256}
    return pd.DataFrame(columns | about)
