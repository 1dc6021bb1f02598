"""The built-in images: pinned bytes, and the truth that comes with them found again in the pixels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from engine.data import load_data, shapes
from engine.data.base import checksum
from engine.values import InputError, wilson

FIRST_500_TEST = "15fe40a0ba390035bb6b59b007a3fea26deaf5dd7576545a0adc4ad6097a41a4"
N = 500


@pytest.fixture(scope="module")
def truth() -> shapes.Truth:
    return shapes.generate("test", N)


def test_the_generator_is_the_one_the_checkpoints_were_made_with(truth: shapes.Truth) -> None:
    """A change of these bytes makes every shipped checkpoint and sweep stale: raise shapes.VERSION with it."""
    assert shapes.PARAMETERS.contrast == (0.1, 0.7)
    assert checksum(truth.images, truth.labels) == FIRST_500_TEST
    assert shapes.load("test", N).checksum == FIRST_500_TEST
    assert load_data("shapes", "test", N).checksum == FIRST_500_TEST


@pytest.mark.parametrize("n", [1, 8, 499, 501, 1000])
def test_the_first_images_are_the_same_for_every_n(truth: shapes.Truth, n: int) -> None:
    other = shapes.generate("test", n)
    assert len(other.images) == len(other.labels) == len(other.masks) == len(other.cues) == n
    shared = min(n, N)
    for ours, theirs in ((truth.images, other.images), (truth.labels, other.labels), (truth.masks, other.masks)):
        assert np.array_equal(ours[:shared], theirs[:shared])


def test_splits_and_blocks_differ(truth: shapes.Truth) -> None:
    train = shapes.generate("train", N).images
    second = shapes.generate("test", 2 * N).images[N:]
    everything = np.concatenate([truth.images, train, second]).reshape(3 * N, -1)
    assert len({row.tobytes() for row in everything}) == 3 * N


def test_every_500_are_balanced() -> None:
    labels = shapes.generate("train", 1500).labels
    for block in labels.reshape(3, 500):
        assert np.bincount(block, minlength=10).tolist() == [50] * 10
    assert len(shapes.CLASSES) == 10
    assert labels.dtype == np.int64


def contrast(images: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Largest difference over the channels, in levels, between the mean colours inside and outside the mask."""
    inside = masks[:, None] / masks.sum((1, 2))[:, None, None, None]
    outside = ~masks[:, None] / (~masks).sum((1, 2))[:, None, None, None]
    return np.abs((images * inside - images * outside).sum((2, 3))).max(1)


def test_masks_cover_the_shapes(truth: shapes.Truth) -> None:
    """Inside and outside differ by the drawn contrast (at least 0.1, that is 25 levels, less the soft background)."""
    found = contrast(truth.images, truth.masks)
    assert np.quantile(found, 0.02) > 15
    assert found.mean() > 0.25 * 255
    moved = contrast(truth.images, np.roll(truth.masks, (8, 8), axis=(1, 2)))
    assert (found > moved).mean() > 0.95
    area = truth.masks.mean((1, 2))
    assert 0.05 < area.min() < area.max() < 0.6


def test_masks_are_exact_at_the_edge(truth: shapes.Truth) -> None:
    """One pixel more or less separates the colours worse: variance within the two regions, over all images."""

    def within(masks: npt.NDArray[np.bool_]) -> float:
        total = 0.0
        for image, mask in zip(truth.images.astype(np.float64), masks, strict=True):
            total += sum(image[:, region].var(1).sum() * region.sum() for region in (mask, ~mask))
        return total

    grown = truth.masks.copy()
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        grown |= np.roll(truth.masks, shift, axis=(1, 2))
    shrunk = truth.masks.copy()
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        shrunk &= np.roll(truth.masks, shift, axis=(1, 2))
    assert within(truth.masks) < 0.8 * min(within(grown), within(shrunk))


def test_cues_agree_with_the_label_as_often_as_stated() -> None:
    for split in ("train", "test"):
        truth = shapes.generate(split, 3000)
        agreeing = truth.cues == truth.labels
        interval = wilson(int(agreeing.sum()), 3000, z=3.3)  # 99.9 %
        assert interval.low < shapes.PARAMETERS.cue_agreement < interval.high
        others = (truth.cues - truth.labels)[~agreeing] % 10
        assert np.bincount(others, minlength=10)[1:].min() > 60, "where they disagree, every other class occurs"


def matched(residual: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    """Fourier coefficient of each image (n, 32, 32) at the ten gratings' frequencies, by their definition: (n, 10)."""
    rows, columns = np.mgrid[:32, :32]
    coefficients = []
    for cue in range(10):
        frequency, angle = (0.3 if cue % 2 else 0.2), math.pi * cue / 10
        wave = np.exp(-2j * np.pi * frequency * (np.cos(angle) * columns + np.sin(angle) * rows))
        coefficients.append((residual * wave).sum((1, 2)) * 2 / residual[0].size)
    return np.stack(coefficients, axis=1)


def flattened(truth: shapes.Truth) -> npt.NDArray[np.float64]:
    """Mean over channels, less the mean colour of shape and of background: what is left is texture."""
    grey = truth.images.astype(np.float64).mean(1)
    for image, mask in zip(grey, truth.masks, strict=True):
        for region in (mask, ~mask):
            image[region] -= image[region].mean()
    return grey


def test_the_grating_is_weaker_than_the_attack_and_yet_there() -> None:
    """Amplitude 4 levels, below eps = 8; the strongest of the ten frequencies names the cue in most images."""
    truth = shapes.generate("test", 1000)
    found = matched(flattened(truth))
    at_cue = np.abs(found[np.arange(1000), truth.cues])
    assert 2 < np.median(at_cue) < 8
    assert shapes.PARAMETERS.cue_levels == 4
    assert (np.abs(found).argmax(1) == truth.cues).mean() > 0.6
    assert (np.abs(found).argmax(1) == (truth.cues + 1) % 10).mean() < 0.1


def test_gratings_of_amplitude_one_have_their_power_at_one_frequency() -> None:
    waves = shapes.grating(np.arange(10), np.linspace(0, 6, 10))
    assert np.abs(waves).max() <= 1
    power = np.abs(np.fft.fft2(waves)) ** 2
    for cue, spectrum in enumerate(power):
        row, column = np.unravel_index(spectrum[:, :17].argmax(), (32, 17))
        frequency = np.hypot(np.fft.fftfreq(32)[row], column / 32)
        assert frequency == pytest.approx(0.3 if cue % 2 else 0.2, abs=1 / 32)
        down, right = (np.fft.fftfreq(32)[place] for place in (row, column))
        found = np.array([down, right])
        wanted = shapes.wave_vectors(np.array([cue]))[0]
        assert min(np.abs(found - wanted).max(), np.abs(found + wanted).max()) < 1 / 32, "the same wave has two signs"


@pytest.mark.parametrize(
    ("split", "n", "sentence"),
    [
        ("test", 0, "shapes has 10000 test images, 0 were asked for"),
        ("test", -3, "shapes has 10000 test images, -3 were asked for"),
        ("test", 10_001, "10001 were asked for"),
        ("train", 40_001, "shapes has 40000 train images"),
        ("held-out", 5, "shapes has the splits train and test, not 'held-out'"),
        ("held-out", None, "not 'held-out'"),
    ],
)
def test_images_that_are_not_there_are_refused(split: str, n: int | None, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        shapes.load(split, n)


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(InputError, match="There is no data set 'mnist'; choose shapes, cifar10, a folder"):
        load_data("mnist", "test")


def test_images_become_tensors_in_the_unit_range() -> None:
    images, labels = shapes.load("test", 10).tensors(2, 6)
    assert images.shape == (4, 3, 32, 32)
    assert 0 <= float(images.min()) < 0.5 < float(images.max()) <= 1
    assert images.numpy() * 255 == pytest.approx(shapes.load("test", 10).images[2:6])
    assert labels.tolist() == shapes.generate("test", 10).labels[2:6].tolist()
