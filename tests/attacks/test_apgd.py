"""APGD: its schedule, closed forms on linear networks, its bookkeeping, and its strength beside PGD."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.attacks import APGD, PGD
from engine.attacks.apgd import _Climb, checkpoints
from engine.attacks.losses import OBJECTIVES, TARGETED
from engine.values import ThreatModel
from tests.attacks.support import NORM_IDS, NORMS, WIDE, Linear, grey, robust, shipped, sizes
from tests.support import generator, random_images, random_labels, tiny

every_norm = pytest.mark.parametrize("threat", NORMS, ids=NORM_IDS)


def test_checkpoints_are_those_of_the_paper() -> None:
    """p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99: differences shrink by 0.03, but not below 0.06."""
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(10) == (3, 5, 6, 7, 8, 9, 10)
    assert checkpoints(1) == (1,)


def test_dlr_is_its_formula_and_ignores_shift_and_scale() -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0, 0.0], [1.0, 4.0, 3.0, 0.0]])
    labels, targets, none = torch.tensor([0, 0]), torch.tensor([1, 2]), torch.empty(0)
    by_hand = torch.tensor([-(4 - 3) / (4 - 1), -(1 - 4) / (4 - 1)])
    torch.testing.assert_close(OBJECTIVES["dlr"](logits, labels, none), by_hand)
    torch.testing.assert_close(OBJECTIVES["dlr"](5 * logits + 7, labels, none), by_hand)
    targeted = torch.tensor([-(4 - 1) / (4 - (1 + 0) / 2), -(1 - 3) / (4 - (1 + 0) / 2)])
    torch.testing.assert_close(TARGETED["dlr"](logits, labels, targets), targeted)
    torch.testing.assert_close(TARGETED["margin"](logits, labels, targets), torch.tensor([-3.0, 2.0]))
    log_p = logits.log_softmax(1)
    torch.testing.assert_close(TARGETED["ce"](logits, labels, targets), log_p[[0, 1], targets])


@every_norm
def test_on_a_linear_network_it_reaches_the_maximum_of_the_margin(threat: ThreatModel) -> None:
    """max over the ball of z_j - z_y is its value at the image plus eps |w_j - w_y|_dual."""
    model, images = Linear(), grey(6)
    labels = random_labels(6, 2)
    found = APGD(threat, 40, "margin")(model, images, labels, generator=generator())
    before, after = (OBJECTIVES["margin"](model(x).detach(), labels, labels) for x in (images, found))
    away = model.weight.detach()[1] - model.weight.detach()[0]
    best = before + threat.eps * away.norm(p=1 if threat.norm == "Linf" else 2)
    torch.testing.assert_close(after, best, rtol=1e-4, atol=0)


@every_norm
def test_it_succeeds_exactly_where_a_linear_network_can_be_fooled(threat: ThreatModel) -> None:
    """5 classes, targets all others: fooled iff the distance to the nearest boundary is below eps."""
    model, images = Linear(5), grey(60)
    labels = model(images).argmax(1)
    distance = model.distances(images, labels, threat.norm).amin(1)
    eps = float(distance.median())
    attack = APGD(ThreatModel(threat.norm, eps), 25, "dlr", 4, stop="success")
    found = attack(model, images, labels, generator=generator())
    clear = (distance / eps - 1).abs() > 0.01
    assert torch.equal(robust(model, found, labels)[clear], (distance > eps)[clear])
    assert int(clear.sum()) > 20


@pytest.mark.parametrize("targets", [0, 3])
@every_norm
def test_the_result_is_the_best_point_of_the_trace(threat: ThreatModel, targets: int) -> None:
    """Fooled before not fooled, then the highest loss; a step of the trace is what the network says of its images."""
    model, images = tiny(), random_images(16)
    labels = model(images).argmax(1)
    attack = APGD(WIDE[threat.norm], 8, "margin", targets, n_restarts=2)
    best, images_of_best = torch.full((16,), -torch.inf).double(), images
    ever = torch.zeros(16, dtype=torch.bool)
    steps = list(attack.trace(model, images, labels, generator=generator(3)))
    assert [step.step for step in steps] == list(range(9)) * 2 * max(1, targets)
    for step in steps:
        torch.testing.assert_close(step.logits, model(step.images).detach(), rtol=1e-5, atol=1e-5)
        wrong = step.logits.argmax(1) != labels
        ever |= wrong
        assert torch.equal(step.fooled, ever)
        score = step.loss.double() + 1e4 * wrong
        images_of_best = torch.where((score > best).view(-1, 1, 1, 1), step.images, images_of_best)
        best = torch.maximum(best, score)
    assert 0 < int(ever.sum()) < 16
    found = attack(model, images, labels, generator=generator(3))
    torch.testing.assert_close(found, images_of_best, rtol=0, atol=1e-5)


@every_norm
def test_more_steps_of_a_restart_never_lose_what_was_found(threat: ThreatModel) -> None:
    """Monotone best loss: over the steps of one attack, by definition, and over restarts."""
    model, images, labels = tiny(), random_images(10), random_labels(10)
    losses: list[Tensor] = []
    for n_restarts in (1, 2, 4):
        attack = APGD(WIDE[threat.norm], 2, "margin", n_restarts=n_restarts)
        found = attack(model, images, labels, generator=generator(2))
        losses.append(OBJECTIVES["margin"](model(found).detach(), labels, labels))
    assert bool((losses[1] >= losses[0] - 1e-5).all())
    assert bool((losses[2] >= losses[1] - 1e-5).all())
    assert float((losses[2] - losses[0]).max()) > 1e-4


def test_a_zigzag_halves_the_step() -> None:
    """On -|x - target| the steps of 2 eps jump over the target until they are halved: without halving it stays off."""
    images, target = torch.full((1, 1, 1, 1), 0.5), 0.56

    def logits_fn(x: Tensor) -> Tensor:
        value = 1 - (x.flatten(1) - target).abs()
        return torch.cat([-value * 10, value * 0], dim=1)

    threat = ThreatModel("Linf", 0.1)
    found = APGD(threat, 60, "margin")(logits_fn, images, torch.tensor([0]), generator=generator())
    assert float(found) == pytest.approx(target, abs=2e-3)


def test_a_checkpoint_halves_and_goes_back_where_steps_did_not_pay() -> None:
    """Of 10 steps: 8 rose; 7 rose; 10 rose to no new best, the step kept; the same, the step halved just before."""
    rises, best = torch.tensor([8, 7, 10, 10]), torch.tensor([2.0, 2.0, 1.0, 1.0])
    rows, wide = torch.arange(4), torch.zeros(4, 1, 1, 1)
    state = _Climb(
        index=rows, image=wide, labels=rows, reference=rows, x=wide + 0.1, before=wide + 0.2, gradient=wide + 0.3,
        loss=wide[:, 0, 0, 0], best=wide + 0.4, best_gradient=wide + 0.5, best_loss=best, size=wide + 1, rises=rises,
        checked_loss=torch.ones(4), halved=torch.tensor([False, False, False, True]),
    )  # fmt: skip
    after = state.checked(span=10)
    assert after.halved.tolist() == [False, True, True, False]
    assert after.size.flatten().tolist() == [1, 0.5, 0.5, 1]
    for found, stays, goes_back in ((after.x, 0.1, 0.4), (after.gradient, 0.3, 0.5)):
        torch.testing.assert_close(found.flatten(), torch.tensor([stays, goes_back, goes_back, stays]))
    assert after.loss.tolist() == [0, 2, 1, 0]
    assert after.rises.tolist() == [0] * 4
    assert torch.equal(after.checked_loss, best)


@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_stopping_at_success_fools_the_same_images_for_less(loss: str) -> None:
    model, images = tiny(), random_images(50)
    labels = model(images).argmax(1)
    threat, asked = WIDE["Linf"], [0, 0]

    def counted(position: int, x: Tensor) -> Tensor:
        asked[position] += len(x)
        return model(x)

    results = [
        APGD(threat, 10, loss, 3, 2, stop)(  # pyright: ignore[reportArgumentType]
            lambda x, p=position: counted(p, x), images, labels, generator=generator(4)
        )
        for position, stop in enumerate(("never", "success"))
    ]
    verdicts = [robust(model, found, labels) for found in results]
    assert torch.equal(*verdicts)
    assert 0 < int(verdicts[0].sum()) < 50
    assert asked[1] < 0.8 * asked[0]


def test_fooled_images_leave_within_a_run() -> None:
    model, images = tiny(), random_images(50)
    labels, seen = model(images).argmax(1), list[int]()

    def counted(x: Tensor) -> Tensor:
        seen.append(len(x))
        return model(x)

    APGD(WIDE["Linf"], 8, stop="success")(counted, images, labels, generator=generator(4))
    assert seen == sorted(seen, reverse=True)
    assert 0 < seen[-1] < seen[0] == 50


@every_norm
def test_it_is_at_least_as_strong_as_pgd_on_the_shipped_network(threat: ThreatModel) -> None:
    judge, craft, images, labels = shipped()
    assert len(images) > 90
    eps = 8 / 255 if threat.norm == "Linf" else 0.5
    threat = ThreatModel(threat.norm, eps)
    pgd, apgd = PGD(threat, 5, eps / 4, stop="success"), APGD(threat, 5, stop="success")
    left = [int(robust(judge, a(craft, images, labels, generator=generator()), labels).sum()) for a in (pgd, apgd)]
    assert left[1] <= left[0] < len(images)


@every_norm
def test_sizes_of_failed_attacks_are_eps(threat: ThreatModel) -> None:
    """A loss without a maximum inside the ball is highest at its edge."""
    model, images = Linear(), grey(4)
    labels = random_labels(4, 2)
    found = APGD(threat, 20)(model, images, labels, generator=generator())
    torch.testing.assert_close(sizes(threat, found - images), torch.full((4,), threat.eps).double(), rtol=1e-4, atol=0)
