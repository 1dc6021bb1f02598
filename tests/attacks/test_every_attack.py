"""What holds for every attack: the ball, the range, determinism, JSON, nothing touched, bad input refused."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import asdict, fields
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.attacks import APGD, FAB, KINDS, PGD, RFGSM, AutoAttack, Noise, Square, attack_from_json, fgsm
from engine.values import Cancelled, InputError, ThreatModel
from tests.attacks.support import NORM_IDS, NORMS, SMALL, sizes
from tests.support import generator, random_images, random_labels, snapshot, tiny

LINF = NORMS[0]
PINK: Any = "pink"
LONG = ("apgd-ce", "apgd-t", "fab", "square", "auto")
every_attack = pytest.mark.parametrize("name", SMALL)
every_norm = pytest.mark.parametrize("threat", NORMS, ids=NORM_IDS)


def some(n: int = 6) -> tuple[Tensor, Tensor]:
    """Images with pixels at exactly 0 and 1, and what the network says of them."""
    images = (1.5 * random_images(n) - 0.25).clamp(0, 1)
    return images, tiny()(images).argmax(1)


@every_attack
@every_norm
def test_results_lie_in_the_ball_and_in_range(name: str, threat: ThreatModel) -> None:
    images, labels = some()
    found = SMALL[name](threat)(tiny(), images, labels, generator=generator(1))
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert float(sizes(threat, found - images).max()) <= threat.eps * (1 + 1e-5) + 1e-7
    assert found.shape == images.shape
    assert not found.requires_grad


@every_attack
@every_norm
def test_the_generator_decides_everything(name: str, threat: ThreatModel) -> None:
    images, labels = some()
    labels = (labels + torch.arange(len(labels)) % 2) % 10  # some are misclassified before the attack
    attack = SMALL[name](threat)
    first, again, other = (attack(tiny(), images, labels, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert name == "momentum" or not torch.equal(first, other) or name in ("fab", "auto")


@every_attack
def test_network_and_images_are_left_as_they_were(name: str) -> None:
    model, (images, labels) = tiny(), some()
    model.get_submodule("bn1").train()
    model.get_submodule("bn1").requires_grad_(False)
    state = snapshot(model) | {"tensors": {}}  # which a norm in train mode moves by itself
    kept, before = images.clone(), torch.random.get_rng_state()
    with torch.no_grad():
        SMALL[name](LINF)(model, images, labels, generator=generator())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert snapshot(model) | {"tensors": {}} == state
    assert torch.equal(images, kept)


@every_attack
def test_no_images_are_no_error(name: str) -> None:
    found = SMALL[name](LINF)(tiny(), random_images(0), random_labels(0), generator=generator())
    assert found.shape == (0, 3, 8, 8)


@every_attack
def test_images_and_labels_that_cannot_be_attacked_are_refused(name: str) -> None:
    images, labels = some(3)
    bad: list[tuple[Any, ...]] = [
        (tiny(), images * 255, labels, "divide 8-bit pixels by 255"),
        (tiny(), images, labels[:2], r"got \[3, 3, 8, 8\] and \[2\]"),
    ]
    if name != "noise":
        bad.append((tiny(), images, labels + 20, "Labels must lie between 0 and 9"))
        bad.append(
            (lambda x: tiny()(x) * math.nan, images, labels, r"NaN or infinite logits for (3 of 3|6 of 6) images")
        )
    if name not in ("noise", "square"):
        bad.append((lambda x: tiny()(x.detach()).detach(), images, labels, "have no gradient"))
    for model, x, y, sentence in bad:
        with pytest.raises((InputError, IndexError, RuntimeError), match=sentence) as caught:
            SMALL[name](LINF)(model, x, y, generator=generator())
        assert caught.type is InputError


@pytest.mark.parametrize("name", LONG)
def test_progress_counts_to_the_end_and_can_stop_it(name: str) -> None:
    images, labels = some()
    told: list[tuple[int, int]] = []
    attack = SMALL[name](LINF)
    assert isinstance(attack, APGD | FAB | Square | AutoAttack)
    attack(tiny(), images, labels, generator=generator(), progress=lambda done, total: told.append((done, total)))
    done = [step for step, _ in told]
    assert done == sorted(done)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1] > 1

    calls = 0

    def network(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return tiny()(x)

    def stop(done: int, _: int) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        attack(network, images, labels, generator=generator(), progress=stop)
    assert 0 < calls < 8


def test_a_cancelled_attack_leaves_nothing_running() -> None:
    """Half a second in which the process and its threads sleep."""
    images, labels = some()

    def stop(*_: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        AutoAttack(LINF)(tiny(), images, labels, generator=generator(), progress=stop)
    threads, busy = threading.active_count(), time.process_time()
    time.sleep(0.5)
    assert time.process_time() - busy < 0.1
    assert threading.active_count() == threads


@every_attack
@every_norm
def test_every_attack_survives_json(name: str, threat: ThreatModel) -> None:
    attack = SMALL[name](threat)
    assert attack_from_json(json.loads(json.dumps(asdict(attack)))) == attack
    assert hash(attack_from_json(asdict(attack))) == hash(attack)


def test_json_without_a_kind_is_pgd_and_unknown_kinds_are_refused() -> None:
    threat = {"norm": "Linf", "eps": 0.1}
    old = {"threat": threat, "steps": 3, "step_size": 0.1, "n_restarts": 1, "random_start": True, "stop": "never"}
    assert attack_from_json(old) == PGD(ThreatModel("Linf", 0.1), 3, 0.1)
    assert old["threat"] is threat, "the caller's dictionary was changed"
    with pytest.raises(InputError, match="no attack of kind 'deepfool'; there are pgd, apgd"):
        attack_from_json(old | {"kind": "deepfool"})
    for kind, made in KINDS.items():
        default = next((field.default for field in fields(made) if field.name == "kind"), "pgd")
        assert default == kind


def test_labels_tell_attacks_apart() -> None:
    labels = {SMALL[name](threat).label for name in SMALL for threat in NORMS} | {fgsm(LINF).label}
    assert len(labels) == 2 * len(SMALL) + 1
    assert AutoAttack(ThreatModel("Linf", 8 / 255)).label == "AutoAttack at 8/255"
    assert APGD(ThreatModel("L2", 0.5), 20, "dlr", 9).label == "APGD-20 (dlr, 9 targets) at L2 0.5"
    assert Noise(ThreatModel("L2", 0.5), "sign").label == "Sign noise at L2 0.5"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        pytest.param(lambda: APGD(LINF, 0), "at least 1 of its steps, got 0", id="apgd-steps"),
        pytest.param(lambda: APGD(LINF, 1, n_restarts=0), "at least 1 of its restarts", id="apgd-restarts"),
        pytest.param(lambda: APGD(LINF, 1, PINK), "ascends ce, margin, kl, dlr, not 'pink'", id="apgd-loss"),
        pytest.param(lambda: APGD(LINF, 1, "kl", 2), "targeted APGD ascends ce, margin, dlr", id="apgd-kl-target"),
        pytest.param(lambda: APGD(LINF, 1, "ce", -1), "cannot be negative, got -1", id="apgd-targets"),
        pytest.param(lambda: APGD(LINF, 1, stop=PINK), "never or at success, not at 'pink'", id="apgd-stop"),
        pytest.param(lambda: FAB(LINF, 1, 0), "at least 1 of its targets", id="fab-targets"),
        pytest.param(lambda: Square(LINF, 0), "at least 1 of its queries", id="square-queries"),
        pytest.param(lambda: Square(LINF, 1, first_share=0), r"must be in \(0, 1\], got 0", id="square-share"),
        pytest.param(lambda: AutoAttack(LINF, fab_steps=0), "at least 1 of its fab steps", id="auto"),
        pytest.param(lambda: Noise(LINF, PINK), "Noise is uniform, gaussian, sign, not 'pink'", id="noise"),
        pytest.param(lambda: RFGSM(LINF, 1), "between 0 and 1, got 1", id="r-fgsm"),
        pytest.param(lambda: PGD(LINF, 1, 0.1, momentum=-1), "momentum must lie between 0 and 1", id="momentum"),
    ],
)
def test_an_attack_that_makes_no_sense_is_refused(make: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        make()
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("attack", "n_classes", "sentence"),
    [
        (APGD(LINF, 2, "dlr"), 2, "The DLR loss needs at least 3 classes and this network has 2; use the margin loss"),
        (PGD(LINF, 2, 0.1, loss="dlr"), 2, "DLR loss needs at least 3 classes"),
        (APGD(LINF, 2, "dlr", 1), 3, "The targeted DLR loss needs at least 4 classes and this network has 3"),
        (APGD(LINF, 2, "dlr", target=2), 3, "The targeted DLR loss needs at least 4 classes"),
        (AutoAttack(LINF, 2), 3, "AutoAttack needs at least 4 classes and this network has 3; use apgd"),
        (FAB(LINF, 2), 1, "at least 2 classes and this network has 1"),
    ],
    ids=["apgd", "pgd", "apgd-t", "apgd-target", "auto", "fab"],
)
def test_too_few_classes_for_the_loss_are_refused(attack: Any, n_classes: int, sentence: str) -> None:
    images, _ = some()

    def network(x: Tensor) -> Tensor:
        return tiny()(x)[:, :n_classes]

    labels = network(images).argmax(1)
    with pytest.raises(InputError, match=sentence):
        attack(network, images, labels, generator=generator())
    enough = APGD(LINF, 2, "margin", targets=9 * (n_classes > 1))
    assert enough(network, images, labels, generator=generator()).shape == images.shape
