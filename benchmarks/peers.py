"""The attacks that are measured, made ready in the same way: ours, and those of libraries where they are installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine import api
from engine.norm import channels_last, fold

HOW_TO_GET = {
    "torchattacks": "pip install --no-deps torchattacks==3.5.1 (with its dependencies it would downgrade requests)",
    "foolbox": "pip install -r requirements-dev.txt",
}
Crafter = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Images, labels and the generator of the start -> adversarial images."""


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """`prepare` makes the attack ready; its time counts."""

    name: str
    prepare: Callable[[], Crafter]


def ours(view: nn.Module, attack: api.PGD) -> Contender:
    def prepare() -> Crafter:
        craft = api.crafting_network(view)
        return lambda images, labels, generator: attack(craft, images, labels, generator=generator)

    label = ', stop="success"' if attack.stop == "success" else ""
    return Contender(f"this engine{label}", prepare)


def globally_seeded(craft: Callable[[Tensor, Tensor], Tensor]) -> Crafter:
    """The libraries draw their starts from torch's global state: seeded as the generator is, then put back."""

    def crafted(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(generator.initial_seed())  # noqa: TID251
            return craft(images, labels)

    return crafted


class Folded(nn.Module):
    """The network our attacks use (`api.crafting_network`), as a module."""

    def __init__(self, view: nn.Module) -> None:
        super().__init__()
        self.folded = fold(view)

    def forward(self, images: Tensor) -> Tensor:
        return self.folded(channels_last(images))


def torchattacks(view: nn.Module, attack: api.PGD, folded: bool) -> Contender:
    library = importlib.import_module("torchattacks")

    def prepare() -> Crafter:
        network = Folded(view).eval() if folded else view
        return globally_seeded(
            library.PGD(network, eps=attack.threat.eps, alpha=attack.step_size, steps=attack.steps, random_start=True)
        )

    return Contender("torchattacks on our folded network" if folded else "torchattacks", prepare)


def foolbox(view: nn.Module, attack: api.PGD) -> Contender:
    library = importlib.import_module("foolbox")

    def prepare() -> Crafter:
        device = next(view.parameters()).device
        network = library.PyTorchModel(view, bounds=(0, 1), device=device)
        pgd = library.attacks.LinfPGD(abs_stepsize=attack.step_size, steps=attack.steps, random_start=True)
        return globally_seeded(lambda images, labels: pgd.run(network, images, labels, epsilon=attack.threat.eps))

    return Contender("foolbox", prepare)
