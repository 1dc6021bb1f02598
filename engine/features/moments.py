"""Mean and variance of what enters each norm layer, image by image, in one pass and without hooks.

Usage::

    moments = measure(view, batches)            # layer -> Moments
    whole = first_half["bn"].merge(second_half["bn"])
    recorder = Recorder(view); logits = recorder(images); recorder.taken()     # layer -> ImageMoments

Sums are kept for every image, so that an interval can be drawn by resampling images. They are accumulated in float64
straight from the network's float32 (converting the activations first costs as much as the network itself).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.norm import substitute
from engine.values import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """count: values a channel; mean, var: (c,) float64, var biased (divided by count)."""

    count: int
    mean: Tensor
    var: Tensor

    def merge(self, other: Moments) -> Moments:
        """Moments of both together, exact (Chan et al. 1979, parallel variance)."""
        count = self.count + other.count
        share = other.count / count
        shift = other.mean - self.mean
        var = self.var * (1 - share) + other.var * share + shift**2 * share * (1 - share)
        return Moments(count, self.mean + shift * share, var)


@dataclass(frozen=True, slots=True, eq=False)
class ImageMoments:
    """pixels: values an image has in a channel; mean, square: (n, c) float64, of x and of x^2 over those values."""

    pixels: int
    mean: Tensor
    square: Tensor

    def merge(self, other: ImageMoments) -> ImageMoments:
        """These images, then the others."""
        return ImageMoments(self.pixels, torch.cat([self.mean, other.mean]), torch.cat([self.square, other.square]))

    @property
    def whole(self) -> Moments:
        """Moments over all images."""
        mean, var = self.resampled(torch.ones(1, len(self.mean), dtype=torch.float64, device=self.mean.device))
        return Moments(self.pixels * len(self.mean), mean[0], var[0])

    def resampled(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, var), each (b, c), with image j taken counts[i, j] times; counts (b, n) float64, rows sum to n."""
        centre = self.mean.mean(0)
        mean = counts @ (self.mean - centre) / len(self.mean)
        square = counts @ (self.square - 2 * centre * self.mean + centre**2) / len(self.mean)
        return centre + mean, (square - mean**2).clamp_min(0)


class _Tap(nn.Module):
    """Passes its input on to `inner` and keeps each image's sums."""

    def __init__(self, inner: nn.BatchNorm2d) -> None:
        super().__init__()
        self.inner = inner
        self.pixels = 0
        self.sums: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        self.pixels = flat.shape[2]
        self.sums.append((flat.sum(2, dtype=torch.float64), torch.linalg.vector_norm(flat, dim=2, dtype=torch.float64)))
        return self.inner(x)


class Recorder:
    """A network that keeps what enters its norm layers; the view it is made of is not changed."""

    def __init__(self, view: nn.Module) -> None:
        self.taps: dict[str, _Tap] = {}

        def replace(name: str, module: nn.Module) -> nn.Module | None:
            if isinstance(module, nn.BatchNorm2d):
                self.taps[name] = _Tap(module).eval()
                return self.taps[name]
            return None

        self.network = substitute(view, replace)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (n, k), without gradient, of images (n, c, h, w)."""
        with torch.no_grad():
            return self.network(images)

    def taken(self) -> dict[str, ImageMoments]:
        """What each norm layer saw since the last call, on the CPU. InputError where one saw nothing."""
        found: dict[str, ImageMoments] = {}
        for name, tap in self.taps.items():
            if not tap.sums:
                raise InputError("A norm layer saw no images; measuring needs at least one batch.")
            sums, norms = (torch.cat(parts).cpu() for parts in zip(*tap.sums, strict=True))
            found[name] = ImageMoments(tap.pixels, sums / tap.pixels, norms**2 / tap.pixels)
            tap.sums = []
        return found


def measure(view: nn.Module, batches: Iterable[Tensor]) -> dict[str, Moments]:
    """Moments of every norm layer's input over batches (n, c, h, w) at the view's own setting; changes nothing."""
    recorder = Recorder(view)
    for batch in batches:
        recorder(batch)
    return {name: images.whole for name, images in recorder.taken().items()}
