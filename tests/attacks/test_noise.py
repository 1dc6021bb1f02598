"""Controls have the size of an attack and never ask the network; R-FGSM and momentum against their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.attacks import PGD, RFGSM, LogitsFn, Noise
from engine.attacks.noise import Distribution
from engine.attacks.threat import project
from engine.values import ThreatModel
from tests.attacks.support import NORM_IDS, NORMS, Linear, grey, sizes
from tests.support import generator, random_images, random_labels, tiny

every_norm = pytest.mark.parametrize("threat", NORMS, ids=NORM_IDS)


def silent(_: Tensor) -> Tensor:
    raise AssertionError("noise asks the network")


def noisy(threat: ThreatModel, distribution: Distribution, images: Tensor, seed: int = 0) -> Tensor:
    labels = torch.zeros(len(images), dtype=torch.long)
    return Noise(threat, distribution)(silent, images, labels, generator=generator(seed))


@pytest.mark.parametrize(
    ("distribution", "kurtosis"),
    [("uniform", 9 / 5), ("gaussian", 3), ("sign", 1)],
    ids=["uniform", "gaussian", "sign"],
)
@every_norm
def test_noise_has_exactly_the_size_and_the_distribution_asked_for(
    threat: ThreatModel, distribution: Distribution, kurtosis: float
) -> None:
    images = torch.full((40, 3, 16, 16), 0.5)
    delta = noisy(threat, distribution, images) - images
    torch.testing.assert_close(sizes(threat, delta), torch.full((40,), threat.eps), rtol=1e-4, atol=0)
    shape = (delta**4).mean((1, 2, 3)) / (delta**2).mean((1, 2, 3)) ** 2
    assert float(shape.mean()) == pytest.approx(kurtosis, rel=0.05)
    assert float(delta.mean().abs()) < 0.02 * float(delta.abs().mean())


@every_norm
def test_r_fgsm_is_a_random_step_and_a_gradient_step(threat: ThreatModel) -> None:
    """On a linear network the second step is known, so what remains is the first: size `share` eps."""
    model, images = Linear(), grey(6)
    labels = random_labels(6, 2)
    attack = RFGSM(threat, share=0.25)
    delta = attack(model, images, labels, generator=generator()) - images
    away = (model.weight[1 - labels] - model.weight[labels]).detach().view(6, 3, 4, 4)
    direction = away.sign() if threat.norm == "Linf" else away / away.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    first = delta - 0.75 * threat.eps * direction
    torch.testing.assert_close(sizes(threat, first), torch.full((6,), 0.25 * threat.eps).double(), rtol=1e-4, atol=0)
    if threat.norm == "Linf":
        torch.testing.assert_close(first.abs(), torch.full_like(first, 0.25 * threat.eps), rtol=1e-4, atol=0)
        assert 0.3 < float((first > 0).float().mean()) < 0.7


def mi_fgsm(model: LogitsFn, images: Tensor, labels: Tensor, attack: PGD) -> Tensor:
    """Equations 6 and 7 of arXiv 1710.06081, written out once more; L2: its equation 8."""
    g, x = torch.zeros_like(images), images
    for _ in range(attack.steps):
        x = x.detach().requires_grad_()
        torch.nn.functional.cross_entropy(model(x), labels, reduction="sum").backward(inputs=[x])
        assert x.grad is not None
        for row in range(len(images)):
            g[row] = attack.momentum * g[row] + x.grad[row] / x.grad[row].abs().sum()
        step = torch.stack([row.sign() if attack.threat.norm == "Linf" else row / row.norm() for row in g])
        x = project(attack.threat, images, x.detach() + attack.step_size * step)
    return x.detach()


@pytest.mark.parametrize("stop", ["never", "success"])
@every_norm
def test_momentum_is_mi_fgsm(threat: ThreatModel, stop: str) -> None:
    model, images, labels = tiny(), random_images(6), random_labels(6)
    if stop == "success":  # labels that are far off stay right, or the steps would end
        labels = model(images).argmax(1)
        threat = ThreatModel(threat.norm, threat.eps / 5)
    fields: dict[str, Any] = {
        "threat": threat,
        "steps": 5,
        "step_size": threat.eps / 3,
        "random_start": False,
        "stop": stop,
    }
    attack = PGD(**fields, momentum=0.9)
    found = attack(model, images, labels, generator=generator())
    torch.testing.assert_close(found, mi_fgsm(model, images, labels, attack), rtol=0, atol=1e-6)
    plain = PGD(**fields)(model, images, labels, generator=generator())
    assert float((found - plain).abs().max()) > 1e-4
