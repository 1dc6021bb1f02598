"""What a network says of a visitor's picture along lambda.

Usage::

    own = shown_with(shown, pixels, label=3)            # a checkpoint whose only test image is this picture
    found = answers(own, "ap@own")                      # softmax (stops, classes)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st
import torch

from app.cache import quick_results, remember, view_at
from app.jobs import slot
from app.selection import setting_on
from app.shown import Shown
from engine import api

STOPS = tuple(round(0.1 * i, 1) for i in range(11))
Floats = npt.NDArray[np.float32]


def shown_with(shown: Shown, pixels: npt.NDArray[np.uint8], label: int) -> Shown:
    """The checkpoint with pixels (3, h, w) as its only test image, of that class; calibration images as they are.

    Films and maps are made of it like of any image; results are kept by the picture's checksum.
    """
    images, labels = pixels[None], np.array([label], np.int64)
    test = api.ImageSet(
        "your picture", "test", images, labels, shown.card.classes, api.checksum(images, labels)
    )  # fmt: skip
    calibration = None if shown.bench is None else shown.bench.calibration
    return replace(shown, bench=api.Bench(shown.model, test, calibration))


def answers(own: Shown, line: str) -> Floats:
    """Probability (stops, classes) of every class at every one of STOPS. InputError where the line is impossible."""
    key = (own.card.weights_sha256, own.image(0), line, "answers")
    made: Floats | None = quick_results().get(key)
    if made is not None:
        return made
    bench = own.bench
    assert bench is not None
    image = bench.test.tensors(0, 1)[0].to(bench.device)
    rows: list[torch.Tensor] = []
    note = st.empty()
    with st.spinner("Asking the network ..."), slot(note.caption):
        for lam in STOPS:
            setting = api.canonical(setting_on(line, lam), own.card.norm_design)
            with torch.no_grad():
                rows.append(view_at(bench, own.card.weights_sha256, setting)(image).float().softmax(1)[0].cpu())
    note.empty()
    made = torch.stack(rows).numpy()
    remember(key, made, quick_results())
    return made


def table(own: Shown, found: Floats, line: str) -> pd.DataFrame:
    """A row a lambda: the probability of every class, and of what this is true."""
    rows = pd.DataFrame(found, columns=list(own.card.classes)).round(5)
    rows.insert(0, "lambda", STOPS)
    return rows.assign(line=line, weights=own.card.weights_sha256)
