"""Signed heat maps beside their images, their colour legend, and shares over lambda."""

from __future__ import annotations

import io
from collections.abc import Sequence

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from engine import api

Floats = npt.NDArray[np.float32]
SCALE, GAP = 10, 16
# Against, nothing, for. Purple and green, told apart by every kind of colour vision; teal and orange mean the branches.
LIGHT = ("#6d2a92", "#f4f5f3", "#20732a")
DARK = ("#cf9bf2", "#1f2a31", "#86dd8c")
COLOURS = ["#1b8ea3", "#e0681f"]
IMAGES = ("clean images", "attacked images")


def palette(dark: bool) -> npt.NDArray[np.float64]:
    """(3, 3): the colours of -1, 0 and 1."""
    names = DARK if dark else LIGHT
    return np.array([[int(name[i : i + 2], 16) for i in (1, 3, 5)] for name in names], np.float64)


def colours(values: npt.NDArray[np.floating], limit: float, dark: bool) -> npt.NDArray[np.uint8]:
    """(..., 3): mixed linearly from the middle to either end, which stands for `limit` and beyond."""
    against, nothing, speaks = palette(dark)
    share = np.clip(values / limit, -1, 1)[..., None]
    mixed = nothing + np.maximum(share, 0) * (speaks - nothing) + np.maximum(-share, 0) * (against - nothing)
    return np.rint(mixed).astype(np.uint8)


def picture(
    image: Floats, values: Floats, limit: float, dark: bool, mask: npt.NDArray[np.bool_] | None = None
) -> bytes:
    """PNG of an image (3, h, w) and its map (h, w) beside it, enlarged without smoothing; the mask as an outline."""
    left = np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)
    tiles = [tile.repeat(SCALE, 0).repeat(SCALE, 1) for tile in (left, colours(values, limit, dark))]
    if mask is not None:
        tiles[1][_outline(mask.repeat(SCALE, 0).repeat(SCALE, 1))] = (230, 237, 240) if dark else (13, 22, 27)
    height, width = tiles[0].shape[:2]
    canvas = np.zeros((height, 2 * width + GAP, 4), np.uint8)
    for tile, start in zip(tiles, (0, width + GAP), strict=True):
        canvas[:, start : start + width, :3] = tile
        canvas[:, start : start + width, 3] = 255
    content = io.BytesIO()
    Image.fromarray(canvas).save(content, "PNG", compress_level=1)
    return content.getvalue()


def _outline(mask: npt.NDArray[np.bool_], thickness: int = 2) -> npt.NDArray[np.bool_]:
    """The pixels of a mask that lie at most `thickness` from its edge."""
    inner = np.pad(mask, 1, constant_values=True)
    for _ in range(thickness):
        core = inner.copy()
        for axis in (0, 1):
            for step in (1, -1):
                core &= np.roll(inner, step, axis)
        inner = core
    return mask & ~inner[1:-1, 1:-1]


def legend(dark: bool) -> bytes:
    """PNG: a strip of the maps' colours, from full against on the left to full for on the right."""
    strip = colours(np.linspace(-1, 1, 900), 1.0, dark)[None].repeat(18, 0)
    content = io.BytesIO()
    Image.fromarray(strip).save(content, "PNG")
    return content.getvalue()


QUANTITIES = {
    "shape": {"this network": "inside", "one that weighs all pixels alike": "even"},
    "grating": {"the image's own grating": "band", "gratings it does not carry": "elsewhere"},
}
"""Chart -> line -> field of `Shares`: what is measured, then what it is compared with."""


def share_rows(found: Sequence[api.Shares], quantity: str) -> pd.DataFrame:
    """One row a lambda, kind of images, and measured or compared; percent with its 95 % interval."""
    rows: list[dict[str, object]] = []
    for one in found:
        for kind, field in QUANTITIES[quantity].items():
            values = getattr(one, field)
            if values is None:
                continue
            i = one.interval(values)
            rows.append({
                "lam": one.setting.affine, "images": IMAGES[one.attack is not None], "kind": kind,
                "share": 100 * i.value, "low": 100 * i.low, "high": 100 * i.high, "n": i.n,
            })  # fmt: skip
    return pd.DataFrame(rows)


def share_chart(rows: pd.DataFrame, title: str) -> alt.LayerChart | alt.FacetChart:
    """Shares over lambda with their bands; what they are compared with is dashed."""
    kinds = list(dict.fromkeys(rows["kind"]))
    lams = alt.Axis(values=sorted(set(rows["lam"])), format=".3~g", grid=False)
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1)
    scale = alt.Scale(domain=[0, min(100.0, 1.1 * max(rows["high"]))])
    base = alt.Chart(rows).encode(
        x=alt.X("lam:Q", title="λ of the AP: clean → adversarial", axis=lams),
        color=alt.Color(
            "images:N", scale=alt.Scale(domain=list(IMAGES), range=COLOURS), legend=legend,
        ),
    )  # fmt: skip
    measured = base.transform_filter(alt.datum.kind == kinds[0])
    band = measured.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    y = alt.Y("share:Q", title=title, scale=scale)
    line = base.mark_line().encode(
        y=y,
        strokeDash=alt.StrokeDash(
            "kind:N", scale=alt.Scale(domain=kinds, range=[[1, 0], [3, 4]]), legend=None,
        ),
    )  # fmt: skip
    dots = base.mark_point(filled=True, size=50).encode(
        y=y,
        shape=alt.Shape("images:N", scale=alt.Scale(domain=list(IMAGES), range=["circle", "diamond"]), legend=legend),
        opacity=alt.condition(alt.datum.kind == kinds[0], alt.value(1), alt.value(0)),
        tooltip=[
            alt.Tooltip("images:N"), alt.Tooltip("kind:N", title="of"), alt.Tooltip("lam:Q", title="λ"),
            alt.Tooltip("share:Q", format=".1f", title="share, %"),
            alt.Tooltip("low:Q", format=".1f", title="95 % from"), alt.Tooltip("high:Q", format=".1f", title="to"),
            alt.Tooltip("n:Q"),
        ],
    )  # fmt: skip
    return alt.layer(band, line, dots).properties(height=320)
