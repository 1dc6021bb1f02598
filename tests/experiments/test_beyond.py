"""AP put together anew, barriers, calibration, routers: against closed forms and against the branches themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attacks import PGD, LogitsFn
from engine.evaluation import Trial, crafting_network
from engine.experiments.affine_only import clipped
from engine.experiments.affine_path import above_chord, barrier_rows, least_curvature
from engine.experiments.base import Steps
from engine.experiments.channels import fewest, first, gains, masked, ranked
from engine.experiments.family import role_of
from engine.experiments.measure import PerImage, calibration_error, paired, per_image, recomposed
from engine.experiments.router import (
    Pair,
    alarm_threshold,
    confidence_score,
    distance_score,
    larger,
    picked,
    softened,
    verdicts,
)
from engine.experiments.transplant import swapped
from engine.norm import at, dual_layers
from engine.values import DUAL_AP, DUAL_BN, Branch, NormSetting, Reestimated, Stored, ThreatModel, branch_setting
from tests.support import card_for, dual, linear_bench, random_images, running, snapshot

IMAGES = random_images(12)
ATTACK = PGD(ThreatModel("Linf", 0.05), 3, 0.025)
AFFINE = {0: NormSetting(0.0, Stored(1.0)), 1: NormSetting(1.0, Stored(1.0))}


def test_transplants_of_no_and_of_all_layers_are_the_branches() -> None:
    model = dual()
    names = [name for name, _ in dual_layers(model)]
    for clean, branch in (([], Branch.ADV), (names, Branch.CLEAN)):
        found = at(model, swapped(names, clean, stored=True))(IMAGES)
        assert torch.equal(found, at(model, branch_setting(branch))(IMAGES))
    assert swapped(names, []) == NormSetting(1.0, Reestimated("clean"))


def test_masks_choose_the_ap_channel_by_channel_and_leave_the_network_alone() -> None:
    model = dual()
    before = snapshot(model)
    ranking = ranked({"bn1": torch.tensor([0.5, 3, 1, 0, 0, 0]), "bn2": torch.tensor([0, 2.0, 0, 0, 0, -1])})
    assert ranking[:4] == [("bn1", 1), ("bn2", 1), ("bn1", 2), ("bn1", 0)]
    for count, lam in ((0, 0), (12, 1)):
        found = at(masked(model, first(ranking, count, model)), AFFINE[1])(IMAGES)
        assert torch.equal(found, at(model, AFFINE[lam])(IMAGES))
    some = dict(dual_layers(masked(model, first(ranking, 3, model))))
    for name, adversarial in (("bn1", [1, 2]), ("bn2", [1])):
        layer = dict(dual_layers(model))[name]
        for ours, (clean, adv) in ((some[name].weight[1], layer.weight), (some[name].bias[1], layer.bias)):
            expected = clean.detach().clone()
            expected[adversarial] = adv.detach()[adversarial]
            assert torch.equal(ours, expected)
    assert snapshot(model) == before


def test_the_fewest_are_found_in_few_trials() -> None:
    for answer in (1, 2, 37, 99, 100):
        tried: list[int] = []
        assert fewest(100, lambda c, a=answer, t=tried: t.append(c) or float(c >= a), 1.0) == answer
        assert len(tried) <= 7


def test_gains_of_all_channels_add_up_to_the_difference_of_the_loss() -> None:
    """Integrated gradients are complete; one layer, so NS do not depend on the AP, and an eps too small to matter."""
    bench = linear_bench(n_calibration=600)
    before = snapshot(bench.model)
    attack = PGD(ThreatModel("Linf", 1e-7), 1, 1e-7)
    found = gains(bench, attack, 0, Steps(1, None))
    images, labels = bench.test.tensors(0, len(bench.test))
    ends = [F.cross_entropy(bench.view(NormSetting(lam, Reestimated("clean")))(images), labels) for lam in (0.0, 1.0)]
    assert abs(float(ends[0] - ends[1])) > 0.01
    assert float(found["bn"].sum()) == pytest.approx(float(ends[0] - ends[1]), rel=0.02)
    assert snapshot(bench.model) == before


def test_clipping_moves_from_the_adversarial_to_the_clean_ap() -> None:
    model = dual()
    for radius, setting in ((0.0, AFFINE[1]), (99.0, AFFINE[0])):
        found = at(recomposed(model, clipped(radius)), AFFINE[1])(IMAGES)
        torch.testing.assert_close(found, at(model, setting)(IMAGES))
    moved = dict(dual_layers(recomposed(model, clipped(0.1))))["bn1"].weight[1]
    ends = dict(dual_layers(model))["bn1"].weight
    torch.testing.assert_close(moved - ends[1], (ends[0] - ends[1]).clamp(-0.1, 0.1))


def test_the_barrier_of_a_parabola_is_a_quarter_of_its_curvature() -> None:
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    hills = torch.stack([3 - 2 * t + c * t * (1 - t) for c in (0.8, 0.0, -5.0)])
    torch.testing.assert_close(above_chord(hills), torch.tensor([0.2, 0, -5 * 7 / 64], dtype=torch.float64))
    torch.testing.assert_close(least_curvature(hills), torch.tensor([-1.6, 0, 10], dtype=torch.float64) / 64)
    losses = hills[[0]].expand(50, -1)  # all images alike, so that the interval is a point
    inside = iter(losses.T)
    lams = [-0.5 + 0.125 * i for i in range(17)]
    columns = [next(inside) if 0 <= lam <= 1 else torch.full((50,), 9.0) for lam in lams]
    found = [PerImage(torch.stack([c, -c], 1), torch.zeros(50, 2), torch.zeros(50, 2)) for c in columns]
    _, barriers = barrier_rows(found, 0)
    assert barriers["clean"].cells == pytest.approx((0.2, 0.2, 0.2))
    assert barriers["attacked"].cells == pytest.approx((-0.0875, -0.0875, -0.0875))


def test_calibration_errors_do_not_cancel_between_bins() -> None:
    right = torch.tensor([True] * 50 + [True] * 25 + [False] * 25)
    sure = torch.tensor([0.9] * 50 + [0.6] * 50)
    assert calibration_error(sure, right, 0).value == pytest.approx(0.1)
    assert calibration_error(right.double(), right, 0).value == pytest.approx(0.0)
    assert calibration_error(torch.full((100,), 0.95), right, 0).value == pytest.approx(0.2)


def test_each_image_is_measured_as_the_bench_judges_it() -> None:
    bench, setting = linear_bench(), branch_setting(Branch.CLEAN)
    found = per_image(bench.view(setting), replace(ATTACK, stop="success"), bench, 100, seed=3)
    images, labels = bench.test.tensors(0, 100)
    logits = bench.view(setting)(images)
    torch.testing.assert_close(found.loss[:, 0], F.cross_entropy(logits, labels, reduction="none"))
    torch.testing.assert_close(found.confidence[:, 0], logits.softmax(1).amax(1))
    clean, robust = bench.correct(Trial(setting, 100, 3), [None, replace(ATTACK, random_start=False)])
    assert torch.equal(found.right[:, 0], clean)
    assert 0 < robust.sum() < clean.sum()  # linear: the start does not matter once eps is travelled
    assert abs(int(found.right[:, 1].sum() - robust.sum())) <= 2
    assert paired(clean, robust, 0).value == pytest.approx(float((clean.double() - robust.double()).mean()))


class Exchange(PGD):
    """Hands every image the next one's pixels, which makes some right that were wrong."""

    def __call__(self, _: LogitsFn, images: Tensor, _labels: Tensor, *, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        return images.roll(1, 0)


def test_an_image_that_is_wrong_clean_does_not_become_right_under_attack() -> None:
    bench, view = linear_bench(), linear_bench().view(branch_setting(Branch.CLEAN))
    images, labels = bench.test.tensors(0, 60)
    clean, moved = ((view(x).argmax(1) == labels) for x in (images, images.roll(1, 0)))
    assert bool((moved & ~clean).any())
    found = per_image(view, Exchange(ThreatModel("Linf", 0.1), 1, 0.1), bench, 60, 0)
    assert torch.equal(found.right, torch.stack([clean, clean & moved], 1))


def test_a_router_between_equal_branches_is_the_branch() -> None:
    logits, score = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 1, 9)
    assert torch.equal(picked(logits, logits, score), logits)
    torch.testing.assert_close(softened(logits, logits, score), logits.log_softmax(1))
    other = logits.flip(0) * 2
    sure = confidence_score(logits, other, score)
    assert torch.equal(larger(logits, other, sure).argmax(1), picked(logits, other, sure).argmax(1))
    torch.testing.assert_close(
        softened(logits, other, score).exp()[[0, -1]], picked(logits, other, score).softmax(1)[[0, -1]]
    )
    assert torch.equal(picked(logits, other, score)[:4], other[:4])


def test_distances_from_the_ns_are_those_of_the_formula() -> None:
    """Channel means of what enters each norm layer, worked out by hand for the two-layer network."""
    model = dual()
    view = at(model, branch_setting(Branch.CLEAN))
    before = snapshot(view)
    logits, other, distance = Pair(view, lambda images: -view(images))(IMAGES)
    first_in = view.get_submodule("conv1")(IMAGES)
    bn1, bn2 = view.get_submodule("bn1"), view.get_submodule("bn2")
    second_in = view.get_submodule("conv2")(bn1(first_in).relu())
    expected = []
    for values, bn in ((first_in, bn1), (second_in, bn2)):
        mean, var = running(bn)  # pyright: ignore[reportArgumentType]
        expected.append(((values.mean((2, 3)) - mean) ** 2 / (var + 1e-5)).mean(1))
    torch.testing.assert_close(distance, torch.stack(expected).mean(0))
    torch.testing.assert_close(logits, -other)
    assert snapshot(view) == before


def test_one_in_twenty_calibration_images_raises_a_false_alarm() -> None:
    bench = linear_bench()
    view = bench.view(branch_setting(Branch.CLEAN))
    pair = Pair(view, view)
    threshold = alarm_threshold(pair, bench)
    assert bench.calibration is not None
    scored = distance_score(threshold)(*pair(bench.calibration.tensors(0, 100)[0]))
    assert int((scored < 0).sum()) == 5


def test_verdicts_after_an_attack_on_the_judge_itself_are_white_box() -> None:
    bench, setting, attack = linear_bench(), branch_setting(Branch.ADV), replace(ATTACK, random_start=False)
    view = bench.view(setting)
    found = verdicts({"branch": view}, crafting_network(view), attack, bench, 100, 0)["branch"]
    clean, robust = bench.correct(Trial(setting, 100, 0), [None, attack])
    assert torch.equal(found & clean, robust)
    assert torch.equal(verdicts({"branch": view}, None, attack, bench, 100, 0)["branch"], clean)


def test_fine_tuned_networks_have_roles_of_their_own() -> None:
    for design, role in ((DUAL_BN, "ap-ns-tuned"), (DUAL_AP, "ap-tuned")):
        card = card_for("a", design)
        assert role_of(replace(card, config={"eps": 8 / 255, "alpha": 1.0, "only": "affine"})) == role
