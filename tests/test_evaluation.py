"""Accuracies against published intervals and against brute force on a linear network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from engine.attacks import PGD, fgsm
from engine.cards import EvalRecord
from engine.evaluation import Bench
from engine.values import (
    Branch,
    Cancelled,
    InputError,
    NormSetting,
    Reestimated,
    Stored,
    ThreatModel,
    branch_setting,
    wilson,
)
from tests.support import dual, image_set, linear_bench, snapshot

Array = npt.NDArray[np.float64]
CLEAN, ADV = branch_setting(Branch.CLEAN), branch_setting(Branch.ADV)
EPS = 0.02
ATTACK = PGD(ThreatModel("Linf", EPS), steps=10, step_size=EPS / 4)
SETTINGS = {
    "clean-branch": CLEAN,
    "adv-branch": ADV,
    "half-way": NormSetting(0.5, Stored(0.5)),
    "reestimated": NormSetting(0.25, Reestimated("clean", n=100)),
}


def tensors(bench: Bench) -> dict[str, Array]:
    return {name: tensor.double().numpy() for name, tensor in bench.model.state_dict().items()}


def effective(bench: Bench, setting: NormSetting) -> tuple[Array, Array]:
    """Weights (2, pixels) and biases (2,) of the linear map that the network is at a setting, in numpy."""
    t = tensors(bench)
    kernel = t["conv.weight"].reshape(2, -1)

    def between(pair: tuple[Array, Array], lam: float) -> Array:
        return (1 - lam) * pair[0] + lam * pair[1]

    weight = between((t["bn.weight.0"], t["bn.weight.1"]), setting.affine)
    shift = between((t["bn.bias.0"], t["bn.bias.1"]), setting.affine)
    if isinstance(setting.statistics, Stored):
        mean, var = (between((t[name][0], t[name][1]), setting.statistics.lam) for name in ("bn.mean", "bn.var"))
    else:
        assert bench.calibration is not None
        features = bench.calibration.images.reshape(len(bench.calibration), -1) / 255 @ kernel.T + t["conv.bias"]
        mean, var = features.mean(0), features.var(0, ddof=1)
    a = weight / np.sqrt(var + 1e-5)
    return a[:, None] * kernel, a * (t["conv.bias"] - mean) + shift


def brute_force(bench: Bench, judged_at: NormSetting, crafted_at: NormSetting | None) -> int:
    """How many images are right, and right at the worst point of ball and range: x + eps sign(w_j - w_y), clipped."""
    x = bench.test.images.reshape(len(bench.test), -1) / 255
    y = bench.test.labels
    weight, bias = effective(bench, judged_at)
    right = (x @ weight.T + bias).argmax(1) == y
    if crafted_at is not None:
        craft, _ = effective(bench, crafted_at)
        worst = np.clip(x + EPS * np.sign(craft[1 - y] - craft[y]), 0, 1)
        right &= (worst @ weight.T + bias).argmax(1) == y
    return int(right.sum())


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_accuracies_equal_brute_force(setting: NormSetting) -> None:
    bench = linear_bench()
    before = snapshot(bench.model)
    clean = bench.evaluate(setting, None, 150, 0)
    robust = bench.evaluate(setting, ATTACK, 150, 0)
    assert clean == EvalRecord(setting, None, None, 150, brute_force(bench, setting, None), 0)
    assert robust == EvalRecord(setting, ATTACK, setting, 150, brute_force(bench, setting, setting), 0)
    assert 10 < robust.n_correct < clean.n_correct < 150, "too easy or too hard to tell anything"
    assert snapshot(bench.model) == before


@pytest.mark.parametrize("crafted_at", [ADV, SETTINGS["reestimated"]], ids=["adv", "reestimated"])
def test_transfer_attacks_equal_brute_force_and_are_labelled(crafted_at: NormSetting) -> None:
    bench = linear_bench()
    white_box = bench.evaluate(CLEAN, ATTACK, 150, 0)
    transfer = bench.evaluate(CLEAN, ATTACK, 150, 0, attack_setting=crafted_at)
    assert transfer == EvalRecord(CLEAN, ATTACK, crafted_at, 150, brute_force(bench, CLEAN, crafted_at), 0)
    assert (white_box.white_box, transfer.white_box) == (True, False)
    assert white_box.n_correct < transfer.n_correct
    assert not bench.evaluate(CLEAN, None, 150, 0).white_box
    assert bench.evaluate(CLEAN, ATTACK, 150, 0, attack_setting=CLEAN).white_box


def test_of_a_hundred_images_the_first_count() -> None:
    bench = linear_bench()
    first = replace(bench.test, images=bench.test.images[:100], labels=bench.test.labels[:100])
    assert bench.evaluate(CLEAN, ATTACK, 100, 0).n_correct == brute_force(replace(bench, test=first), CLEAN, CLEAN)


def test_several_attacks_share_one_view_and_count_apart() -> None:
    bench = linear_bench()
    attacks = [None, fgsm(ThreatModel("Linf", EPS)), ATTACK, replace(ATTACK, stop="success")]
    together = list(bench.evaluate_many(ADV, attacks, 150, 3))
    assert together == [bench.evaluate(ADV, attack, 150, 3) for attack in attacks]
    assert len({record.n_correct for record in together[1:]}) == 1, "on a linear network all attacks find the worst"


def curved_bench() -> Bench:
    """A network that is right on every image, but not by far, so that only the attack and its start decide."""
    bench = Bench(dual(), image_set(130), None)
    images, head = bench.test.tensors(0, 130)[0], bench.model.get_submodule("head")
    with torch.no_grad():
        head.get_parameter("bias").sub_(bench.view(ADV)(images).mean(0))
        labels = bench.view(ADV)(images).argmax(1).numpy()
    return replace(bench, test=replace(bench.test, labels=labels))


def test_seeds_reproduce_and_matter() -> None:
    bench = curved_bench()
    attack = PGD(ThreatModel("Linf", EPS), steps=1, step_size=EPS, n_restarts=1)
    records = [bench.evaluate(ADV, attack, 130, seed) for seed in range(6)]
    assert records == [bench.evaluate(ADV, attack, 130, seed) for seed in range(6)]
    assert len({record.n_correct for record in records}) > 1
    assert bench.evaluate(ADV, attack, 130, 10**15).seed == 10**15
    assert all(record.n_correct <= bench.evaluate(ADV, None, 130, 0).n_correct == 130 for record in records)


def test_chunks_have_noise_of_their_own() -> None:
    """The same 64 images twice, in two chunks: were both drawn from one seed, both would fare alike."""
    bench = curved_bench()
    twice = [np.concatenate([part[:64], part[:64]]) for part in (bench.test.images, bench.test.labels)]
    bench = replace(bench, test=replace(bench.test, images=twice[0], labels=twice[1]))
    seen: list[torch.Tensor] = []

    class Spy(PGD):
        def __call__(self, logits_fn, images, labels, *, generator):  # noqa: ANN001, ANN204
            seen.append(PGD.__call__(self, logits_fn, images, labels, generator=generator))
            return seen[-1]

    bench.evaluate(ADV, Spy(ThreatModel("Linf", EPS), 1, 1e-6), 128, 0)
    assert len(seen[0]) == len(seen[1]) == 64
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize(("setting", "at_first"), [(CLEAN, 0), (NormSetting(0.5, Reestimated("adv", n=100)), 10)])
def test_work_can_be_stopped_before_every_pass_of_an_attack(setting: NormSetting, at_first: int) -> None:
    calls: list[tuple[int, int]] = []
    linear_bench().evaluate(setting, ATTACK, 150, 0, progress=lambda *told: calls.append(told))
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {150}
    often = [sum(done == one for done, _ in calls) for one in (0, 64, 128, 150)]
    assert sum(often) == len(calls)
    assert often[0] > ATTACK.steps + at_first  # the re-estimation crafts its own images with ten steps
    assert min(often[1:3]) > ATTACK.steps


def test_cancelling_leaves_nothing_behind() -> None:
    bench = linear_bench()
    before, calls = snapshot(bench.model), list[int]()

    def stop_at_second(done: int, _: int) -> None:
        calls.append(done)
        if done == 128:
            raise Cancelled

    expected = bench.evaluate(CLEAN, ATTACK, 150, 0)
    with pytest.raises(Cancelled):
        bench.evaluate(CLEAN, ATTACK, 150, 0, progress=stop_at_second)
    assert sorted(set(calls)) == [0, 64, 128]
    assert calls.count(128) == 1
    assert snapshot(bench.model) == before
    assert bench.evaluate(CLEAN, ATTACK, 150, 0) == expected


@pytest.mark.parametrize("n", [0, -1, 151])
def test_images_that_are_not_there_are_refused(n: int) -> None:
    with pytest.raises(InputError, match=f"toy has 150 test images, {n} were asked for"):
        linear_bench().evaluate(CLEAN, None, n, 0)


@pytest.mark.parametrize(
    ("n_correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_newcombe(n_correct: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3 (Wilson's score interval), and its mirror images."""
    interval = wilson(n_correct, n)
    assert (interval.value, interval.n) == (n_correct / n, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(n - n_correct, n)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize(("n_correct", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_an_accuracy_of_nothing_is_refused(n_correct: int, n: int) -> None:
    with pytest.raises(InputError, match="at least one image"):
        wilson(n_correct, n)
