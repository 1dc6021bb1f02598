"""How much of what a network looks at is the shape, and of what it listens to the grating: on `shapes`, both known.

Usage::

    for found in shares(bench, settings, attack, "integrated-gradients", n=100, seed=0): ...
    found.interval(found.inside), bootstrap(found.inside - other.inside, seed=0)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from engine.attacks import PGD, Attack, attack_from_json
from engine.attribution.methods import BaselineName, Even, Floats, MethodName, attribute
from engine.data import shapes
from engine.data.base import Progress
from engine.evaluation import Bench, crafting_network, seeded
from engine.norm import fold
from engine.values import InputError, Interval, NormSetting

Doubles = npt.NDArray[np.float64]
TargetName = Literal["answer", "label"]
"""Whose logit is explained: the class that the network answers with, or the right one."""
N_BOOT = 2000
ARRAYS = ("inside", "even", "band", "elsewhere")
BAND = 7
"""A grating's band: the image's BAND own frequencies that are nearest to it, and their negatives. No two overlap."""


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Shares of n images' maps at one setting, each (n,) in [0, 1].

    inside: of the map's absolute values, inside the shape; even: the same share for a network that weighs all pixels
    alike (the shape's area, or more where a method multiplies by what the image shows); band: of the response's energy,
    in the band of the image's own grating; elsewhere: the mean over the four gratings of the same frequency and another
    direction, which the image does not carry. The last two are None where the method has no response map. A map that is
    zero everywhere has shares of 0.
    attack: what the images were attacked with, white-box at `setting`, or None. n_correct: images answered correctly.
    """

    setting: NormSetting
    attack: Attack | None
    seed: int
    inside: Doubles
    even: Doubles
    band: Doubles | None
    elsewhere: Doubles | None
    n_correct: int

    def interval(self, values: Doubles) -> Interval:
        """Mean with its 95 % interval, from the quantiles of N_BOOT means over images drawn with replacement."""
        return bootstrap(values, self.seed)

    def as_json(self) -> dict[str, Any]:
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        lists = {name: None if (values := plain[name]) is None else values.tolist() for name in ARRAYS}
        attack = None if self.attack is None else asdict(self.attack)
        return plain | lists | {"setting": self.setting.as_json(), "attack": attack}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Shares:
        read: dict[str, Any] = {
            name: None if value[name] is None else np.array(value[name], np.float64) for name in ARRAYS
        }
        read["setting"] = NormSetting.from_json(value["setting"])
        read["attack"] = None if value["attack"] is None else attack_from_json(value["attack"])
        return cls(**(value | read))


def bootstrap(values: Doubles, seed: int) -> Interval:
    """Mean of values (n,) with the 2.5 % and 97.5 % quantiles of N_BOOT resampled means (Efron 1979)."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (N_BOOT, len(values)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high), len(values))


def inside_share(maps: Floats, masks: npt.NDArray[np.bool_]) -> Doubles:
    """Share (n,) of the absolute values of maps (n, h, w) that lies inside the masks."""
    size = np.abs(maps.astype(np.float64))
    return _ratio((size * masks).sum((1, 2)), size.sum((1, 2)))


def band_shares(response: Floats) -> Doubles:
    """Share (n, 10) of the energy of maps (n, 32, 32), their mean left out, in each class's grating band."""
    energy = np.abs(np.fft.fft2(response.astype(np.float64))) ** 2
    energy[:, 0, 0] = 0
    down, right = np.meshgrid(*(np.fft.fftfreq(side) for side in energy.shape[1:]), indexing="ij")
    bands = np.zeros((len(shapes.CLASSES), *energy.shape[1:]))
    for band, vector in enumerate(shapes.wave_vectors(np.arange(len(shapes.CLASSES)))):
        nearest = np.hypot(down - vector[0], right - vector[1]).argsort(axis=None, kind="stable")[:BAND]
        rows, columns = np.unravel_index(nearest, down.shape)
        bands[band, rows, columns] = bands[band, -rows, -columns] = 1
    return _ratio(np.einsum("nhw,khw->nk", energy, bands), energy.sum((1, 2))[:, None])


def _ratio(part: Doubles, whole: Doubles) -> Doubles:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def known_truth(bench: Bench, n: int) -> shapes.Truth:
    """Masks and gratings of the first n images. InputError where they are not `shapes` as this version draws them."""
    if bench.test.name != "shapes":
        raise InputError(f"Where the shape lies is known only for the built-in shapes, not for {bench.test.name}.")
    if not 1 <= n <= len(bench.test):
        raise InputError(f"{bench.test.name} has {len(bench.test)} {bench.test.split} images, {n} were asked for.")
    truth = shapes.generate(bench.test.split, n)
    if not np.array_equal(truth.images, bench.test.images[:n]):
        raise InputError("These images are not those that this version draws, so where the shapes lie is not known.")
    return truth


def explained(network: nn.Module, images: Tensor, labels: Tensor, target: TargetName) -> tuple[Tensor, Tensor]:
    """The classes (n,) whose logits are explained, and the network's answers (n,)."""
    with torch.no_grad():
        answers = network(images).argmax(1)
    return (answers if target == "answer" else labels), answers


def shares(
    bench: Bench,
    settings: Sequence[NormSetting],
    attack: Attack | None,
    method: MethodName,
    n: int,
    seed: int,
    target: TargetName = "answer",
    baseline: BaselineName = "mean",
    progress: Progress | None = None,
) -> Iterator[Shares]:
    """For each setting its shares on n clean images and, with an attack, on the same images attacked there (white-box,
    all steps). Masks and gratings are those of the image before the attack."""
    truth = known_truth(bench, n)
    attacks = [None] if attack is None else [None, replace(attack, stop="never") if isinstance(attack, PGD) else attack]
    total, done = len(settings) * len(attacks) * n, 0
    for setting in settings:
        view = bench.view(setting)
        folded, craft = fold(view), crafting_network(view)
        for used in attacks:
            values: list[Floats] = []
            responses: list[Floats] = []
            flat: list[Floats] = []
            n_correct = 0
            for start, (images, labels) in bench.batches(n):
                generator = seeded(seed, start)
                seen = images if used is None else used(craft, images, labels, generator=generator)
                classes, answers = explained(view, seen, labels, target)
                maps = attribute(folded, method, seen, classes, generator=generator, baseline=baseline)
                values.append(maps.values)
                flat.append(_even(method, seen, baseline))
                responses += [] if maps.response is None else [maps.response]
                n_correct += int((answers == labels).sum())
                done += len(labels)
                if progress is not None:
                    progress(done, total)
            inside = inside_share(np.concatenate(values), truth.masks)
            band, elsewhere = _grating(np.concatenate(responses), truth.cues) if responses else (None, None)
            even = inside_share(np.concatenate(flat), truth.masks)
            yield Shares(setting, used, seed, inside, even, band, elsewhere, n_correct)


def _even(method: MethodName, images: Tensor, baseline: BaselineName) -> Floats:
    """The map (n, h, w) of the network that weighs all pixels alike; its gradient is the same everywhere."""
    if method not in ("integrated-gradients", "occlusion"):
        return np.ones((len(images), *images.shape[2:]), np.float32)
    first = torch.zeros(len(images), dtype=torch.long, device=images.device)
    return attribute(Even(), method, images, first, generator=torch.Generator(), baseline=baseline).values


def _grating(response: Floats, cues: npt.NDArray[np.int64]) -> tuple[Doubles, Doubles]:
    """Energy share in the band of each image's own grating, and the mean over the others of its frequency."""
    found = band_shares(response)
    others = (cues[:, None] + np.arange(2, len(shapes.CLASSES), 2)) % len(shapes.CLASSES)
    return np.take_along_axis(found, cues[:, None], 1)[:, 0], np.take_along_axis(found, others, 1).mean(1)
