"""A figure as a file: its plots with title, caption, settings and source line inside, as PNG, SVG and PDF; rows as CSV.

Usage::

    figure = Figure("Accuracy", "n = 1,000 ...", lambda: [("", chart)])
    drawn(figure, "shapes-dual-bn, PGD-10 at 8/255", "png")      # bytes, two pixels a point
    table(figure)                                                # what the plots are drawn from

Drawn by vl-convert, without a browser. Its text is set in "Inter Figure" (app/static/figure), so that a figure is the
same on every machine: Inter's weights 400 and 600, cut by fontTools (instancer and subset) out of InterVariable.woff2
down to Latin, Greek and the signs that the pages use. Every file holds it: the SVG as such, the PDF the letters in use.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from PIL import Image, ImageFont

from engine import api

FONTS = Path(__file__).resolve().parents[1] / "static" / "figure"
FAMILY = "'Inter Figure', Inter, sans-serif"
INK, QUIET, HAIR = "#0d161b", "#4c5a61", "#cfdade"
VEGA_LITE = "6.4"
"""As Altair writes it."""
MARGIN, GAP, LINE = 28, 24, 17
NARROW, WIDE = 760, 1080
"""Width of a figure with one plot, and with several."""
Format = Literal["png", "svg", "pdf"]
Part = tuple[str, Any]
"""Title ("" for none) and what stands below it: a Vega-Lite chart, an Altair chart, or a picture as PNG bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """parts: made when they are needed, as drawing costs more than showing; rows: the table, where it is not theirs.

    wide: one plot takes the room of two.
    """

    title: str
    caption: str
    parts: Callable[[], Sequence[Part]]
    rows: Callable[[], pd.DataFrame] | None = None
    wide: bool = False

    @property
    def file_name(self) -> str:
        """'accuracy-over-lambda'."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower().replace("λ", "lambda")).strip("-")[:60]


def source_line(cards: Sequence[api.ModelCard]) -> str:
    """Who made a figure, with which networks."""
    networks = "".join(f", {card.name} (weights {card.weights_sha256[:8]})" for card in cards)
    return f"Source: Dual-BN Explorer {api.__version__}{networks}; after Zhang et al., arXiv 2403.19150"


def plain(chart: Any) -> Any:
    """An Altair chart as Vega-Lite; what is that already, or a picture, as it is."""
    return chart.to_dict() if hasattr(chart, "to_dict") else chart


def table(figure: Figure) -> pd.DataFrame | None:
    """The rows of all plots, each with its plot's title where there are several; None where there are only pictures."""
    if figure.rows is not None:
        return figure.rows()
    parts = [(title, spec) for title, chart in figure.parts() if isinstance(spec := plain(chart), dict)]
    found: list[pd.DataFrame] = []
    for title, spec in parts:
        frames = [pd.DataFrame(rows) for rows in _data(spec)]
        found += [frame.assign(plot=title) if len(parts) > 1 else frame for frame in frames if not frame.empty]
    return pd.concat(found, ignore_index=True) if found else None


def _data(spec: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Every table in a chart that has more than one row: a lone one is a rule or the zero line."""
    tables = list(spec.get("datasets", {}).values())
    tables += [part["data"]["values"] for part in (spec, *spec.get("layer", ())) if "values" in part.get("data", {})]
    return [rows for rows in tables if len(rows) > 1] or tables


def key(figure: Figure, settings: str, kind: Format) -> tuple[str, str]:
    """Equal for equal files."""
    digest = hashlib.sha256(f"{figure.title}\0{figure.caption}\0{settings}".encode())
    for title, chart in figure.parts():
        one = plain(chart)
        digest.update(title.encode() + (one if isinstance(one, bytes) else json.dumps(one, default=str).encode()))
    return kind, digest.hexdigest()


def drawn(figure: Figure, settings: str, kind: Format) -> bytes:
    """The file."""
    vl = converter()
    content = composed(figure, settings)
    if kind == "png":
        return vl.svg_to_png(content, scale=2)
    if kind == "pdf":
        return vl.svg_to_pdf(content)
    return content.replace("<style/>", f"<style>{font_faces()}</style>", 1).encode()


@cache
def converter() -> Any:
    """vl-convert, told of our typeface."""
    import vl_convert  # loads a browser's engine of 80 MB: only for who takes a figure away

    vl_convert.register_font_directory(str(FONTS))
    return vl_convert


@cache
def font_faces() -> str:
    """CSS with the typeface in it, so that a file needs no other."""
    return "".join(
        f"@font-face{{font-family:'Inter Figure';font-weight:{weight};src:url(data:font/woff2;base64,"
        f"{base64.b64encode((FONTS / f'InterFigure-{name}.woff2').read_bytes()).decode()})}}"
        for name, weight in (("Regular", 400), ("SemiBold", 600))
    )


def composed(figure: Figure, settings: str) -> str:
    """Title, plots, caption, settings and source from top to bottom, as SVG."""
    parts = figure.parts()
    columns = len(parts) if len(parts) < 4 else 2
    width = NARROW if columns == 1 and not figure.wide else WIDE
    inner = width - 2 * MARGIN
    title, y = text([figure.title], MARGIN + 6, inner, size=19, bold=True)
    lines, below = [title], y + 10
    cell = (inner - GAP * (columns - 1)) / columns
    for start in range(0, len(parts), columns):
        y, below = below, 0.0
        for column, (name, chart) in enumerate(parts[start : start + columns]):
            left = MARGIN + column * (cell + GAP)
            head, top = text([name], y, cell, size=14, bold=True, left=left) if name else ("", y)
            content, height = _plot(plain(chart), cell)
            lines += [head, f'<g transform="translate({left:g} {top:g})">{content}</g>']
            below = max(below, top + height + GAP / 2)
    lines.append(f'<path d="M{MARGIN} {below:g}h{inner:g}" stroke="{HAIR}"/>')
    for words, size, colour in ((figure.caption, 13, INK), (settings, 13, QUIET)):
        content, below = text(words.split("\n"), below + 8, inner, size=size, colour=colour)
        lines.append(content)
    height = math.ceil(below + MARGIN / 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" role="img"><title>{escape(figure.title)}</title><style/>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(lines)}</svg>'
    )


def _plot(chart: Any, width: float) -> tuple[str, float]:
    """SVG of one part and its height; no two share a name, as vl-convert numbers those of all its SVG through."""
    if isinstance(chart, bytes):
        with Image.open(io.BytesIO(chart)) as picture:
            height = width * picture.height / picture.width
        data = base64.b64encode(chart).decode()
        style = 'style="image-rendering:pixelated"'
        return f'<image width="{width:g}" height="{height:g}" {style} href="data:image/png;base64,{data}"/>', height
    spec = {key: value for key, value in chart.items() if key != "title"}
    spec |= {"width": int(width), "autosize": {"type": "fit", "contains": "padding"}}
    # No base address: a chart has its data with it, and may not fetch any.
    options: dict[str, Any] = {"vl_version": VEGA_LITE, "config": CONFIG, "allowed_base_urls": []}
    whole = converter().vegalite_to_svg(spec, **options)
    head, _, content = whole.partition(">")
    height = float(re.search(r'height="([\d.]+)"', head)[1])  # type: ignore[index]
    return content.rpartition("</svg>")[0], height


def text(
    paragraphs: Sequence[str],
    top: float,
    width: float,
    *,
    size: int,
    bold: bool = False,
    colour: str = INK,
    left: float = MARGIN,
) -> tuple[str, float]:
    """Lines of text no wider than `width`, and where they end."""
    lines = [line for paragraph in paragraphs for line in wrapped(paragraph, width, size, bold)]
    step = LINE * size / 12.5
    spans = "".join(
        f'<tspan x="{left:g}" y="{top + step * (row + 0.8):.1f}">{escape(line)} </tspan>'
        for row, line in enumerate(lines)
    )
    style = f'font-family="{FAMILY}" font-size="{size}" font-weight="{600 if bold else 400}" fill="{colour}"'
    return f"<text {style}>{spans}</text>", top + step * len(lines)


def wrapped(words: str, width: float, size: int, bold: bool = False) -> list[str]:
    """Lines, broken at spaces."""
    font = _font(size, bold)
    lines = [""]
    for word in words.replace(" %", "\u00a0%").split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [line for line in lines if line]


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / f"InterFigure-{'SemiBold' if bold else 'Regular'}.ttf", size)


_AXIS = {
    "labelColor": QUIET, "titleColor": INK, "gridColor": "#e6ecee", "domainColor": "#8a98a0", "tickColor": "#8a98a0",
    "labelFontSize": 12, "titleFontSize": 12.5, "titleFontWeight": 400, "titlePadding": 8,
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "font": FAMILY,
    "background": "#ffffff",
    "view": {"stroke": None},
    "axis": _AXIS,
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 600},
    "text": {"color": INK},
    "range": {"category": ["#0b7285", "#d9580d", "#3f5fb0", "#b23a7f", "#7a6a00", "#6b4fb3"]},
}
