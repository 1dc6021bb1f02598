"""Sources against separate passes; NS measured at re-estimated NS against those NS, within sampling error."""

from __future__ import annotations

import pytest
import torch

from engine.attacks import Noise
from engine.evaluation import Bench, calibration_attack, crafting_network, seeded
from engine.features import measure
from engine.sources import CLEAN, NULL, Source, distances, notation, resampled, take_sample
from engine.values import Branch, InputError, NormSetting, Reestimated, Stored, ThreatModel, branch_setting
from tests.support import dual, image_set, snapshot

EPS = 8 / 255
BENCH = Bench(dual(), image_set(400), image_set(1200, seed=1))
SETTING, OTHER = NormSetting(1.0, Stored(0.5)), branch_setting(Branch.CLEAN)


def test_every_source_is_what_a_pass_of_its_own_gives() -> None:
    noise = Noise(ThreatModel("Linf", EPS), "uniform")
    attack = calibration_attack(EPS)
    sources = (CLEAN, Source("adv", attack), Source("transfer", attack, OTHER), Source("noise", noise), NULL)
    before = snapshot(BENCH.model)
    sample = take_sample(BENCH, SETTING, sources, n=100, seed=3)
    assert snapshot(BENCH.model) == before
    view = BENCH.view(SETTING)
    for source in sources:
        craft = crafting_network(BENCH.view(source.crafted_at or SETTING))
        batches, right = list[torch.Tensor](), list[torch.Tensor]()
        for start, stop in ((0, 64), (64, 100)):
            shift = 100 if source.second else 0
            images, labels = BENCH.test.tensors(start + shift, stop + shift)
            if source.attack is not None:
                images = source.attack(craft, images, labels, generator=seeded(3, start))
            batches.append(images)
            right.append(view(images).argmax(1) == labels)
        assert torch.equal(sample.correct[source.name], torch.cat(right))
        for name, moments in measure(view, batches).items():
            torch.testing.assert_close(sample.moments[source.name][name].whole.mean, moments.mean)
            torch.testing.assert_close(sample.moments[source.name][name].whole.var, moments.var)


@pytest.mark.parametrize("affine", [0.0, 1.0])
def test_statistics_at_reestimated_ns_are_those_ns(affine: float) -> None:
    """NS_clean^y of other images equals the buffers re-estimated on 1,200, up to the error of a sample of 200."""
    setting = NormSetting(affine, Reestimated("clean", n=1200))
    view = BENCH.view(setting)
    moments = take_sample(BENCH, setting, (CLEAN,), n=200, seed=0).moments["clean"]
    for name, images in moments.items():
        bn, whole = view.get_submodule(name), images.whole
        error = images.mean.std(0) / 200**0.5
        assert ((whole.mean - bn.get_buffer("running_mean")).abs() < 5 * error + 1e-3).all()
        torch.testing.assert_close(whole.var, bn.get_buffer("running_var").double(), rtol=0.1, atol=0)
        stored = BENCH.view(branch_setting(Branch(int(affine)))).get_submodule(name)
        assert ((whole.mean - stored.get_buffer("running_mean")).abs() > 10 * error).any(), "any NS would do"


def test_distances_of_resampled_images() -> None:
    sample = take_sample(BENCH, SETTING, (CLEAN, NULL), n=50, seed=0)
    counts = torch.ones(2, 50, dtype=torch.float64)
    counts[1] = torch.tensor([50.0] + [0.0] * 49)
    clean, null = (resampled(sample.moments[source], counts) for source in ("clean", NULL.name))
    gaps = distances("w1 mean", clean, null)
    assert gaps.shape == (2, len(sample.layers))
    assert (gaps[1] > gaps[0]).all(), "one image lies further from another than 50 from 50"
    assert (distances("kl", clean, clean) == 0).all()


def test_images_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="400 test images, 402 were asked for"):
        take_sample(BENCH, SETTING, (CLEAN, NULL), n=201, seed=0)


def test_notation() -> None:
    assert [notation("adv", lam) for lam in (0.0, 0.5, 1.0)] == ["NS_adv^clean", "NS_adv^0.5", "NS_adv^adv"]
