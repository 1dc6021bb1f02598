"""Built-in data: ten classes of shapes, each image also carrying a weak grating whose class we know.

The shape is a robust feature, the grating (below 8/255) a non-robust one, and the truth about both is at hand.

Usage::

    data = load("test", 1000)                       # ImageSet
    truth = generate("test", 1000)                  # also masks and the classes of the gratings

Images are drawn in blocks of BLOCK from the seeds (version, split, block), so the first n are the same for every n and
on every machine. Distances are signed: negative inside the shape, in units of its radius.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.data.base import ImageSet, checksum
from engine.values import InputError

Array = npt.NDArray[np.float64]
ShapesSplit = Literal["train", "test"]
SIDE, BLOCK, VERSION = 32, 500, 1
LENGTHS = {"train": 40_000, "test": 10_000}


@dataclass(frozen=True, slots=True)
class ShapesParameters:
    """Ranges the generator draws from. Levels are 8-bit, contrasts fractions of full scale, sizes pixels."""

    cue_levels: float = 4.0
    cue_agreement: float = 0.7
    contrast: tuple[float, float] = (0.1, 0.7)
    radius: tuple[float, float] = (7.5, 11.0)
    background: float = 0.06
    noise: float = 0.02


PARAMETERS = ShapesParameters()


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """images uint8 (n, 3, 32, 32); labels int64 (n,); masks bool (n, 32, 32), true on the shape; cues int64 (n,): the
    class whose grating the image carries, equal to the label in a share `cue_agreement` of images."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_]
    cues: npt.NDArray[np.int64]


def _disc(x: Array, y: Array, cx: float, cy: float, radius: float) -> Array:
    return np.hypot(x - cx, y - cy) - radius


def _box(x: Array, y: Array, half_x: float, half_y: float) -> Array:
    dx, dy = np.abs(x) - half_x, np.abs(y) - half_y
    return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)


def _polygon(x: Array, y: Array, radii: tuple[float, ...]) -> Array:
    """Signed distance to the closed polygon whose i-th corner lies at that radius and at the angle 2 pi i / corners."""
    angles = 2 * np.pi * np.arange(len(radii)) / len(radii)
    corners = np.stack([np.array(radii) * np.cos(angles), np.array(radii) * np.sin(angles)], axis=1)
    distance = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ex, ey, wx, wy = bx - ax, by - ay, x - ax, y - ay
        along = np.clip((wx * ex + wy * ey) / (ex * ex + ey * ey), 0, 1)
        distance = np.minimum(distance, np.hypot(wx - along * ex, wy - along * ey))
        crosses = (ay > y) != (by > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < ex * (y - ay) / ey + ax)
    return np.where(inside, -distance, distance)


def _heart(x: Array, y: Array) -> Array:
    """A square on its corner with a disc on each of its two upper sides."""
    u, v = (x + y - 0.15) / np.sqrt(2), (y - x - 0.15) / np.sqrt(2)
    lobes = np.minimum(_disc(u, v, -0.5, 0, 0.5), _disc(u, v, 0, -0.5, 0.5))
    return np.minimum(_box(u, v, 0.5, 0.5), lobes)


SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": lambda x, y: _disc(x, y, 0, 0, 0.85),
    "ring": lambda x, y: np.abs(_disc(x, y, 0, 0, 0.72)) - 0.24,
    "square": lambda x, y: _box(x, y, 0.75, 0.75),
    "triangle": lambda x, y: _polygon(x, y, (1.1, 1.1, 1.1)),
    "star": lambda x, y: _polygon(x, y, (1.15, 0.46) * 5),
    "cross": lambda x, y: np.minimum(_box(x, y, 1.0, 0.28), _box(x, y, 0.28, 1.0)),
    "crescent": lambda x, y: np.maximum(_disc(x, y, 0.1, 0, 0.95), -_disc(x, y, 0.55, 0, 0.75)),
    "heart": _heart,
    "bar": lambda x, y: _box(x, y, 1.05, 0.28),
    "dots": lambda x, y: np.minimum(_disc(x, y, -0.62, 0, 0.42), _disc(x, y, 0.62, 0, 0.42)),
}
CLASSES = tuple(SHAPES)


def _polar(cue: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Direction in radians and spatial frequency in cycles per pixel of these classes' gratings, each (n,)."""
    return np.pi * cue / len(CLASSES), np.where(cue % 2, 0.3, 0.2)


def wave_vectors(cue: npt.NDArray[np.int64]) -> Array:
    """Cycles per pixel, down and to the right, of these classes' gratings: (n, 2)."""
    angle, frequency = _polar(cue)
    return np.stack([frequency * np.sin(angle), frequency * np.cos(angle)], axis=1)


def grating(cue: npt.NDArray[np.int64], phase: Array) -> Array:
    """The gratings of these classes, (n, 32, 32), amplitude 1: ten directions, two spatial frequencies."""
    angle, frequency = _polar(cue)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    along = np.cos(angle)[:, None, None] * columns + np.sin(angle)[:, None, None] * rows
    return np.cos(2 * np.pi * frequency[:, None, None] * along + phase[:, None, None])


def _coverage(labels: npt.NDArray[np.int64], rng: np.random.Generator, parameters: ShapesParameters) -> Array:
    """Share of each pixel that the shape covers, (n, 32, 32): place, size and rotation are drawn here."""
    n = len(labels)
    radius, angle = rng.uniform(*parameters.radius, n), rng.uniform(0, 2 * np.pi, n)
    reach = SIDE / 2 - 1 - radius
    centre = SIDE / 2 - 0.5 + rng.uniform(-1, 1, (2, n)) * reach
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    dy, dx = rows - centre[0][:, None, None], columns - centre[1][:, None, None]
    cos, sin, scale = (v[:, None, None] for v in (np.cos(angle), np.sin(angle), radius))
    x, y = (cos * dx + sin * dy) / scale, (cos * dy - sin * dx) / scale
    distance = np.empty(x.shape)
    for index, shape in enumerate(SHAPES.values()):
        chosen = labels == index
        distance[chosen] = shape(x[chosen], y[chosen])
    return np.clip(0.5 - distance * scale, 0, 1)


def _colours(n: int, rng: np.random.Generator, parameters: ShapesParameters) -> tuple[Array, Array]:
    """Background and shape colours, each (n, 3, 1, 1); one channel differs by the full contrast."""
    back = rng.uniform(0.05, 0.95, (n, 3))
    share = rng.uniform(0.2, 1, (n, 3))
    share /= share.max(axis=1, keepdims=True)
    step = share * rng.uniform(*parameters.contrast, (n, 1))
    front = np.where(back < 0.5, back + step, back - step)
    return back[:, :, None, None], np.clip(front, 0, 1)[:, :, None, None]


def _waves(n: int, rng: np.random.Generator) -> Array:
    """Low-frequency backgrounds of unit amplitude, (n, 3, 32, 32)."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64) / SIDE
    fx, fy, phase = (
        rng.uniform(-1.5, 1.5, (n, 3, 1, 1)),
        rng.uniform(-1.5, 1.5, (n, 3, 1, 1)),
        rng.uniform(0, 1, (n, 3, 1, 1)),
    )
    return np.cos(2 * np.pi * (fx * columns + fy * rows + phase))


@lru_cache(maxsize=40)
def _block(split: str, index: int, parameters: ShapesParameters) -> Truth:
    rng = np.random.Generator(np.random.PCG64([VERSION, list(LENGTHS).index(split), index]))
    labels = rng.permutation(np.arange(BLOCK) % len(CLASSES)).astype(np.int64)
    other = (labels + rng.integers(1, len(CLASSES), BLOCK)) % len(CLASSES)
    cues = np.where(rng.uniform(size=BLOCK) < parameters.cue_agreement, labels, other)
    covered = _coverage(labels, rng, parameters)[:, None]
    back, front = _colours(BLOCK, rng, parameters)
    back = back + parameters.background * _waves(BLOCK, rng)
    pixels = (1 - covered) * back + covered * front
    pixels = pixels + parameters.cue_levels / 255 * grating(cues, rng.uniform(0, 2 * np.pi, BLOCK))[:, None]
    pixels = pixels + parameters.noise * rng.standard_normal(pixels.shape)
    images = np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)
    return Truth(images, labels, covered[:, 0] > 0.5, cues)


def generate(split: str, n: int, parameters: ShapesParameters = PARAMETERS) -> Truth:
    """The first n images of a split with everything known about them; classes are balanced in each 500."""
    if split not in LENGTHS:
        raise InputError(f"shapes has the splits {' and '.join(LENGTHS)}, not {split!r}.")
    if not 1 <= n <= LENGTHS[split]:
        raise InputError(f"shapes has {LENGTHS[split]} {split} images, {n} were asked for.")
    blocks = [_block(split, index, parameters) for index in range(-(-n // BLOCK))]
    fields = (np.concatenate([getattr(b, name) for b in blocks])[:n] for name in ("images", "labels", "masks", "cues"))
    return Truth(*fields)


def load(split: str, n: int | None = None) -> ImageSet:
    """The first n images (all without n) of a split."""
    truth = generate(split, LENGTHS.get(split, 1) if n is None else n)
    digest = checksum(truth.images, truth.labels)
    return ImageSet("shapes", split, truth.images, truth.labels, CLASSES, digest)


def description() -> dict[str, Any]:
    """Generator version and parameters, for a checkpoint's card."""
    return {"version": VERSION, "lengths": LENGTHS, **asdict(PARAMETERS)}
