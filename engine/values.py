"""Frozen values every other module speaks in; standard library only.

Usage::

    setting = NormSetting(affine=0.5, statistics=Stored(1.0))      # half-way AP, adversarial NS
    threat = ThreatModel("Linf", 8 / 255)                          # pixels are in [0, 1]

Lambda is 0 at the clean and 1 at the adversarial end; beyond them it extrapolates (LAM_MIN to LAM_MAX).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, Literal

LAM_MIN, LAM_MAX = -0.5, 1.5
CHECKPOINT_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
SourceName = Literal["clean", "adv", "noise", "mix"]
SOURCES: tuple[SourceName, ...] = ("clean", "adv", "noise", "mix")


class InputError(ValueError):
    """Something a person asked for cannot be done; the message is one sentence that names it and the way out."""


class Cancelled(Exception):
    """Raised out of a progress callback to stop long work; nothing is written after it."""


class Branch(IntEnum):
    """Position of a branch in every two-branch container."""

    CLEAN = 0
    ADV = 1


@dataclass(frozen=True, slots=True)
class NormDesign:
    """Which halves of batch normalization the two branches share; fixed at training time.

    share_head False gives each branch its own linear head instead (the two-task view, "Dual-Linear").
    """

    share_statistics: bool
    share_affine: bool
    share_head: bool = True

    @property
    def name(self) -> str:
        return next(name for name, design in DESIGNS.items() if design == self)

    @property
    def label(self) -> str:
        return LABELS[self.name]

    @property
    def share_parameters(self) -> bool:
        """Whether both branches have the same trained parameters, so that lambda of the AP has no meaning."""
        return self.share_affine and self.share_head


SINGLE = NormDesign(share_statistics=True, share_affine=True)
DUAL_AP = NormDesign(share_statistics=True, share_affine=False)
DUAL_NS = NormDesign(share_statistics=False, share_affine=True)
DUAL_BN = NormDesign(share_statistics=False, share_affine=False)
DUAL_LINEAR = NormDesign(share_statistics=True, share_affine=True, share_head=False)
DESIGNS = {"single": SINGLE, "dual-ap": DUAL_AP, "dual-ns": DUAL_NS, "dual-bn": DUAL_BN, "dual-linear": DUAL_LINEAR}
LABELS = {
    "single": "single BN",
    "dual-ap": "dual AP",
    "dual-ns": "dual NS",
    "dual-bn": "dual BN",
    "dual-linear": "dual linear",
}


def check_lam(lam: float, what: str) -> None:
    if not (math.isfinite(lam) and LAM_MIN <= lam <= LAM_MAX):
        raise InputError(f"{what} lambda must lie between {LAM_MIN} and {LAM_MAX}, got {lam}.")


@dataclass(frozen=True, slots=True)
class Stored:
    """NS interpolated linearly between the two branches' running estimates (mean and var, not sigma)."""

    lam: float

    def __post_init__(self) -> None:
        check_lam(self.lam, "NS")


@dataclass(frozen=True, slots=True)
class Reestimated:
    """NS measured anew at the AP in use, in one cumulative pass over `n` calibration images.

    `clean`: the images as they are; `noise`: plus uniform noise of size `eps`; `adv`: PGD-10 at `eps`, crafted at
    the same AP with NS re-estimated on clean images; `mix`: half clean, half adversarial in every batch.
    """

    source: SourceName
    n: int = 512
    seed: int = 0
    eps: float = 8 / 255

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise InputError(f"NS can be re-estimated on {', '.join(SOURCES)} images, not on {self.source!r}.")
        if self.n < 2:
            raise InputError(f"Re-estimating NS needs at least 2 images, got {self.n}.")
        check_eps(self.eps)


Statistics = Stored | Reestimated


@dataclass(frozen=True, slots=True)
class LayerMix:
    """What one layer does differently; None follows the setting's default."""

    affine: float | None = None
    statistics: float | None = None

    def __post_init__(self) -> None:
        for lam, what in ((self.affine, "AP"), (self.statistics, "NS")):
            if lam is not None:
                check_lam(lam, what)


@dataclass(frozen=True, slots=True)
class NormSetting:
    """A test-time choice of AP and NS; a plain network follows from it (`engine.norm.at`)."""

    affine: float
    statistics: Statistics
    overrides: tuple[tuple[str, LayerMix], ...] = ()

    def __post_init__(self) -> None:
        check_lam(self.affine, "AP")
        names = [name for name, _ in self.overrides]
        if len(set(names)) != len(names):
            raise InputError(f"A layer is overridden twice: {', '.join(names)}.")

    def layer_affine(self, layer: str) -> float:
        mix = dict(self.overrides).get(layer)
        return self.affine if mix is None or mix.affine is None else mix.affine

    def layer_statistics(self, layer: str) -> Statistics:
        mix = dict(self.overrides).get(layer)
        return self.statistics if mix is None or mix.statistics is None else Stored(mix.statistics)

    def as_json(self) -> dict[str, Any]:
        kind = {"kind": "stored"} if isinstance(self.statistics, Stored) else {"kind": "reestimated"}
        overrides = {name: asdict(mix) for name, mix in self.overrides}
        return {"affine": self.affine, "statistics": kind | asdict(self.statistics), "overrides": overrides}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> NormSetting:
        fields = dict(value["statistics"])
        statistics = {"stored": Stored, "reestimated": Reestimated}[fields.pop("kind")](**fields)
        overrides = tuple((name, LayerMix(**mix)) for name, mix in value["overrides"].items())
        return cls(value["affine"], statistics, overrides)


def branch_setting(branch: Branch) -> NormSetting:
    """The setting that is exactly one trained branch: its own AP with its own stored NS."""
    return NormSetting(affine=float(branch), statistics=Stored(float(branch)))


def check_eps(eps: float) -> None:
    if not (math.isfinite(eps) and 0 < eps <= 1):
        raise InputError(f"eps must be above 0 and at most 1 (pixels are in [0, 1]), got {eps:g}; try 8/255.")


def parse_fraction(text: str) -> float:
    """A number written as '8/255' or '0.03'."""
    try:
        numerator, *denominator = (float(part) for part in text.split("/", 1))
        value = numerator / denominator[0] if denominator else numerator
        if math.isfinite(value):
            return value
    except (ValueError, ZeroDivisionError):
        pass
    raise InputError(f"{text!r} is not a number; write it like 8/255 or 0.031.")


def eps_label(eps: float) -> str:
    """'8/255' where eps is that, else a short decimal."""
    pixels = eps * 255
    return f"{round(pixels)}/255" if abs(pixels - round(pixels)) < 1e-6 else f"{eps:.4g}"


@dataclass(frozen=True, slots=True)
class ThreatModel:
    """Perturbations of norm at most `eps`, in pixels of [0, 1]; the perturbed image stays in [0, 1]."""

    norm: Literal["Linf", "L2"]
    eps: float

    def __post_init__(self) -> None:
        if self.norm not in ("Linf", "L2"):
            raise InputError(f"The norm must be Linf or L2, got {self.norm!r}.")
        if self.norm == "Linf":
            check_eps(self.eps)
        elif not (math.isfinite(self.eps) and self.eps > 0):
            raise InputError(f"An L2 eps must be a number above 0, got {self.eps}.")


@dataclass(frozen=True, slots=True)
class Interval:
    """A fraction with its 95 % Wilson score interval; `n` is the number of images behind it."""

    value: float
    low: float
    high: float
    n: int


def wilson(n_correct: int, n: int, z: float = 1.959963984540054) -> Interval:
    """Wilson score interval of a binomial proportion (Wilson 1927): never outside [0, 1], fine at 0 and at n."""
    if not 0 <= n_correct <= n or n == 0:
        raise InputError(f"An accuracy needs at least one image and 0 <= correct <= n, got {n_correct} of {n}.")
    p = n_correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if n_correct == 0 else centre - half
    high = 1.0 if n_correct == n else centre + half
    return Interval(p, low, high, n)
