"""Attacks: frozen values called on `images -> logits`."""

from engine.attacks.losses import OBJECTIVES
from engine.attacks.pgd import PGD, Attack, AttackStep, LogitsFn, attack_from_json, fgsm

__all__ = ["OBJECTIVES", "PGD", "Attack", "AttackStep", "LogitsFn", "attack_from_json", "fgsm"]
