"""What is written to disk about a network and its accuracies: frozen values, as JSON.

Usage::

    record = EvalRecord(...); record.interval.low
    card = ModelCard.from_json(json.loads(path.read_text()))
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from engine.attacks import Attack, attack_from_json
from engine.values import DESIGNS, InputError, Interval, NormDesign, NormSetting, wilson

SCHEMA = 1
PAPER = "arXiv:2403.19150"
_FORMS: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float), "dict[str, Any]": dict}
"""Annotation -> what JSON has there; lists for all others."""


Crafting = NormSetting | tuple[NormSetting, ...]
"""Where an attack is crafted: at one setting, or against several at once."""
Access = Literal["white-box", "adaptive", "transfer"]


def crafting_json(crafted: Crafting) -> dict[str, Any] | list[dict[str, Any]]:
    return crafted.as_json() if isinstance(crafted, NormSetting) else [setting.as_json() for setting in crafted]


@dataclass(frozen=True, slots=True)
class EvalRecord:
    """One accuracy: of which setting, on how many images, under which attack, crafted where."""

    setting: NormSetting
    attack: Attack | None
    attack_setting: Crafting | None
    n: int
    n_correct: int
    seed: int

    @property
    def white_box(self) -> bool:
        return self.access == "white-box"

    @property
    def access(self) -> Access | None:
        """white-box: crafted at the setting that is judged; adaptive: at several, this one among them, by an attacker
        who knows the choice but not which was made; transfer: elsewhere only. None without an attack."""
        if self.attack is None or self.attack_setting is None:
            return None
        if self.attack_setting == self.setting:
            return "white-box"
        several = isinstance(self.attack_setting, tuple) and self.setting in self.attack_setting
        return "adaptive" if several else "transfer"

    @property
    def interval(self) -> Interval:
        return wilson(self.n_correct, self.n)

    def as_json(self) -> dict[str, Any]:
        return {
            "setting": self.setting.as_json(),
            "attack": None if self.attack is None else asdict(self.attack),
            "attack_setting": None if self.attack_setting is None else crafting_json(self.attack_setting),
            "n": self.n,
            "n_correct": self.n_correct,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> EvalRecord:
        counts = value["n"], value["n_correct"], value["seed"]
        if not all(type(count) is int for count in counts):
            raise InputError(f"n, n_correct and seed must be whole numbers, got {counts}.")
        wilson(value["n_correct"], value["n"])  # refuses what is no accuracy
        crafted: Any = value["attack_setting"]
        if isinstance(crafted, list):
            crafted = tuple(NormSetting.from_json(setting) for setting in crafted)
        elif crafted is not None:
            crafted = NormSetting.from_json(crafted)
        return cls(
            NormSetting.from_json(value["setting"]),
            None if value["attack"] is None else attack_from_json(value["attack"]),
            crafted,
            *counts,
        )


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One headline figure class by class, and how far its confidence can be believed.

    class_n, class_correct: images of each class and how many of them count as correct; ece: expected calibration error
    in [0, 1] (15 bins; Guo et al. 2017, arXiv 1706.04599) of the clean predictions, None where attacked.
    """

    setting: NormSetting
    attack: Attack | None
    class_n: tuple[int, ...]
    class_correct: tuple[int, ...]
    ece: float | None

    def as_json(self) -> dict[str, Any]:
        attack = None if self.attack is None else asdict(self.attack)
        return asdict(self) | {"setting": self.setting.as_json(), "attack": attack}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Breakdown:
        attack = None if value["attack"] is None else attack_from_json(value["attack"])
        counts = (tuple(value["class_n"]), tuple(value["class_correct"]))
        for n, n_correct in zip(*counts, strict=True):
            if (n_correct, n) != (0, 0):  # a class may have no image
                wilson(n_correct, n)  # refuses what is no accuracy
        return cls(NormSetting.from_json(value["setting"]), attack, *counts, value["ece"])


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything needed to say what a checkpoint is, to load it and to make it again.

    config: the training configuration as plain JSON; data: name, split, n and checksum of the training images;
    records: headline accuracies on held-out images; breakdowns: the same class by class; official: accuracies on those
    of the official test images that are here, with `official_images` saying which; auto: AutoAttack on the adversarial
    branch, on the held-out images that `auto_images` names.
    """

    name: str
    architecture: str
    classes: tuple[str, ...]
    design: str
    data: dict[str, Any]
    config: dict[str, Any]
    weights_sha256: str
    images_seen: int
    wall_seconds: float
    device: str
    torch_version: str
    engine_version: str
    git_commit: str
    command: str
    evaluation: dict[str, Any] = field(default_factory=dict[str, Any])
    records: tuple[EvalRecord, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    official: tuple[EvalRecord, ...] = ()
    official_images: dict[str, Any] = field(default_factory=dict[str, Any])
    auto: tuple[EvalRecord, ...] = ()
    auto_images: dict[str, Any] = field(default_factory=dict[str, Any])
    licence: str = "MIT"
    paper: str = PAPER
    schema: int = SCHEMA

    @property
    def norm_design(self) -> NormDesign:
        return DESIGNS[self.design]

    @property
    def learned_from(self) -> str:
        """What the training loss saw, for people; '–' where the card does not say."""
        config = self.config
        if "converted" in config:
            return "not known"
        if config.get("loss") == "trades":
            return f"TRADES, beta {config.get('beta', 6):g}"
        alpha = config.get("alpha")
        kind = "–" if alpha is None else {0.0: "attacked", 1.0: "clean"}.get(alpha, "clean and attacked")
        if config.get("only"):
            return f"{kind}: AP alone, from {config.get('warm_start')}"
        return kind + (", clean statistics for both" if config.get("batch") == "crossed" else "")

    @property
    def origin(self) -> str:
        """Where a converted network came from and what was made of it, in sentences for people; '' for all others."""
        made = self.config.get("converted")
        if not isinstance(made, dict):
            return ""
        plain = (made.get("mean"), made.get("std")) == ([0.0] * 3, [1.0] * 3)
        enters = "as it is, in [0, 1]" if plain else f"as (image - {made.get('mean')}) / {made.get('std')}"
        return (
            f"Converted from {made.get('file')} (SHA-256 {str(made.get('sha256'))[:8]}): {made.get('branches')}. "
            f"An image enters {enters}. {self.data.get('note', '')}"
        )

    def as_json(self) -> dict[str, Any]:
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        lists = {
            name: [item.as_json() for item in plain[name]] for name in ("records", "breakdowns", "official", "auto")
        }
        return plain | {"classes": list(self.classes)} | lists

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> ModelCard:
        """Strict: a missing, unknown or wrong field is an InputError that names it and the file."""
        if value.get("schema") != SCHEMA:
            raise InputError(f"{where} has card schema {value.get('schema')!r}; this version reads {SCHEMA}.")
        known = {f.name for f in fields(cls)}
        younger = {"breakdowns": [], "official": [], "official_images": {}, "auto": [], "auto_images": {}}
        value = younger | value  # some cards are older than these fields
        wrong = [f"lacks {name!r}" for name in sorted(known - set(value))]
        wrong += [f"has an unknown field {name!r}" for name in sorted(set(value) - known)]
        if wrong:
            raise InputError(f"{where} {wrong[0]}; restore the file or train the checkpoint again.")
        forms = [f.name for f in fields(cls) if not isinstance(value[f.name], _FORMS.get(str(f.type), list))]
        if forms or "name" not in value["data"] or "eps" not in value["config"]:
            raise InputError(f"{where} has a field of the wrong form ({forms[0] if forms else 'data or config'}).")
        if value["design"] not in DESIGNS:
            raise InputError(f"{where} names the unknown design {value['design']!r}; use one of {', '.join(DESIGNS)}.")
        try:
            fixed: dict[str, Any] = {"classes": tuple(value["classes"])}
            for name in ("records", "official", "auto"):
                fixed[name] = tuple(EvalRecord.from_json(record) for record in value[name])
            fixed["breakdowns"] = tuple(Breakdown.from_json(item) for item in value["breakdowns"])
            if any(len(item.class_n) != len(fixed["classes"]) for item in fixed["breakdowns"]):
                raise ValueError("a breakdown has not one count a class")
            return cls(**(value | fixed))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{where} has a field of the wrong form ({error}).") from None
