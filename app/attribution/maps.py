"""What the Attribution page computes: maps of one image, and shares over many; each is kept under its request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from app.cache import networks_at, remember, results
from app.selection import OWN, setting_on
from app.shown import Shown
from engine import api

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
LAMS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class View:
    """One map: of one test image, attacked there unless `attack` is None, at one setting.

    images: checksum of the images that it is one of, where they are not the checkpoint's own.
    """

    weights_sha256: str
    setting: api.NormSetting
    attack: api.PGD | None
    index: int
    method: api.MethodName
    target: api.TargetName
    images: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """image (3, h, w) as the network saw it, its map (h, w), the explained class, the answer and its confidence."""

    view: View
    image: Floats
    values: Floats
    explained: int
    answer: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Measure:
    """Shares on the first n images along lambda; what they are kept under."""

    weights_sha256: str
    settings: tuple[api.NormSetting, ...]
    attack: api.PGD
    method: api.MethodName
    target: api.TargetName
    n: int


def setting(lam: float, held: str) -> api.NormSetting:
    """AP at lambda with the NS that the page's control names."""
    return setting_on(f"ap@{held}", lam)


def missing(views: Sequence[View]) -> bool:
    return any(view not in results() for view in views)


def maps(shown: Shown, views: Sequence[View], progress: Progress) -> list[Seen]:
    """The maps that nobody asked for yet are computed. InputError where a setting is impossible."""
    found: list[Seen] = []
    for done, view in enumerate(views):
        seen: Seen | None = results().get(view)
        if seen is None:
            progress(done, len(views))
            seen = _one(shown, view)
            remember(view, seen)
        found.append(seen)
    return found


def _one(shown: Shown, asked: View) -> Seen:
    """The attack is the Attack page's: same seed, same image."""
    bench = shown.bench
    assert bench is not None
    image, label = (tensor.to(bench.device) for tensor in bench.test.tensors(asked.index, asked.index + 1))
    network, craft = networks_at(bench, asked.weights_sha256, asked.setting)
    generator = api.seeded(api.SEED, asked.index)
    if asked.attack is not None:
        image = replace(asked.attack, stop="never")(craft, image, label, generator=generator)
    with torch.no_grad():
        confidence = network(image).softmax(1)[0]
    classes, answers = api.explained(network, image, label, asked.target)
    found = api.attribute(network, asked.method, image, classes, generator=api.seeded(api.SEED, asked.index))
    answer = int(answers)
    return Seen(asked, image[0].cpu().numpy(), found.values[0], int(classes), answer, float(confidence[answer]))


def measured(bench: api.Bench, asked: Measure, progress: Progress) -> list[api.Shares]:
    """Clean and attacked at every setting of the request."""
    how = (asked.attack, asked.method, asked.n, api.SEED, asked.target)
    return list(api.shares(bench, asked.settings, *how, progress=progress))


def command(name: str, asked: Measure, held: str) -> str:
    """The command line that gives the same figures."""
    ns = "own" if held == OWN else held
    attack = asked.attack
    parts = [
        f"python -m engine attribute {name} --method {asked.method} --n {asked.n} --ns {ns} --explain {asked.target}",
        f"--attack pgd --eps {api.eps_label(attack.threat.eps)} --steps {attack.steps} --seed {api.SEED}",
    ]
    if attack.step_size != attack.threat.eps / 4:
        parts.append(f"--step-size {attack.step_size!r}")
    return " ".join(parts)


def mask(shown: Shown, index: int) -> npt.NDArray[np.bool_] | None:
    """Where the shape lies (h, w) in a built-in image, else None."""
    assert shown.bench is not None
    test = shown.bench.test
    return api.shapes.generate(test.split, index + 1).masks[index] if test.name == "shapes" else None


def limits(seen: Sequence[Seen], shared: bool) -> list[float]:
    """For each map the value of the full colour, in two digits: the 99th percentile of its size, or of all of them."""
    parts = [np.concatenate([np.abs(one.values).ravel() for one in seen])] * len(seen)
    if not shared:
        parts = [np.abs(one.values).ravel() for one in seen]
    return [float(f"{np.quantile(part, 0.99):.2g}") or 1.0 for part in parts]


def difference(first: api.Shares, last: api.Shares) -> api.Interval:
    """How much more of the map lies inside the shape at `last`, image by image, with its 95 % interval."""
    return api.bootstrap(last.inside - first.inside, api.SEED)


def preference(one: api.Shares) -> api.Interval | None:
    """How much more energy the image's own grating gets than those it does not carry, image by image."""
    if one.band is None or one.elsewhere is None:
        return None
    return api.bootstrap(one.band - one.elsewhere, api.SEED)


def points(interval: api.Interval) -> str:
    """'rises by 19.1 points (16.6 to 21.8)', or that it cannot be told."""
    values = [100 * value for value in (interval.value, interval.low, interval.high)]
    if interval.low <= 0 <= interval.high:
        return f"changes by {values[0]:+.1f} points ({values[1]:+.1f} to {values[2]:+.1f}), which may be chance"
    verb, sign = ("rises", 1) if values[0] > 0 else ("falls", -1)
    low, high = sorted(sign * value for value in values[1:])
    return f"{verb} by {abs(values[0]):.1f} points ({low:.1f} to {high:.1f})"
