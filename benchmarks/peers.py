"""The attacks that are measured, made ready in the same way: ours, and those of libraries where they are installed."""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn

from engine import api
from engine.attacks.half import half_first
from engine.norm import channels_last, fold, half

HOW_TO_GET = {
    "torchattacks": "pip install --no-deps torchattacks==3.5.1 (with its dependencies it would downgrade requests)",
    "foolbox": "pip install -r requirements-dev.txt",
    "captum": "pip install -r requirements.txt",
    "art": "pip install adversarial-robustness-toolbox",
    "pyautoattack": "pip install --no-deps pyautoattack",
}
DISTRIBUTIONS = {"art": "adversarial-robustness-toolbox"}
"""Where a package is not named as the module is."""
Crafter = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Images, labels and the generator of the start -> adversarial images."""


def missing(*names: str) -> list[str]:
    """A sentence for each library that is not here."""
    return [f"{name} is not installed: {HOW_TO_GET[name]}." for name in names if find_spec(name) is None]


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


def halved(view: nn.Module, attack: api.PGD) -> Contender:
    """Gradients in bfloat16, verdicts and the survivors' last steps in float32 (`engine.attacks.half`)."""

    def prepare() -> Crafter:
        craft = api.crafting_network(view)
        rough = half(fold(view))
        return lambda images, labels, generator: half_first(attack, rough, craft, images, labels, generator=generator)

    return Contender(f"{ours(view, attack).name}, bfloat16", prepare)


def globally_seeded(craft: Callable[[Tensor, Tensor], Tensor]) -> Crafter:
    """The libraries draw from torch's or numpy's global state: seeded as the generator is, then put back."""

    def crafted(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        before = np.random.get_state()  # noqa: NPY002
        try:
            with torch.random.fork_rng():
                torch.manual_seed(generator.initial_seed())  # noqa: TID251
                np.random.seed(generator.initial_seed() % 2**32)  # noqa: NPY002
                return craft(images, labels)
        finally:
            np.random.set_state(before)  # noqa: NPY002

    return crafted


class Folded(nn.Module):
    """The network our attacks use (`api.crafting_network`), as a module."""

    def __init__(self, view: nn.Module) -> None:
        super().__init__()
        self.folded = fold(view)

    def forward(self, images: Tensor) -> Tensor:
        return self.folded(channels_last(images))


def trainable(view: nn.Module) -> nn.Module:
    """A copy whose parameters take gradients, as those of a network just loaded do."""
    return copy.deepcopy(view).requires_grad_(True)


def torchattacks(view: nn.Module, attack: api.PGD, folded: bool) -> Contender:
    library = importlib.import_module("torchattacks")

    def prepare() -> Crafter:
        network = Folded(view).eval() if folded else trainable(view)
        return globally_seeded(
            library.PGD(network, eps=attack.threat.eps, alpha=attack.step_size, steps=attack.steps, random_start=True)
        )

    return Contender("torchattacks on our folded network" if folded else "torchattacks", prepare)


def foolbox(view: nn.Module, attack: api.PGD, frozen: bool) -> Contender:
    library = importlib.import_module("foolbox")

    def prepare() -> Crafter:
        device = next(view.parameters()).device
        network = library.PyTorchModel(view if frozen else trainable(view), bounds=(0, 1), device=device)
        pgd = library.attacks.LinfPGD(abs_stepsize=attack.step_size, steps=attack.steps, random_start=True)
        return globally_seeded(lambda images, labels: pgd.run(network, images, labels, epsilon=attack.threat.eps))

    return Contender("foolbox, parameters frozen" if frozen else "foolbox", prepare)


def captum(view: nn.Module, attack: api.PGD) -> Contender:
    library = importlib.import_module("captum.robust")

    def prepare() -> Crafter:
        pgd = library.PGD(trainable(view), nn.CrossEntropyLoss(reduction="none"), lower_bound=0, upper_bound=1)
        eps, step_size, steps = attack.threat.eps, attack.step_size, attack.steps

        def crafted(images: Tensor, labels: Tensor) -> Tensor:
            with warnings.catch_warnings():  # that it sets requires_grad at every step, here on a copy
                warnings.simplefilter("ignore", UserWarning)
                return pgd.perturb(images.clone(), eps, step_size, steps, labels, random_start=True).detach()

        return globally_seeded(crafted)

    return Contender("captum.robust", prepare)


def art(view: nn.Module, attack: api.PGD, frozen: bool) -> Contender:
    classifier = importlib.import_module("art.estimators.classification").PyTorchClassifier
    method = importlib.import_module("art.attacks.evasion").ProjectedGradientDescentPyTorch

    def prepare() -> Crafter:
        device = next(view.parameters()).device
        eps, step_size, steps = attack.threat.eps, attack.step_size, attack.steps
        network = view if frozen else trainable(view)

        def crafted(images: Tensor, labels: Tensor) -> Tensor:
            shape, n_classes = images.shape[1:], view(images[:1]).shape[1]
            wrapped = classifier(
                network, nn.CrossEntropyLoss(), shape, n_classes, clip_values=(0, 1), device_type=device.type
            )
            pgd = method(wrapped, np.inf, eps, step_size, max_iter=steps, num_random_init=1, batch_size=len(images),
                         verbose=False)  # fmt: skip
            return torch.from_numpy(pgd.generate(images.cpu().numpy(), labels.cpu().numpy())).to(device)

        return globally_seeded(crafted)

    return Contender("ART, parameters frozen" if frozen else "ART", prepare)


LIBRARIES: dict[str, tuple[Callable[[nn.Module, api.PGD], Contender], ...]] = {
    "torchattacks": (
        partial(torchattacks, folded=False),
        partial(torchattacks, folded=True),
    ),
    "foolbox": (partial(foolbox, frozen=False), partial(foolbox, frozen=True)),
    "captum": (captum,),
    "art": (partial(art, frozen=False), partial(art, frozen=True)),
}
"""The PGD of each library."""
