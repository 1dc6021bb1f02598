"""Image sheets as PNG bytes: rows of original, adversarial and magnified difference."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

GAP, SCALE = 2, 3


def magnified(delta: npt.NDArray[np.float32], factor: float) -> npt.NDArray[np.float32]:
    """Grey plus `factor` times the difference, clipped to [0, 1]."""
    return np.clip(0.5 + factor * delta, 0, 1)


def sheet(rows: list[npt.NDArray[np.float32]]) -> bytes:
    """PNG of equally long rows of images (n, 3, h, w) in [0, 1], enlarged without smoothing, transparent gaps."""
    n, _, height, width = rows[0].shape
    canvas = np.zeros((len(rows) * (height + GAP) - GAP, n * (width + GAP) - GAP, 4), np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = r * (height + GAP), c * (width + GAP)
            canvas[top : top + height, left : left + width, :3] = np.rint(image.transpose(1, 2, 0) * 255)
            canvas[top : top + height, left : left + width, 3] = 255
    picture = Image.fromarray(canvas)
    content = io.BytesIO()
    large = picture.resize((picture.width * SCALE, picture.height * SCALE), Image.Resampling.NEAREST)
    large.save(content, "PNG", compress_level=1)
    return content.getvalue()
