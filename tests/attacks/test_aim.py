"""Attacks that go for a chosen class, against foolbox and the closed form of a linear network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import foolbox
import pytest
import torch
from foolbox.models.pytorch import PyTorchModel
from torch.nn import functional as F

from engine.attacks import APGD, PGD, attack_from_json, fgsm
from engine.attacks.aim import Target
from engine.values import InputError, ThreatModel
from tests.attacks.support import NORM_IDS, NORMS, Linear, grey
from tests.support import generator, random_images, random_labels, tiny

LINF = ThreatModel("Linf", 0.05)
every_norm = pytest.mark.parametrize("threat", NORMS, ids=NORM_IDS)
Make = Callable[[ThreatModel, Target], PGD | APGD]
MAKES: dict[str, Make] = {
    "pgd": lambda threat, target: PGD(threat, 4, threat.eps / 3, n_restarts=2, target=target),
    "pgd-stop": lambda threat, target: PGD(threat, 4, threat.eps / 3, n_restarts=2, stop="success", target=target),
    "apgd": lambda threat, target: APGD(threat, 6, n_restarts=2, target=target),
    "apgd-stop": lambda threat, target: APGD(threat, 6, "dlr", n_restarts=2, stop="success", target=target),
}
every_attack = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)


@every_norm
def test_it_equals_foolbox_towards_a_class_an_image(threat: ThreatModel) -> None:
    model, images, labels = tiny(), random_images(6), random_labels(6)
    targets = (labels + torch.arange(1, 7)) % 10
    theirs = {"Linf": foolbox.attacks.LinfPGD, "L2": foolbox.attacks.L2PGD}[threat.norm](
        abs_stepsize=threat.eps / 4, steps=5, random_start=False
    )
    aim = foolbox.criteria.TargetedMisclassification(targets)  # pyright: ignore[reportArgumentType]  # takes any tensor
    expected = theirs.run(PyTorchModel(model, bounds=(0, 1)), images, aim, epsilon=threat.eps)
    attack = PGD(threat, 5, threat.eps / 4, random_start=False, target=tuple(targets.tolist()))
    torch.testing.assert_close(attack(model, images, labels, generator=generator()), expected, rtol=0, atol=1e-6)


def test_fgsm_towards_a_class_of_a_linear_network_is_the_closed_form() -> None:
    """Cross-entropy with the target falls fastest along sum_j (onehot_t - p)_j w_j."""
    model, images = Linear(5), grey(8)
    labels = model(images).argmax(1)
    chosen = torch.full_like(labels, 3)
    probabilities = model(images).detach().softmax(1)
    direction = (F.one_hot(chosen, 5) - probabilities) @ model.weight.detach()
    step = LINF.eps * direction.sign().view_as(images)
    expected = torch.where((labels == 3).view(-1, 1, 1, 1), images, images + step)
    found = fgsm(LINF, target=3)(model, images, labels, generator=generator())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@every_norm
def test_apgd_arrives_exactly_where_a_class_can_be_reached(threat: ThreatModel) -> None:
    """With two classes the other one is reached iff it lies nearer than eps."""
    model, images = Linear(2), grey(60)
    labels = model(images).argmax(1)
    distance = model.distances(images, labels, threat.norm).amin(1)[labels == 0]
    eps = float(distance.median())
    attack = APGD(ThreatModel(threat.norm, eps), 25, "margin", stop="success", target=1)
    found = attack(model, images, labels, generator=generator())
    clear = (distance / eps - 1).abs() > 0.01
    assert torch.equal((model(found).argmax(1) == 1)[labels == 0][clear], (distance < eps)[clear])
    assert int(clear.sum()) > 10
    assert torch.equal(found[labels == 1], images[labels == 1])


@every_attack
def test_images_of_the_class_are_spared_and_only_arriving_counts(make: Make) -> None:
    model, images, labels = Linear(4), grey(40), random_labels(40, 4)
    target = int(model(images)[0].topk(2).indices[1])
    distance = model.distances(images, model(images).argmax(1), "Linf")[:, target]
    attack = make(ThreatModel("Linf", float(distance.median()) * 1.02), target)
    found = attack(model, images, labels, generator=generator(1))
    spared = labels == target
    assert 0 < int(spared.sum()) < 40
    assert torch.equal(found[spared], images[spared])
    steps = list(attack.trace(model, images, labels, generator=generator(1)))
    ever = torch.zeros_like(spared)
    for step in steps:
        ever |= ~spared & (model(step.images).argmax(1) == target)
        assert torch.equal(step.fooled, ever)
        assert torch.equal(step.images[spared], images[spared])
    assert 0 < int(ever.sum()) < int((~spared).sum())
    assert torch.equal((model(found).argmax(1) == target)[~spared], ever[~spared]), "a success was lost"


@every_attack
def test_a_class_an_image_is_one_class_where_they_agree(make: Make) -> None:
    model, images = tiny(), random_images(9)
    labels = model(images).argmax(1)
    one, many = (make(LINF, target) for target in (4, (4,) * 9))
    assert torch.equal(*(a(model, images, labels, generator=generator(2)) for a in (one, many)))
    assert attack_from_json(json.loads(json.dumps(asdict(many)))) == many
    assert "towards class 4 at" in one.label


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PGD(LINF, 1, 0.1, target=-1), "A target class cannot be negative, got -1"),
        (lambda: PGD(LINF, 1, 0.1, target=(2, -3)), "cannot be negative"),
        (lambda: PGD(LINF, 1, 0.1, loss="kl", target=1), "A targeted attack ascends ce, margin, dlr, not 'kl'"),
        (lambda: APGD(LINF, 1, loss="kl", target=1), "A targeted APGD ascends ce, margin, dlr, not 'kl'"),
        (lambda: APGD(LINF, 1, targets=3, target=1), "3 likely classes or for the one that is chosen, not both"),
    ],
)
def test_aims_that_make_no_sense_are_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


@every_attack
@pytest.mark.parametrize(
    ("target", "sentence"),
    [(10, "between 0 and 9 for a network of 10 classes, got 10"), ((1, 2), "got 2 for 5 images")],
)
def test_classes_that_are_not_there_are_refused(make: Make, target: Target, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make(LINF, target)(tiny(), random_images(5), random_labels(5), generator=generator())
