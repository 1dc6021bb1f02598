"""The shapes of the Square attack: its start and its squares (arXiv 1912.00049, algorithms 2 and 3).

Usage::

    x = started(threat, images, generator)
    x = with_square(threat, images, x, place(threat, images, 0.1, generator))
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.attacks.threat import project
from engine.values import ThreatModel

TILES = 5
"""The L2 start is a grid of this many bumps each way."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One square an image, side x side pixels: top and left (n,) of the square and (L2) of the one whose share of the
    budget it takes; signs (n, c), +1 or -1; turned (n,): whether the L2 bump is transposed."""

    side: int
    top: Tensor
    left: Tensor
    other_top: Tensor
    other_left: Tensor
    signs: Tensor
    turned: Tensor

    def of(self, rows: Tensor) -> Place:
        """The places of some of the images."""
        tensors = (self.top, self.left, self.other_top, self.other_left, self.signs, self.turned)
        return Place(self.side, *(tensor[rows] for tensor in tensors))


def _signs(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randint(0, 2, shape, generator=generator, device=generator.device)
    return (drawn * 2 - 1).to(like.device, like.dtype)


def place(threat: ThreatModel, images: Tensor, covered: float, generator: torch.Generator) -> Place:
    """A random square for each image (n, c, h, w) that covers about the share `covered` of its pixels.

    Always drawn for all images, so that one image's squares do not depend on which others are still attacked.
    """
    n, channels, height, width = images.shape
    smallest, shorter = (1 if threat.norm == "Linf" else 3), min(height, width)
    side = min(max(round((covered * height * width) ** 0.5), smallest), max(1, shorter - 1))
    if threat.norm == "L2" and side % 2 == 0:
        side += 1 if side + 1 <= shorter else -1

    def corner(length: int) -> Tensor:
        drawn = torch.randint(0, length - side + 1, (n,), generator=generator, device=generator.device)
        return drawn.to(images.device)

    top, left, other_top, other_left = (corner(length) for length in (height, width, height, width))
    signs, turned = _signs((n, channels), images, generator), _signs((n,), images, generator) > 0
    return Place(side, top, left, other_top, other_left, signs, turned)


def started(threat: ThreatModel, images: Tensor, generator: torch.Generator) -> Tensor:
    """Linf: vertical stripes of +-eps; L2: a grid of bumps of random sign, eps long in all; then clipped to [0, 1]."""
    n, channels, height, width = images.shape
    if threat.norm == "Linf":
        return project(threat, images, images + threat.eps * _signs((n, channels, 1, width), images, generator))
    side = max(1, min(height, width) // TILES)
    rows, columns = height // side, width // side
    signs = _signs((n, channels, rows, columns), images, generator)
    bumps = signs.repeat_interleave(side, 2).repeat_interleave(side, 3)
    bumps = bumps * bump(side, images).repeat(rows, columns)
    delta = torch.zeros_like(images)
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    delta[:, :, top : top + rows * side, left : left + columns * side] = bumps
    return project(threat, images, images + threat.eps * delta / _length(delta, (1, 2, 3)))


def bump(side: int, like: Tensor) -> Tensor:
    """(side, side), L2 norm 1: a positive hill in the left and a negative in the right half (equation 2)."""
    half = side // 2
    hills = torch.cat([_hill(side, half, like), -_hill(side, side - half, like)], dim=1)
    return hills / hills.norm()


def _hill(height: int, width: int, like: Tensor) -> Tensor:
    """(height, width): rings of sum_k 1 / (n + 1 - k)^2, highest in the middle."""
    n = height // 2
    rows = (torch.arange(height, device=like.device) - n).abs()
    columns = (torch.arange(width, device=like.device) - width // 2).abs()
    ring = (n - torch.maximum(rows[:, None], columns[None])).clamp_min(0)
    terms = 1 / (n + 1 - torch.arange(n + 1, device=like.device, dtype=like.dtype)) ** 2
    return terms.cumsum(0)[ring]


def with_square(threat: ThreatModel, images: Tensor, x: Tensor, where: Place) -> Tensor:
    """The points x (n, c, h, w) with one square changed each, in the eps-ball and in [0, 1]."""
    rows, columns = _inside(where.top, where.side, x.shape[2]), _inside(where.left, where.side, x.shape[3])
    window = (rows[:, :, None] & columns[:, None, :])[:, None]
    if threat.norm == "Linf":
        return project(threat, images, torch.where(window, images + threat.eps * where.signs[:, :, None, None], x))
    rows = _inside(where.other_top, where.side, x.shape[2])
    columns = _inside(where.other_left, where.side, x.shape[3])
    other = (rows[:, :, None] & columns[:, None, :])[:, None]
    delta = x - images
    unused = (threat.eps**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp_min(0)
    available = ((delta * (window | other)).square().sum((2, 3), keepdim=True) + unused / x.shape[1]).sqrt()
    old = delta * window
    hill = bump(where.side, x).expand(len(x), -1, -1)
    hill = torch.where(where.turned[:, None, None], hill.transpose(1, 2), hill)[:, None]
    new = _pasted(where, hill * where.signs[:, :, None, None], x) + old / _length(old, (2, 3))
    new = new / _length(new, (2, 3)) * available
    return project(threat, images, images + torch.where(window, new, torch.where(other, 0, delta)))


def _inside(start: Tensor, side: int, length: int) -> Tensor:
    """(n, length): which positions lie in [start, start + side)."""
    offset = torch.arange(length, device=start.device) - start[:, None]
    return (offset >= 0) & (offset < side)


def _pasted(where: Place, squares: Tensor, like: Tensor) -> Tensor:
    """The squares (n, c, side, side) at their places in images of zeros (n, c, h, w)."""
    steps = torch.arange(where.side, device=like.device)
    n, channels = squares.shape[:2]
    image = torch.arange(n, device=like.device)[:, None, None, None]
    channel = torch.arange(channels, device=like.device)[None, :, None, None]
    rows, columns = (where.top[:, None] + steps)[:, None, :, None], (where.left[:, None] + steps)[:, None, None, :]
    return torch.zeros_like(like).index_put((image, channel, rows, columns), squares)


def _length(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return x.square().sum(dims, keepdim=True).sqrt().clamp_min(1e-12)
