"""Every flag fires on a network built to deserve it and stays silent on an honest one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from engine import api
from engine.attacks import PGD
from engine.evaluation import Bench
from engine.norm import to_dual_bn
from engine.suspicion import Flag, beats, suspicions
from engine.values import DUAL_BN, Branch, NormSetting, ThreatModel, branch_setting
from tests.support import TinyCNN, from_seed, image_set

ATTACK = PGD(ThreatModel("Linf", 8 / 255), steps=10, step_size=2 / 255)
ADV = branch_setting(Branch.ADV)
N = 60


class Saturated(TinyCNN):
    """Logits so large that softmax is 1 and 0 in float32."""

    def forward(self, images: Tensor) -> Tensor:
        return 1e6 * super().forward(images)


class Quantised(TinyCNN):
    """Sees sixteen levels of grey; rounding has no gradient."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward((images * 15).round() / 15)


def right_about(model: nn.Module) -> Bench:
    """A bench whose labels are what the network says of its images, so that there is something to attack."""
    images = image_set(N)
    with torch.no_grad():
        labels = api.at(model, ADV)(images.tensors(0, N)[0]).argmax(1).numpy()
    return Bench(model, replace(images, labels=labels), None)


def flags(model: nn.Module, others: tuple[NormSetting, ...] = (), attack: PGD = ATTACK) -> dict[str, Flag]:
    bench = right_about(model)
    return {flag.name: flag for flag in suspicions(bench, ADV, attack, N, 0, others)}


def built(kind: type[TinyCNN]) -> nn.Module:
    return to_dual_bn(from_seed(kind), DUAL_BN).eval().requires_grad_(False)


@pytest.mark.parametrize("kind", [Saturated, Quantised])
def test_masked_gradients_are_seen(kind: type[TinyCNN]) -> None:
    found = flags(built(kind))
    assert found["gradients are zero"].fired
    assert found["gradients are zero"].value > 0.5
    assert "no gradient to follow" in found["gradients are zero"].sentence


def test_an_attack_that_fails_whatever_it_may_change_is_seen() -> None:
    assert flags(built(Quantised))["survives any change"].fired


@pytest.mark.parametrize(
    ("steps", "step_size", "name"), [(2, 0.0005, "one step beats many"), (2, 0.002, "more steps find more")]
)
def test_an_attack_that_is_too_feeble_is_seen(steps: int, step_size: float, name: str) -> None:
    """On the shipped clean branch, which a whole step of eps fools easily and a few small ones hardly."""
    bench, _ = api.open_bench("shapes-dual-bn", api.pick_device("cpu"), n=N)
    feeble = PGD(ThreatModel("Linf", api.MAIN_EPS), steps, step_size)
    found = {flag.name: flag for flag in suspicions(bench, branch_setting(Branch.CLEAN), feeble, N, 0)}
    assert found[name].fired
    assert found[name].value > 0.02


def test_a_random_network_is_seen() -> None:
    class Noisy(TinyCNN):
        def forward(self, images: Tensor) -> Tensor:
            self.count = getattr(self, "count", 0) + 1
            return super().forward(images) + 0.01 * self.count

    assert flags(built(Noisy))["answers are random"].fired


def test_an_honest_network_raises_no_flag() -> None:
    """The shipped adversarial branch, under the attack that its card reports."""
    bench, _ = api.open_bench("shapes-dual-bn", api.pick_device("cpu"), n=N)
    others = (branch_setting(Branch.CLEAN),)
    seen: list[tuple[int, int]] = []
    attack = api.pgd(20, api.MAIN_EPS)
    found = list(suspicions(bench, ADV, attack, N, 0, others, progress=lambda *done: seen.append(done)))
    assert [flag.name for flag in found if flag.fired] == []
    assert seen[-1] == (6, 6)
    assert all(0 <= flag.value <= 1 and flag.sentence.endswith(".") for flag in found)


def test_beating_needs_more_than_chance() -> None:
    stronger = torch.ones(100, dtype=torch.bool)
    stronger[:30] = False
    chance = stronger.clone()
    chance[30:33], chance[:3] = False, True
    assert not beats(chance, stronger)
    assert not beats(stronger, stronger)
    clear = stronger.clone()
    clear[30:50] = False
    assert beats(clear, stronger)
    assert not beats(stronger, clear)
