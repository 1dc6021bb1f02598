"""What a training run is: one frozen value, read from a TOML file and kept in the checkpoint's card.

Usage::

    config = load_config(Path("checkpoints/shapes-dual-bn/train.toml"))
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from engine.models import ARCHITECTURES
from engine.values import CHECKPOINT_NAME, DESIGNS, InputError, check_eps, parse_fraction

_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A hybrid adversarial training run; loss = alpha * clean + (1 - alpha) * adversarial.

    loss "trades" is clean + beta * KL(p(clean) || p(adversarial)) instead, attacked by the KL (arXiv 1901.08573).
    batch: "separate" passes, each with its own statistics; "joint", pooled where they are shared; "crossed", both
    halves normalized by the clean half's (cross-NS). snapshots: NS of both kinds of images are kept at every epoch.
    alpha 1 is standard training (no attack at all), 0 is Madry training. eps stays 0 for the first `eps_hold` of the
    steps, then rises linearly and is reached at `eps_full` (from scratch at full eps little is learned).
    step_size = step_ratio * eps at every moment.

    only "affine" trains the AP that the loss reaches and nothing else, from the checkpoint `warm_start` (where that has
    a single BN it is doubled): at alpha 1 the clean branch's on clean images, at alpha 0 the adversarial branch's on
    images attacked through it, and the other branch stays as it was bit by bit. A branch's own NS follow its images,
    shared NS stay as they are for the other's sake. data: a built-in set, or the path of your own.
    """

    name: str
    data: str
    split: str
    n_train: int
    architecture: str
    design: str
    batch: Literal["separate", "joint", "crossed"]
    alpha: float
    eps: float
    attack_steps: int
    step_ratio: float
    eps_hold: float
    eps_full: float
    epochs: int
    batch_size: int
    lr: float
    schedule: Literal["one-cycle", "cosine"]
    weight_decay: float
    augment: Literal["none", "crop-flip"]
    seed: int
    momentum: float = 0.9
    ema: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    warm_start: str = ""
    loss: Literal["hybrid", "trades"] = "hybrid"
    beta: float = 6.0
    snapshots: bool = False
    only: Literal["", "affine"] = ""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if type(value) not in _KINDS.get(str(f.type), (str,)) or (type(value) is float and not isfinite(value)):
                raise InputError(f"Training configuration {self.name!r}: {f.name} cannot be {value!r}.")
        one_loss, shared = self.alpha in (0, 1), self.design in ("single", "dual-ap", "dual-linear")
        problems = [
            (not re.fullmatch(CHECKPOINT_NAME, self.name), "name must consist of letters, digits, '.', '_' and '-'"),
            (self.split not in ("train", "train-40k"), "split must be train or train-40k, the others are for judging"),
            (self.architecture not in ARCHITECTURES, f"architecture must be one of {', '.join(ARCHITECTURES)}"),
            (self.design not in DESIGNS, f"design must be one of {', '.join(DESIGNS)}"),
            (not self.data, "data must be shapes, cifar10 or the path of your own images"),
            (self.batch not in ("separate", "joint", "crossed"), "batch must be separate, joint or crossed"),
            (self.loss not in ("hybrid", "trades"), "loss must be hybrid or trades"),
            (self.schedule not in ("one-cycle", "cosine"), "schedule must be one-cycle or cosine"),
            (self.augment not in ("none", "crop-flip"), "augment must be none or crop-flip"),
            (self.precision not in ("fp32", "bf16"), "precision must be fp32 or bf16"),
            (not 0 <= self.alpha <= 1, "alpha must lie in [0, 1]"),
            (not 0 <= self.eps_hold <= self.eps_full <= 1, "0 <= eps_hold <= eps_full <= 1 must hold"),
            (self.epochs < 1 or self.batch_size < 2, "epochs must be at least 1 and batch_size at least 2"),
            (self.n_train < self.batch_size, "n_train must be at least batch_size"),
            (self.attack_steps < 1 or self.step_ratio <= 0, "attack_steps and step_ratio must be above 0"),
            (self.lr <= 0 or self.weight_decay < 0, "lr must be above 0 and weight_decay not below 0"),
            (not 0 < self.momentum < 1, "momentum must lie between 0 and 1 (Nesterov's)"),
            (not 0 <= self.ema < 1, "ema must lie in [0, 1)"),
            (self.batch != "separate" and one_loss, f"a {self.batch} batch needs both losses (0 < alpha < 1)"),
            (self.loss == "trades" and one_loss, "trades needs both halves (0 < alpha < 1)"),
            (self.loss == "trades" and self.beta <= 0, "beta must be above 0"),
            (self.batch == "crossed" and not shared, "a crossed batch needs shared statistics (single or dual-ap)"),
            (
                one_loss and self.design != "single" and not self.only,
                "with one loss only the single design makes sense",
            ),
            (self.only not in ("", "affine"), "only must be affine or be left out"),
            (
                bool(self.only) and self.design in ("single", "dual-ns", "dual-linear"),
                "training one branch's AP only needs a design that has two (dual-ap or dual-bn)",
            ),
            (bool(self.only) and not self.warm_start, "training the AP only needs a trained network (warm_start)"),
        ]
        for wrong, sentence in problems:
            if wrong:
                raise InputError(f"Training configuration {self.name!r}: {sentence}.")
        check_eps(self.eps)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def steps_per_epoch(self) -> int:
        return self.n_train // self.batch_size

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def eps_at(self, step: int) -> float:
        """eps in use at a step: 0, then a linear ramp, then full."""
        done = step / self.total_steps
        if done < self.eps_hold:
            return 0.0
        ramp = max(self.eps_full - self.eps_hold, 1e-9)
        return self.eps * min(1.0, (done - self.eps_hold) / ramp)


def load_config(path: Path) -> TrainConfig:
    """Reads a TOML file; eps may be written as "8/255". InputError names a missing, unknown or unreadable field."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number with thousands of digits
        raise InputError(f"{path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be a training configuration.") from None
    try:
        return config_from(values, str(path))
    except OverflowError:
        raise InputError(f"{path} holds a number beyond all use.") from None


def as_toml(config: TrainConfig) -> str:
    """The configuration as a file that `load_config` reads back to the same value."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in config.as_json().items())


def config_from(values: dict[str, Any], where: str) -> TrainConfig:
    known = {f.name: f for f in fields(TrainConfig)}
    unknown = sorted(set(values) - set(known))
    missing = sorted(name for name in ("name", "data", "design", "alpha", "eps", "epochs") if name not in values)
    if unknown or missing:
        what = f"has the unknown field {unknown[0]!r}" if unknown else f"lacks the field {missing[0]!r}"
        raise InputError(f"{where} {what}.")
    if isinstance(values["eps"], str):
        values = {**values, "eps": parse_fraction(values["eps"])}
    try:
        return TrainConfig(**values)
    except TypeError as error:
        raise InputError(f"{where}: {error}.") from None
