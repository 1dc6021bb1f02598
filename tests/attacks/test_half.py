"""Gradients in bfloat16: no success that float32 does not confirm, no strength lost, never where it would be slower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine import api
from engine.__main__ import main
from engine.attacks import APGD, PGD, AutoAttack
from engine.attacks.aim import Target
from engine.attacks.half import FINISH, half_first, half_supported
from engine.evaluation import Bench, Trial
from engine.norm import half
from engine.values import Branch, InputError, NormSetting, Stored, ThreatModel, branch_setting
from tests.attacks.support import WIDE
from tests.support import dual, generator, image_set, random_images, tiny, write_checkpoint

ADV = branch_setting(Branch.ADV)
ATTACK = PGD(WIDE["Linf"], 12, WIDE["Linf"].eps / 4, stop="success")


class Confident(nn.Module):
    """Says of every image what `tiny` says, at a margin of 8: in bfloat16 softmax - onehot is 0 at the label."""

    def __init__(self) -> None:
        super().__init__()
        self.body = tiny()

    def forward(self, x: Tensor) -> Tensor:
        logits = self.body(x)
        top = logits.topk(2, dim=1).values
        return logits * (8 / (top[:, 0] - top[:, 1]).detach().clamp_min(1e-3))[:, None]


def directions(network: nn.Module, logits_fn: api.LogitsFn, images: Tensor) -> Tensor:
    """Signs of the first step on each image."""
    labels = network(images).argmax(1)
    one = PGD(ThreatModel("Linf", 1e-3), 1, 1e-3, random_start=False)
    return (one(logits_fn, images, labels, generator=generator()) - images).sign()


def test_a_confident_network_keeps_its_gradient() -> None:
    network, images = Confident(), 0.2 + 0.6 * random_images(20)
    exact, rough = directions(network, network, images), directions(network, half(network), images)
    assert float((exact == rough).float().mean()) > 0.9
    body = Confident().bfloat16()
    labels = network(images).argmax(1)
    x = images.bfloat16().requires_grad_()
    loss = nn.functional.cross_entropy(body(x), labels, reduction="sum")  # the loss itself in bfloat16: why it is not
    late = torch.autograd.grad(loss, x)[0].sign().float()
    assert float((exact == late).float().mean()) < float((exact == rough).float().mean())


def test_a_success_that_float32_does_not_confirm_goes_on_in_float32() -> None:
    """The rough network is fooled by everything from the start, so it leaves its images at once."""
    model, images = tiny(), random_images(40)
    labels = model(images).argmax(1)

    def gullible(x: Tensor) -> Tensor:
        return model(x).roll(1, dims=1)

    found = half_first(ATTACK, gullible, model, images, labels, generator=generator(1))
    expected = replace(ATTACK, steps=FINISH)(model, images, labels, generator=generator(1))
    torch.testing.assert_close(found, expected)
    assert 0 < int((model(found).argmax(1) != labels).sum()) < 40


@pytest.mark.parametrize("target", [None, 3, tuple(range(10)) * 4], ids=["any", "one", "each"])
def test_it_is_about_as_strong_as_float32(target: Target) -> None:
    model, images = tiny(), random_images(40)
    labels = model(images).argmax(1)
    attack = PGD(ATTACK.threat, 12, ATTACK.step_size, target=target)
    found = half_first(attack, half(model), model, images, labels, generator=generator(1))
    exact = attack(model, images, labels, generator=generator(1))
    right = [int((model(x).argmax(1) == labels).sum()) for x in (found, exact)]
    assert right[0] <= right[1] + 1


def test_autoattack_counts_what_float32_confirms_and_ends_in_float32() -> None:
    """A rough network that is fooled by everything: each success is refused, and the first attack is made anew."""
    model, images = tiny(), random_images(40)
    labels = model(images).argmax(1)
    attack = AutoAttack(ATTACK.threat, steps=5, targets=2, fab_steps=3, queries=10)

    def gullible(x: Tensor) -> Tensor:
        return model(x).roll(1, dims=1)

    found = half_first(attack, gullible, model, images, labels, generator=generator(1))
    fooled = model(found).argmax(1) != labels
    assert 0 < int(fooled.sum()) < 40
    again = attack.parts[0](model, images, labels, generator=generator(2))
    assert abs(int(fooled.sum()) - int((model(again).argmax(1) != labels).sum())) <= 4
    honest = half_first(attack, half(model), model, images, labels, generator=generator(1))
    exact = attack(model, images, labels, generator=generator(1))
    right = [int((model(x).argmax(1) == labels).sum()) for x in (honest, exact)]
    assert right[0] <= right[1] + 1


def test_a_trial_in_half_counts_by_the_unfolded_float32_network() -> None:
    bench = Bench(dual(), image_set(70), None)
    exact, rough = (int(next(bench.correct(Trial(ADV, 70, 0, half=on), [ATTACK])).sum()) for on in (False, True))
    assert abs(exact - rough) <= 2
    elsewhere = NormSetting(0.5, Stored(0.5))
    with pytest.raises(InputError, match="white-box attacks only"):
        Trial(ADV, 70, 0, elsewhere, half=True)
    with pytest.raises(InputError, match="not for APGD"):
        next(bench.correct(Trial(ADV, 70, 0, half=True), [APGD(ATTACK.threat, 2)]))


@pytest.mark.parametrize("here", [True, False])
def test_it_is_refused_where_it_would_be_slower(
    tmp_path: Path, here: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path, "toy")
    monkeypatch.setattr(api, "half_supported", lambda _: here)
    command = ["evaluate", "toy", "--n", "4", "--ap", "1", "--ns", "stored:1", "--attack", "pgd", "--steps", "8"]
    assert main([*command, "--bf16", "--root", str(tmp_path), "--device", "cpu", "--json"]) == (0 if here else 2)
    printed = capsys.readouterr()
    assert ('"gradients": "bfloat16"' in printed.out) if here else ("no bfloat16 units" in printed.err)
    assert not half_supported(torch.device("meta"))
