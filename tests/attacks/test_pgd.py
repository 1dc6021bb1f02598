"""PGD and FGSM against the closed forms of a linear network, and against foolbox."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

import foolbox
import pytest
import torch
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn
from torch.nn import functional as F

from engine.attacks import PGD, attack_from_json, fgsm
from engine.attacks.threat import random_start
from engine.values import InputError, ThreatModel
from tests.support import generator, random_images, random_labels, snapshot, tiny

Norm = Literal["Linf", "L2"]
SHAPE = (3, 4, 4)
NORMS: tuple[Norm, ...] = ("Linf", "L2")


class Linear(nn.Module):
    """Two classes, logits W x + b, in float64, so that closed forms hold to many digits."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, math.prod(SHAPE), generator=generator(3)).double() * scale)
        self.bias = nn.Parameter(torch.tensor([0.3, -0.2]).double())

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).double() @ self.weight.T + self.bias

    def away(self, labels: Tensor) -> Tensor:
        """w_j - w_y, the direction in which the loss rises, (n, c, h, w)."""
        return (self.weight[1 - labels] - self.weight[labels]).detach().view(-1, *SHAPE)


def grey(n: int = 5, seed: int = 0) -> Tensor:
    """Images so far from 0 and 1 that small perturbations are not clipped."""
    return 0.4 + 0.2 * torch.rand(n, *SHAPE, generator=generator(seed))


LABELS = torch.tensor([0, 1, 1, 0, 1])


def unit(direction: Tensor) -> Tensor:
    return direction / direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def test_fgsm_on_a_linear_network_is_the_closed_form() -> None:
    model, eps = Linear(), 0.05
    images = torch.rand(5, *SHAPE, generator=generator(1))
    images[:, 0] = images[:, 0].round()  # pixels at 0 and 1, where the range clips
    expected = (images + eps * model.away(LABELS).sign()).clamp(0, 1)
    attacked = fgsm(ThreatModel("Linf", eps))(model, images, LABELS, generator=generator())
    torch.testing.assert_close(attacked, expected.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("start", [False, True], ids=["from-the-image", "random-start"])
@pytest.mark.parametrize("norm", NORMS)
def test_pgd_on_a_linear_network_reaches_the_maximum(norm: Norm, start: bool) -> None:
    """max over the ball of log(1 + exp(-margin)) is log(1 + exp(-(margin - eps |w|_dual)))."""
    model, images = Linear(), grey()
    eps = 0.1 if norm == "Linf" else 0.3
    away = model.away(LABELS)
    attack = PGD(ThreatModel(norm, eps), steps=60, step_size=eps / 4, random_start=start)
    attacked = attack(model, images, LABELS, generator=generator())
    direction = away.sign() if norm == "Linf" else unit(away)
    torch.testing.assert_close(attacked, (images + eps * direction).float(), rtol=0, atol=2e-3 if start else 1e-6)
    margin = -(away * images).flatten(1).sum(1) - (model.bias[1 - LABELS] - model.bias[LABELS]).detach()
    dual_norm = away.flatten(1).norm(p=1 if norm == "Linf" else 2, dim=1)
    best = F.softplus(-(margin - eps * dual_norm))
    reached = F.cross_entropy(model(attacked), LABELS, reduction="none")
    torch.testing.assert_close(reached, best, rtol=1e-3 if start else 1e-5, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_every_result_lies_in_the_ball_and_in_range(norm: Norm) -> None:
    """Twenty random trials; pixels at exactly 0 and 1 among them, and steps larger than the ball."""
    model = tiny()
    for trial in range(20):
        g = generator(trial)
        eps = float(10 ** (-2 + 2 * torch.rand((), generator=g)))
        images = (1.5 * torch.rand(3, 3, 6, 6, generator=g) - 0.25).clamp(0, 1)
        attack = PGD(ThreatModel(norm, eps), steps=1 + trial % 4, step_size=eps * 3 ** (trial % 3), n_restarts=2)
        attacked = attack(model, images, random_labels(3, seed=trial), generator=g)
        assert float(attacked.min()) >= 0
        assert float(attacked.max()) <= 1
        size = (attacked - images).flatten(1).norm(p=math.inf if norm == "Linf" else 2, dim=1)
        assert float(size.max()) <= eps * (1 + 1e-5) + 1e-7
        assert float(size.max()) > eps / 10


@pytest.mark.parametrize("steps", [1, 3, 10])
@pytest.mark.parametrize("norm", NORMS)
def test_it_equals_foolbox_from_the_same_start(norm: Norm, steps: int) -> None:
    model, images, labels = tiny(), random_images(6), random_labels(6)
    eps = 0.05 if norm == "Linf" else 0.5
    theirs = {"Linf": foolbox.attacks.LinfPGD, "L2": foolbox.attacks.L2PGD}[norm](
        abs_stepsize=eps / 4, steps=steps, random_start=False
    )
    expected = theirs.run(PyTorchModel(model, bounds=(0, 1)), images, labels, epsilon=eps)
    attack = PGD(ThreatModel(norm, eps), steps, eps / 4, random_start=False)
    attacked = attack(model, images, labels, generator=generator())
    torch.testing.assert_close(attacked, expected, rtol=0, atol=1e-6)
    assert float((attacked - images).abs().max()) > eps / 100


def test_nothing_but_the_images_sees_a_gradient() -> None:
    model, images, labels = tiny(), random_images(4), random_labels(4)
    for parameter in list(model.parameters())[:2]:
        parameter.grad = torch.full_like(parameter, 7.0)
    model.get_submodule("bn1").train()
    modes = snapshot(model)["modes"]
    kept, before = images.clone(), torch.random.get_rng_state()
    with torch.no_grad():
        attacked = PGD(ThreatModel("Linf", 0.1), 2, 0.05)(model, images, labels, generator=generator())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert snapshot(model)["modes"] == modes
    for index, parameter in enumerate(model.parameters()):
        assert parameter.requires_grad
        assert parameter.grad is None if index > 1 else bool((parameter.grad == 7).all())
    assert torch.equal(images, kept)
    assert not images.requires_grad
    assert not attacked.requires_grad
    assert attacked.is_leaf


def fooled(model: nn.Module, attack: PGD, images: Tensor, labels: Tensor) -> Tensor:
    return model(attack(model, images, labels, generator=generator(5))).argmax(1) != labels


def close_call() -> tuple[nn.Module, Tensor, Tensor, float]:
    """A network, images it gets right, and an eps that fools it on some of them, depending on the start."""
    model = tiny().double()
    images = random_images(60, side=6).double()
    return model, images, model(images).argmax(1), 0.1


def test_restarts_never_lower_the_success() -> None:
    model, images, labels, eps = close_call()
    counts: list[int] = []
    before = torch.zeros(len(images), dtype=torch.bool)
    for n_restarts in (1, 2, 4, 8):
        attack = PGD(ThreatModel("Linf", eps), steps=1, step_size=eps, n_restarts=n_restarts)
        now = fooled(model, attack, images, labels)
        assert not (before & ~now).any()
        before = now
        counts.append(int(now.sum()))
    assert counts[0] < counts[-1] < len(images), counts


def test_of_several_failed_restarts_the_highest_loss_is_kept() -> None:
    model, images, labels, _ = close_call()
    attack = PGD(ThreatModel("Linf", 1e-3), steps=1, step_size=1e-4, n_restarts=4)
    ends = [s for s in attack.trace(model, images, labels, generator=generator(5)) if s.step == 1]
    assert not ends[-1].fooled.any(), "the attack is meant to fail"
    chosen = attack(model, images, labels, generator=generator(5))
    loss = F.cross_entropy(model(chosen), labels, reduction="none")
    torch.testing.assert_close(loss.float(), torch.stack([s.loss for s in ends]).amax(0))


def test_stopping_at_success_gives_the_same_robust_accuracy() -> None:
    """An image is robust if it is right at every step of every restart, whether or not the attack goes on."""
    model, images, labels, eps = close_call()
    attack = PGD(ThreatModel("Linf", eps), steps=3, step_size=eps / 2, n_restarts=2)
    ever = torch.zeros(len(images), dtype=torch.bool)
    for step in attack.trace(model, images, labels, generator=generator(5)):
        ever |= model(step.images).argmax(1) != labels
        assert torch.equal(step.fooled, ever)
    early = PGD(**{f: getattr(attack, f) for f in ("threat", "steps", "step_size", "n_restarts")}, stop="success")
    assert torch.equal(fooled(model, early, images, labels), ever)
    assert 0 < int(ever.sum()) < len(images)


def test_stopping_at_success_leaves_fooled_images_alone() -> None:
    model, images, labels, eps = close_call()
    seen: list[int] = []

    def counting(x: Tensor) -> Tensor:
        seen.append(len(x))
        return model(x)

    attack = PGD(ThreatModel("Linf", 2 * eps), steps=4, step_size=eps / 2, stop="success")
    previous = None
    for step in attack.trace(counting, images, labels, generator=generator(5)):
        if previous is not None:
            assert torch.equal(step.images[previous.fooled], previous.images[previous.fooled])
        previous = step
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < seen[0] == len(images)


def test_the_trace_is_every_step_of_the_call() -> None:
    model, images, labels = tiny(), random_images(5), random_labels(5)
    attack = PGD(ThreatModel("Linf", 0.1), steps=3, step_size=0.05, n_restarts=2)
    steps = list(attack.trace(model, images, labels, generator=generator(9)))
    assert [(s.restart, s.step) for s in steps] == [(r, s) for r in range(2) for s in range(4)]
    for step in steps:
        torch.testing.assert_close(step.logits, model(step.images).detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(step.loss, F.cross_entropy(step.logits, labels, reduction="none"))
    assert not torch.equal(steps[0].images, steps[4].images), "both restarts start at the same place"
    single = PGD(attack.threat, attack.steps, attack.step_size)
    last = list(single.trace(model, images, labels, generator=generator(9)))[-1]
    assert torch.equal(last.images, single(model, images, labels, generator=generator(9)))
    assert torch.equal(last.images, steps[3].images)


def test_traced_tensors_are_never_written_to_again() -> None:
    model, images, labels = tiny(), random_images(5), random_labels(5)
    for stop in ("never", "success"):
        attack = PGD(ThreatModel("Linf", 0.1), steps=3, step_size=0.05, n_restarts=2, stop=stop)
        pairs = [
            [(tensor, tensor.clone()) for tensor in (s.images, s.logits, s.loss, s.fooled)]
            for s in attack.trace(model, images, labels, generator=generator())
        ]
        assert all(torch.equal(now, then) for step in pairs for now, then in step)


@pytest.mark.parametrize("norm", NORMS)
def test_a_confident_network_in_half_precision_gives_the_right_gradient(norm: Norm) -> None:
    """At a margin of 8 softmax - onehot is 0 at the label in bfloat16: the gradient would be that of w_j alone."""
    model, images, step = Linear(scale=0.1), grey(), 0.01
    boost = 10.0 * F.one_hot(LABELS)

    def logits_fn(x: Tensor) -> Tensor:
        return (model(x) + boost).bfloat16()

    margins = logits_fn(images).detach().diff(dim=1).abs()
    assert 7 < float(margins.min()) < float(margins.max()) < 14
    attack = PGD(ThreatModel(norm, step), steps=1, step_size=step, random_start=False)
    attacked = attack(logits_fn, images, LABELS, generator=generator())
    away = model.away(LABELS)
    direction = away.sign() if norm == "Linf" else unit(away)
    torch.testing.assert_close(attacked - images, (step * direction).float(), rtol=0.02, atol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_the_random_start_is_uniform_in_the_ball(norm: Norm) -> None:
    """Linf: mean |delta| = eps / 2. L2 in d dimensions: (|delta| / eps)^d is uniform."""
    images, eps = torch.full((4000, 3, 1, 1), 0.5), 0.25
    delta = random_start(ThreatModel(norm, eps), images, generator()) - images
    radius = delta.flatten(1).norm(p=math.inf if norm == "Linf" else 2, dim=1)
    level = (radius / eps).pow(3)
    for quantile in (0.1, 0.5, 0.9):
        assert float(level.quantile(quantile)) == pytest.approx(quantile, abs=0.03)
    assert delta.mean(0).abs().max() < 0.02 * eps + 0.005


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        pytest.param(lambda: ThreatModel("Linf", 0), "eps must be above 0", id="eps-0"),
        pytest.param(lambda: ThreatModel("Linf", 300 / 255), r"at most 1 \(pixels are in \[0, 1\]\)", id="eps-300/255"),
        pytest.param(lambda: ThreatModel("Linf", math.nan), "eps must be", id="eps-nan"),
        pytest.param(lambda: ThreatModel("L2", -1), "L2 eps must be a number above 0", id="eps-L2"),
        pytest.param(lambda: ThreatModel("L1", 1), "Linf or L2, got 'L1'", id="norm"),  # pyright: ignore[reportArgumentType]
        pytest.param(lambda: PGD(ThreatModel("L2", 1), -1, 0.1), "at least 1 step", id="steps-negative"),
        pytest.param(lambda: PGD(ThreatModel("L2", 1), 0, 0.1), "at least 1 step", id="steps-0"),
        pytest.param(lambda: PGD(ThreatModel("L2", 1), 1, 0.1, n_restarts=0), "1 restart", id="restarts-0"),
        pytest.param(lambda: PGD(ThreatModel("L2", 1), 1, math.nan), "step size must be", id="step-size-nan"),
        pytest.param(lambda: PGD(ThreatModel("L2", 1), 1, 0.0), "step size must be", id="step-size-0"),
    ],
)
def test_an_attack_that_makes_no_sense_is_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        make()
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        pytest.param(random_images(2) * 255, random_labels(2), "divide 8-bit pixels by 255", id="0-to-255"),
        pytest.param(random_images(2) - 0.5, random_labels(2), r"must lie in \[0, 1\]", id="negative"),
        pytest.param(random_images(2).fill_(math.nan), random_labels(2), r"must lie in \[0, 1\]", id="nan"),
        pytest.param(random_images(2), random_labels(3), r"got \[2, 3, 8, 8\] and \[3\]", id="too-many-labels"),
        pytest.param(random_images(2)[0], random_labels(2), r"got \[3, 8, 8\]", id="one-image"),
        pytest.param(random_images(2), random_labels(2)[:, None], r"and \[2, 1\]", id="label-shape"),
    ],
)
def test_images_that_cannot_be_attacked_are_refused(images: Tensor, labels: Tensor, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        fgsm(ThreatModel("Linf", 0.1))(tiny(), images, labels, generator=generator())


def test_no_images_are_no_error() -> None:
    attack = PGD(ThreatModel("Linf", 0.1), 2, 0.05)
    assert attack(tiny(), random_images(0), random_labels(0), generator=generator()).shape == (0, 3, 8, 8)


def test_an_attack_survives_json() -> None:
    attack = PGD(ThreatModel("L2", 0.5), 7, 0.1, n_restarts=3, random_start=False, stop="success")
    assert attack_from_json(asdict(attack)) == attack
