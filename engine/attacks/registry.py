"""Every attack by its kind, and how it comes back from the JSON that `dataclasses.asdict` wrote.

Usage::

    attack = attack_from_json(json.loads(json.dumps(asdict(APGD(ThreatModel("Linf", 8 / 255), steps=20)))))
"""

from __future__ import annotations

from typing import Any

from engine.attacks.apgd import APGD
from engine.attacks.auto import AutoAttack
from engine.attacks.fab import FAB
from engine.attacks.noise import RFGSM, Noise
from engine.attacks.pgd import PGD
from engine.attacks.square import Square
from engine.values import InputError, ThreatModel

Attack = PGD | APGD | FAB | Square | AutoAttack | RFGSM | Noise
"""Every attack is called as attack(logits_fn, images, labels, generator=g) and has a threat and a label."""
KINDS: dict[str, type[Attack]] = {
    "pgd": PGD,
    "apgd": APGD,
    "fab": FAB,
    "square": Square,
    "auto": AutoAttack,
    "r-fgsm": RFGSM,
    "noise": Noise,
}


def attack_from_json(value: dict[str, Any]) -> Attack:
    """The attack; without a `kind` it is PGD, whose JSON is older than the key. InputError for an unknown kind."""
    fields: dict[str, Any] = value | {"threat": ThreatModel(**value["threat"])}
    if isinstance(fields.get("target"), list):  # JSON has no tuples
        fields["target"] = tuple(fields["target"])
    kind = fields.pop("kind", "pgd")
    if kind not in KINDS:
        raise InputError(f"There is no attack of kind {kind!r}; there are {', '.join(KINDS)}.")
    return KINDS[kind](**fields)
