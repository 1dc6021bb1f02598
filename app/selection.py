"""What a visitor looks at: one frozen value, read from the controls, every part of it in the URL.

Usage::

    selection = Selection("shapes-dual-bn", slide="ap", held="stored:1", attack="PGD-10", level=8)
    selection.line, selection.engine_attack
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from engine import api

# The options of the controls are what is shown and what stands in the URL; their values are the engine's names.
SLIDES = {"affine": "ap", "statistics": "ns"}
HELD = {
    "ap": {"re-estimated": "clean", "clean": "stored:0", "adversarial": "stored:1"},
    "ns": {"clean": "0", "adversarial": "1"},
}
HELD_LABELS = {
    "clean": "NS re-estimated at every λ",
    "stored:0": "stored clean NS",
    "stored:1": "stored adversarial NS",
    "0": "clean AP",
    "1": "adversarial AP",
}
ATTACKS = ("none", "FGSM", "PGD-10", "PGD-20")
EPS = {"2/255": 2, "4/255": 4, "8/255": 8, "16/255": 16}
DEFAULTS = {"slide": "affine", "ns": "re-estimated", "ap": "adversarial", "attack": "PGD-10", "eps": "8/255"}
PREFERRED = "shapes-dual-bn"

DESIGN_NOTES = {
    "single": "This network has **one** set of scales, shifts and statistics for all images: the slider has nothing to "
    "move, and the curves are flat. It is here to compare with.",
    "dual-ns": "In this network the branches share their scales and shifts and have their **own statistics**: moving "
    "the affine parameters changes nothing. Let the slider move the statistics.",
    "dual-ap": "In this network the branches have their **own scales and shifts** and share their statistics: moving "
    "the statistics changes nothing.",
    "dual-linear": "In this network the branches share every batch-norm layer and have only their **own linear head** "
    "each: two tasks on the same features. The slider moves the head.",
}
"""Design -> what the slider can and cannot move, where that is not what the page's first sentence says."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A checkpoint, the line through its settings that the slider moves along, and the attack; eps is level/255."""

    checkpoint: str
    slide: str
    held: str
    attack: str
    level: int

    @property
    def line(self) -> str:
        """Name of the line in `engine.api.LINES`."""
        return f"{self.slide}@{self.held}"

    @property
    def engine_attack(self) -> api.PGD | None:
        """The attack as the sweeps ran it, or None."""
        if self.attack == "none":
            return None
        eps = self.level / 255
        return api.fgsm(api.ThreatModel("Linf", eps)) if self.attack == "FGSM" else api.pgd(int(self.attack[4:]), eps)

    @property
    def held_label(self) -> str:
        return HELD_LABELS[self.held]

    @property
    def words(self) -> str:
        """'AP from clean to adversarial, NS re-estimated at every λ, PGD-10 at 8/255'."""
        attack = self.engine_attack.label if self.engine_attack else "no attack"
        return f"{self.slide.upper()} from clean to adversarial, {self.held_label}, {attack}"


@dataclass(frozen=True, slots=True)
class Preset:
    """A claim to check: where to look, and what to expect there if the claim holds."""

    title: str
    claim: str
    values: Mapping[str, str]
    lam: float

    def shows(self, selection: Selection) -> bool:
        """Whether the controls still stand where the preset put them."""
        slide = SLIDES[self.values["slide"]]
        held = HELD[slide][self.values["ns" if slide == "ap" else "ap"]]
        wanted = (slide, held, self.values["attack"], EPS[self.values["eps"]])
        return wanted == (selection.slide, selection.held, selection.attack, selection.level)


PRESETS: tuple[Preset, ...] = (
    Preset(
        "Swap only the affine parameters",
        "Claim: two numbers a channel carry the robustness. From left to right the orange curve should climb "
        "and the blue one pay for it, although the statistics are always re-estimated on clean images.",
        {"slide": "affine", "ns": "re-estimated", "attack": "PGD-10", "eps": "8/255"},
        1.0,
    ),
    Preset(
        "Swap only the statistics",
        "Claim: statistics do not carry the robustness. Only the NS move here: does robust accuracy rise?",
        {"slide": "statistics", "ap": "clean", "attack": "PGD-10", "eps": "8/255"},
        1.0,
    ),
    Preset(
        "The mismatch that looks like a domain gap",
        "Clean AP with adversarial NS (left end): accuracy is gone even without an attack. Is that a gap between clean "
        "and attacked images, or did these NS just belong to other AP? Compare with re-estimated NS.",
        {"slide": "affine", "ns": "adversarial", "attack": "PGD-10", "eps": "8/255"},
        0.0,
    ),
    Preset(
        "Half-way",
        "Neither branch was trained for this blend. Is it a compromise, or does the network break in between?",
        {"slide": "affine", "ns": "re-estimated", "attack": "PGD-10", "eps": "8/255"},
        0.5,
    ),
    Preset(
        "Attack twice as hard",
        "If the robustness is real, PGD-20 should find hardly more than PGD-10.",
        {"slide": "affine", "ns": "re-estimated", "attack": "PGD-20", "eps": "8/255"},
        1.0,
    ),
)


STALE = "This link asks for something that is not here ({}); the default is shown instead."
LAMBDAS = ("lam", "left", "right")


def stale_values(
    query: Mapping[str, str], checkpoints: Sequence[str], own: Mapping[str, Collection[str]] | None = None
) -> list[str]:
    """Names of URL parameters whose value this version cannot show, for one message (`STALE`) to the visitor.

    own: what a page allows beside the parameters that pages share.
    """
    allowed: dict[str, Collection[str]] = {
        "model": list(checkpoints),
        "slide": list(SLIDES),
        "ns": list(HELD["ap"]),
        "ap": list(HELD["ns"]),
        "attack": list(ATTACKS),
        "eps": list(EPS),
        **(own or {}),
    }
    wrong = [name for name, values in allowed.items() if name in query and query[name] not in values]
    return wrong + [name for name in LAMBDAS if name in query and parse_lam(query[name]) is None]


def parse_lam(text: str | None) -> float | None:
    """A slider position from a URL, or None where it is not a number between 0 and 1."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


OWN = "own"
"""Stands for the stored NS of the very lambda that the AP are at: at 0 and 1 the two branches as they were trained."""


def setting_on(line: str, lam: float) -> api.NormSetting:
    """The setting at lambda on one of `engine.api.LINES`, or on `ap@own`."""
    return api.NormSetting(lam, api.Stored(lam)) if line == f"ap@{OWN}" else api.LINES[line](lam)
