"""Attacks crafted against several settings at once: what network they see, how they are labelled, what they do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from engine import api
from engine.attacks import PGD
from engine.cards import Crafting, EvalRecord
from engine.evaluation import Bench, crafting_network, seeded
from engine.values import Branch, InputError, NormSetting, Stored, ThreatModel, branch_setting
from engine.watch import transfer
from tests.support import dual, image_set, linear_bench, random_images

CLEAN, ADV = (branch_setting(branch) for branch in Branch)
HALF = NormSetting(0.5, Stored(0.5))
ATTACK = PGD(ThreatModel("Linf", 0.05), steps=5, step_size=0.02)


def test_together_views_answer_with_the_log_of_their_mean_softmax() -> None:
    bench = Bench(dual(), image_set(4), None)
    views, images = [bench.view(setting) for setting in (CLEAN, HALF, ADV)], random_images(20)
    expected = torch.stack([view(images).detach().softmax(1) for view in views]).double().mean(0)
    torch.testing.assert_close(crafting_network(*views)(images).exp().double(), expected, rtol=1e-4, atol=1e-6)


def test_confident_views_keep_a_gradient() -> None:
    """At logits of 200 the softmax of the label's rivals is 0 in float32; the log of the mean must not be -inf."""
    bench = Bench(dual(), image_set(4), None)
    views = [torch.nn.Sequential(bench.view(setting), Times(200)).eval() for setting in (CLEAN, ADV)]
    together, x = crafting_network(*views), random_images(8).requires_grad_()
    logits = together(x)
    assert bool(logits.isfinite().all())
    (gradient,) = torch.autograd.grad(logits.amin(1).sum(), x)
    assert bool((gradient.flatten(1).abs().amax(1) > 0).all())


class Times(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


@pytest.mark.parametrize(
    ("crafted_at", "access"),
    [
        (None, "white-box"),
        (CLEAN, "white-box"),
        ((CLEAN,), "white-box"),
        (ADV, "transfer"),
        ((CLEAN, ADV), "adaptive"),
        ((HALF, ADV), "transfer"),
    ],
)
def test_the_record_says_what_the_attacker_knew(crafted_at: Crafting | None, access: str) -> None:
    record = linear_bench().evaluate(CLEAN, ATTACK, 20, 0, crafted_at)
    assert record.access == access
    assert record.white_box == (access == "white-box")
    assert EvalRecord.from_json(json.loads(json.dumps(record.as_json()))) == record
    assert linear_bench().evaluate(CLEAN, None, 20, 0, crafted_at).access is None


def test_an_adaptive_evaluation_is_the_attack_on_all_views_judged_by_one() -> None:
    bench = Bench(dual(), image_set(40), None)
    images, labels = bench.test.tensors(0, 40)
    views = [bench.view(setting) for setting in (CLEAN, ADV)]

    def mean_probability(x: torch.Tensor) -> torch.Tensor:
        return ((views[0](x).softmax(1) + views[1](x).softmax(1)) / 2).log()

    right = views[0](images).argmax(1) == labels
    found = ATTACK(mean_probability, images[right], labels[right], generator=seeded(3, 0))
    expected = int((views[0](found).argmax(1) == labels[right]).sum())
    assert bench.evaluate(CLEAN, ATTACK, 40, 3, (CLEAN, ADV)).n_correct == expected


def test_on_the_shipped_network_it_fools_more_over_the_slider_than_any_single_craft() -> None:
    """Accuracies at three lambdas of AP at adversarial NS, summed."""
    bench, _ = api.open_bench("shapes-dual-bn", torch.device("cpu"), n=32)
    settings = [NormSetting(lam, Stored(1.0)) for lam in (0.0, 0.5, 1.0)]
    attack = PGD(ThreatModel("Linf", 8 / 255), 5, 2 / 255)
    *single, adaptive = (sum(row.n_correct) for row in transfer(bench, settings, attack, 32, 0, together=True))
    assert adaptive < min(single)


def test_the_transfer_matrix_gains_a_row_against_all() -> None:
    bench = Bench(dual(), image_set(30), None)
    rows = list(transfer(bench, [CLEAN, ADV], ATTACK, 30, 0, together=True))
    assert [row.crafted_at for row in rows] == [CLEAN, ADV, (CLEAN, ADV)]
    adaptive = [bench.evaluate(judged, ATTACK, 30, 0, (CLEAN, ADV)).n_correct for judged in (CLEAN, ADV)]
    assert [abs(a - b) <= 1 for a, b in zip(adaptive, rows[-1].n_correct, strict=True)] == [True, True]


def test_nowhere_to_craft_at_is_refused() -> None:
    with pytest.raises(InputError, match="at least one setting"):
        linear_bench().evaluate(CLEAN, ATTACK, 20, 0, ())


def test_a_class_an_image_goes_with_its_image() -> None:
    """Across chunks, and past images that are wrong unattacked: the record is that of each image attacked alone."""
    bench = Bench(dual(), image_set(90), None)
    view, head = bench.view(ADV), bench.model.get_submodule("head")
    with torch.no_grad():  # centred, so that every class is within reach
        head.get_parameter("bias").sub_(view(bench.test.tensors(0, 90)[0]).mean(0))
    view = bench.view(ADV)
    said = view(bench.test.tensors(0, 90)[0]).topk(3).indices
    labels = torch.where(torch.arange(90) % 4 == 0, said[:, 1], said[:, 0]).numpy()  # a quarter is wrong unattacked
    bench = replace(bench, test=replace(bench.test, labels=labels))
    targets = tuple(said[:, 1 + torch.arange(90) % 2].diagonal().tolist())
    attack = PGD(ThreatModel("Linf", 0.01), 3, 0.005, random_start=False, target=targets)
    images, labels = bench.test.tensors(0, 90)
    right = view(images).argmax(1) == labels
    found = attack(view, images, labels, generator=seeded(0, 0))
    expected = int((right & (view(found).argmax(1) == labels)).sum())
    assert 0 < expected < int(right.sum())
    assert bench.evaluate(ADV, attack, 90, 0).n_correct == expected
    with pytest.raises(InputError, match="got 90 for 89 images"):
        bench.evaluate(ADV, attack, 89, 0)
