"""The objectives against torch's own losses and the definition of being fooled; PGD along each of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.attacks import OBJECTIVES, PGD
from engine.attacks.losses import LossName
from engine.values import InputError, ThreatModel
from tests.support import generator, random_images, random_labels, tiny

N, K = 40, 10
THREAT = ThreatModel("Linf", 0.05)


def logits(seed: int = 0) -> Tensor:
    return torch.randn(N, K, generator=generator(seed)) * 3


LABELS = random_labels(N)


def test_cross_entropy_and_divergence_are_torchs() -> None:
    ours, clean = logits(0), logits(1)
    torch.testing.assert_close(
        OBJECTIVES["ce"](ours, LABELS, clean), F.cross_entropy(ours, LABELS, reduction="none"), rtol=0, atol=0
    )
    expected = F.kl_div(ours.log_softmax(1), clean.softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(OBJECTIVES["kl"](ours, LABELS, clean), expected)
    torch.testing.assert_close(OBJECTIVES["kl"](clean, LABELS, clean), torch.zeros(N), rtol=0, atol=1e-6)


def test_the_margin_is_positive_exactly_where_the_network_is_fooled() -> None:
    found = OBJECTIVES["margin"](logits(), LABELS, torch.empty(0))
    by_hand = [max(z for j, z in enumerate(row) if j != y) - row[y] for row, y in zip(logits(), LABELS, strict=True)]
    torch.testing.assert_close(found, torch.stack(by_hand))
    assert torch.equal(found > 0, logits().argmax(1) != LABELS)
    assert 0 < (found > 0).sum() < N


@pytest.mark.parametrize("loss", OBJECTIVES)
def test_pgd_raises_the_loss_it_is_given(loss: LossName) -> None:
    """Above that of a random start of the same size, on nearly every image, and no less than along the other losses."""
    model, images, labels = tiny(), random_images(N), random_labels(N)
    clean = model(images).detach()

    def reached(steps: int, by: LossName) -> Tensor:
        attack = PGD(THREAT, steps, 0.0125 if steps > 1 else 1e-9, loss=by)
        adversarial = attack(model, images, labels, generator=generator(1))
        assert (adversarial - images).abs().max() <= THREAT.eps + 1e-6
        return OBJECTIVES[loss](model(adversarial).detach(), labels, clean)

    attacked = reached(10, loss)
    assert (attacked > reached(1, loss)).float().mean() > 0.85
    assert all(attacked.mean() >= 0.98 * reached(10, other).mean() for other in OBJECTIVES)


def test_unknown_losses_are_refused_and_labels_name_the_loss() -> None:
    with pytest.raises(InputError, match="ascends ce, margin, kl, dlr, not 'dlr2'"):
        PGD(THREAT, 1, 0.1, loss="dlr2")  # pyright: ignore[reportArgumentType]
    assert PGD(ThreatModel("Linf", 8 / 255), 20, 0.1, loss="margin").label == "PGD-20 (margin) at 8/255"
    assert PGD(ThreatModel("Linf", 8 / 255), 20, 0.1).label == "PGD-20 at 8/255"
