"""Attacks: frozen values called on `images -> logits`."""

from engine.attacks.apgd import APGD
from engine.attacks.auto import AutoAttack, AutoResult, quick_auto
from engine.attacks.base import AttackStep, LogitsFn, Progress
from engine.attacks.fab import FAB, Nearest
from engine.attacks.losses import OBJECTIVES, TARGETED
from engine.attacks.minimal import MinimalEps, minimal_eps, resized
from engine.attacks.noise import RFGSM, Noise
from engine.attacks.pgd import PGD, fgsm
from engine.attacks.registry import KINDS, Attack, attack_from_json
from engine.attacks.square import Square

__all__ = [
    "APGD",
    "FAB",
    "KINDS",
    "OBJECTIVES",
    "PGD",
    "RFGSM",
    "TARGETED",
    "Attack",
    "AttackStep",
    "AutoAttack",
    "AutoResult",
    "LogitsFn",
    "MinimalEps",
    "Nearest",
    "Noise",
    "Progress",
    "Square",
    "attack_from_json",
    "fgsm",
    "minimal_eps",
    "quick_auto",
    "resized",
]
