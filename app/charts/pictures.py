"""Image sheets as PNG bytes: rows of pictures, with gaps for people or with repeated borders for the film."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

GAP, SCALE = 2, 3
EDGE = 1
"""Pixels that the film's tiles repeat around themselves."""
Floats = npt.NDArray[np.float32]


def magnified(delta: Floats, factor: float) -> Floats:
    """Grey plus `factor` times the difference, clipped to [0, 1]."""
    return np.clip(0.5 + factor * delta, 0, 1)


def sheet(rows: list[Floats]) -> bytes:
    """PNG of equally long rows of images (n, 3, h, w) in [0, 1], enlarged without smoothing, transparent gaps."""
    n, _, height, width = rows[0].shape
    canvas = np.zeros((len(rows) * (height + GAP) - GAP, n * (width + GAP) - GAP, 4), np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = r * (height + GAP), c * (width + GAP)
            canvas[top : top + height, left : left + width, :3] = pixels(image)
            canvas[top : top + height, left : left + width, 3] = 255
    return _png(canvas.repeat(SCALE, axis=0).repeat(SCALE, axis=1))


def film_sheet(rows: Sequence[Floats]) -> bytes:
    """PNG with a frame a column and a picture a row; every tile repeats its border, so that enlarging it is safe."""
    padded = [np.pad(row, ((0, 0), (0, 0), (EDGE, EDGE), (EDGE, EDGE)), mode="edge") for row in rows]
    return _png(pixels(np.concatenate([np.concatenate(list(row), axis=2) for row in padded], axis=1)))


def pixels(image: Floats) -> npt.NDArray[np.uint8]:
    """(3, h, w) in [0, 1] as bytes (h, w, 3)."""
    return np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)


def _png(canvas: npt.NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(canvas).save(content, "PNG", compress_level=1)
    return content.getvalue()


def enlarged(image: npt.NDArray[np.uint8], scale: int) -> bytes:
    """PNG of bytes (3, h, w), every pixel `scale` wide."""
    return _png(image.transpose(1, 2, 0).repeat(scale, axis=0).repeat(scale, axis=1))


def framed(image: npt.NDArray[np.uint8], box: tuple[float, float, float], most: int = 640) -> bytes:
    """PNG of bytes (h, w, 3), at most `most` wide and high, darkened outside the square `box` (top, left, side)."""
    small = Image.fromarray(image)
    small.thumbnail((most, most))
    canvas = np.array(small)
    scale = canvas.shape[0] / image.shape[0], canvas.shape[1] / image.shape[1]
    top, left = (int(start * by) for start, by in zip(box[:2], scale, strict=True))
    bottom, right = (math.ceil((start + box[2]) * by) for start, by in zip(box[:2], scale, strict=True))
    dark = canvas // 3
    dark[top:bottom, left:right] = canvas[top:bottom, left:right]
    return _png(dark)
