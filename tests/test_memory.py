"""Out of memory: fewer images at a time, and the very same record."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.attacks import APGD, FAB, PGD, Attack, Square
from engine.evaluation import Bench, Trial
from engine.memory import Room, in_pieces, out_of_memory
from engine.norm import at, to_dual_bn
from engine.values import DUAL_BN, InputError, NormSetting, Reestimated, Stored, ThreatModel
from tests.support import TinyCNN, from_seed, image_set, linear_bench, random_images, randomise_norms, tiny

THREAT = ThreatModel("Linf", 8 / 255)
ATTACKS: dict[str, Attack | None] = {
    "clean": None,
    "pgd": PGD(THREAT, 3, 2 / 255, n_restarts=2, stop="success"),
    "towards": PGD(THREAT, 3, 2 / 255, target=tuple(i % 10 for i in range(100))),
    "apgd": APGD(THREAT, 4, loss="ce", n_restarts=2),
    "fab": FAB(THREAT, 3),
    "square": Square(THREAT, 10),
}


class _Fails(torch.autograd.Function):
    """The identity, whose gradient does not fit for more than `limit` images."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, limit: int) -> Tensor:
        ctx.limit = limit
        return images.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        if len(gradients[0]) > ctx.limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return gradients[0], None


class Hungry(nn.Conv2d):
    """Takes at most `fits` images forward, and `fits_back` backward; counts how many it took."""

    fits = fits_back = 10**9
    taken: list[int] = []  # noqa: RUF012

    def forward(self, input: Tensor) -> Tensor:
        if len(input) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.taken.append(len(input))
        return super().forward(_Fails.apply(input, self.fits_back))  # pyright: ignore[reportArgumentType]


Hungry.__module__ = "torch.nn.modules.conv"  # folding traces through modules that are not torch's


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    def plain() -> nn.Module:
        network = TinyCNN()
        network.conv2 = Hungry(6, 6, 3, padding=1)
        return network

    monkeypatch.setattr(Hungry, "taken", [])
    model = randomise_norms(to_dual_bn(from_seed(plain).eval(), DUAL_BN)).requires_grad_(False)
    test = image_set(100)
    with torch.no_grad():  # so that answers differ from image to image and are easily changed
        head = model.get_submodule("head")
        logits = at(model, SETTING)(test.tensors(0, 100)[0])
        head.get_parameter("bias").sub_(logits.mean(0))
    answers = Bench(model, test, None).predicted(Trial(SETTING, 100, 0), [None])
    return Bench(model, replace(test, labels=next(answers).numpy()), image_set(100, seed=3))


SETTING = NormSetting(0.5, Stored(0.5))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("where", ["fits", "fits_back"])
def test_the_record_is_the_same_and_no_batch_was_larger(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, where: str, attack: Attack | None, caplog: pytest.LogCaptureFixture
) -> None:
    record = bench.evaluate(SETTING, attack, 100, 0)
    assert attack is None or record.n_correct < 100, "an attack that does nothing proves nothing"
    monkeypatch.setattr(Hungry, where, 10)
    Hungry.taken.clear()
    with caplog.at_level(logging.WARNING):
        assert bench.evaluate(SETTING, attack, 100, 0) == record
    if where == "fits":
        assert max(Hungry.taken) <= 10
        assert "going on with 8 images at a time" in caplog.text
    elif attack is not None and not isinstance(attack, Square):
        assert "Memory ran out" in caplog.text


def test_each_image_has_the_same_verdict(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = list(bench.predicted(Trial(SETTING, 100, 0), [ATTACKS["pgd"]]))
    monkeypatch.setattr(Hungry, "fits", 3)
    found = list(bench.predicted(Trial(SETTING, 100, 0), [ATTACKS["pgd"]]))
    assert torch.equal(found[0], wanted[0])
    assert len(set(found[0].tolist())) > 2


def test_not_even_one_image_is_one_sentence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hungry, "fits", 0)
    with pytest.raises(InputError, match="not enough memory for a single image"):
        bench.evaluate(SETTING, None, 100, 0)


def test_other_errors_are_not_taken_for_it() -> None:
    def wrong(_: int | None) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        Room().fit(10, wrong)


def test_the_cpu_s_own_words_are_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value)


@pytest.mark.parametrize("limit", [1, 7, 20, 64])
def test_pieces_have_the_logits_and_gradients_of_the_whole(limit: int) -> None:
    network, images = tiny().requires_grad_(False), random_images(20).requires_grad_(True)

    def gradient(network: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        logits = network(images)
        return logits, torch.autograd.grad(logits.square().sum(), images)[0]

    torch.testing.assert_close(gradient(in_pieces(network, limit)), gradient(network))


def test_without_trouble_nothing_is_split() -> None:
    network = tiny()
    assert in_pieces(network, None) is network
    bench = linear_bench()
    assert bench.evaluate(NormSetting(0.25, Reestimated("clean", n=100)), None, 150, 0).n == 150
