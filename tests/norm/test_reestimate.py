"""Re-estimated NS against `torch.optim.swa_utils.update_bn` on a plain copy."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from engine.evaluation import Bench, calibration_attack
from engine.norm import at
from engine.norm.reestimate import reestimate
from engine.values import (
    DESIGNS,
    SOURCES,
    InputError,
    LayerMix,
    NormDesign,
    NormSetting,
    Reestimated,
    SourceName,
    Stored,
)
from tests.support import dual, image_set, random_images, running, snapshot

SETTING = NormSetting(0.3, Reestimated("clean", n=300))
PINNED = replace(SETTING, overrides=(("bn1", LayerMix(statistics=0.5)),))


def norms(view: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: running(m) for name, m in view.named_modules() if isinstance(m, nn.BatchNorm2d)}


def updated_by_torch(model: nn.Module, setting: NormSetting, batches: list[Tensor]) -> nn.Module:
    """A deep copy of the view at this AP, its NS refreshed by torch."""
    view = copy.deepcopy(at(model, replace(setting, statistics=Stored(0.0))))
    update_bn(batches, view)
    return view


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_it_equals_torchs_update_bn(design: NormDesign) -> None:
    model, batches = dual(design), [random_images(n, seed=n) * scale for n, scale in ((6, 1.0), (6, 0.5), (3, 0.2))]
    before = snapshot(model)
    measured = reestimate(model, SETTING, iter(batches))
    assert snapshot(model) == before
    expected = updated_by_torch(model, SETTING, batches)
    assert measured.keys() == norms(expected).keys() == {"bn1", "bn2"}
    for name, (mean, var) in norms(expected).items():
        torch.testing.assert_close(measured[name][0], mean, msg=name)
        torch.testing.assert_close(measured[name][1], var, msg=name)
    images = random_images(3)
    torch.testing.assert_close(at(model, SETTING, measured)(images), expected.eval()(images))
    assert snapshot(model) == before


def test_each_batch_counts_alike_and_the_first_layer_is_the_data() -> None:
    """Mean over batches of the batches' own means and unbiased variances, from the convolution's output, in numpy."""
    model, batches = dual(), [random_images(4, seed=seed) for seed in range(3)]
    features = [model.get_submodule("conv1")(batch).detach().double().numpy() for batch in batches]
    mean, var = reestimate(model, SETTING, batches)["bn1"]
    np.testing.assert_allclose(mean, np.mean([f.mean((0, 2, 3)) for f in features], axis=0), atol=1e-5)
    np.testing.assert_allclose(var, np.mean([f.var((0, 2, 3), ddof=1) for f in features], axis=0), atol=1e-5)


def test_pinned_layers_keep_their_stored_statistics() -> None:
    model, batches = dual(), [random_images(6)]
    measured = reestimate(model, PINNED, batches)
    assert measured.keys() == {"bn2"}
    view = at(model, PINNED, measured)
    for ours, stored in zip(norms(view)["bn1"], norms(at(model, NormSetting(0, Stored(0.5))))["bn1"], strict=True):
        assert torch.equal(ours, stored)
    # bn2 must have been measured behind the pinned bn1, not behind a bn1 in train mode.
    plain = at(model, NormSetting(0.3, Stored(0.5))).eval()
    x = plain.get_submodule("bn1")(plain.get_submodule("conv1")(batches[0])).relu()
    features = plain.get_submodule("conv2")(x).detach()
    torch.testing.assert_close(measured["bn2"][0], features.mean((0, 2, 3)))
    torch.testing.assert_close(measured["bn2"][1], features.var((0, 2, 3)))


def test_no_batches_are_refused() -> None:
    with pytest.raises(InputError, match="at least one batch"):
        reestimate(dual(), SETTING, [])


def bench(n: int = 300) -> Bench:
    return Bench(dual(), image_set(8), image_set(n, seed=5, split="train"))


@pytest.mark.parametrize("source", SOURCES)
def test_the_refresh_changes_statistics_and_nothing_else(source: SourceName) -> None:
    """T2 of the paper's code, a refresh that did nothing; T7, crafting that moved the running statistics."""
    toy = bench()
    before = snapshot(toy.model)
    setting = NormSetting(0.3, Reestimated(source, n=140, eps=0.2))
    view, stored = toy.view(setting), at(toy.model, NormSetting(0.3, Stored(0.0)))
    assert snapshot(toy.model) == before
    for name, statistics in norms(view).items():
        for ours, theirs in zip(statistics, norms(stored)[name], strict=True):
            assert (ours - theirs).abs().max() > 0.05, name
        assert torch.equal(view.get_parameter(f"{name}.weight"), stored.get_parameter(f"{name}.weight"))
    again = norms(toy.view(setting))
    assert all(torch.equal(a, b) for name in again for a, b in zip(again[name], norms(view)[name], strict=True))


def test_clean_calibration_takes_the_images_that_the_seed_chooses() -> None:
    toy = bench()
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))[:200]
    assert toy.calibration is not None
    images = torch.from_numpy(toy.calibration.images).float()[order] / 255
    expected = updated_by_torch(toy.model, SETTING, [images[:128], images[128:]])
    view = toy.view(replace(SETTING, statistics=Reestimated("clean", n=200, seed=3)))
    for name, statistics in norms(expected).items():
        for ours, theirs in zip(norms(view)[name], statistics, strict=True):
            torch.testing.assert_close(ours, theirs, msg=name)


def sources_batches(toy: Bench, source: SourceName, eps: float) -> Tensor:
    wanted = Reestimated(source, n=64, eps=eps)
    (batch,) = toy._calibration_batches(NormSetting(0.3, wanted), wanted, None)
    return batch


def test_what_the_sources_are() -> None:
    """Noise and adversarial images lie in the ball; adversarial ones raise the loss; mix is half and half."""
    toy, eps = bench(), 0.1
    clean, adv, noise, mix = (sources_batches(toy, source, eps) for source in SOURCES)
    for batch in (adv, noise):
        assert float(batch.min()) >= 0
        assert float(batch.max()) <= 1
        assert eps * 0.9 < float((batch - clean).abs().max()) <= eps + 1e-6
    assert torch.equal(mix[:32], clean[:32])
    assert float((mix[32:] - clean[32:]).abs().max()) > eps * 0.9
    inner = (clean > eps) & (clean < 1 - eps)
    assert float((noise - clean)[inner].abs().mean()) == pytest.approx(eps / 2, rel=0.05)
    judge = toy.view(NormSetting(0.3, Reestimated("clean", n=64, eps=eps)))
    assert calibration_attack(eps).threat.eps == eps
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))[:64]
    assert toy.calibration is not None
    labels = torch.from_numpy(toy.calibration.labels)[order]
    losses = [nn.functional.cross_entropy(judge(x), labels).item() for x in (clean, noise, adv)]
    assert losses[2] > max(losses[:2]) + 0.05


@pytest.mark.parametrize(
    ("calibration", "sentence"),
    [
        pytest.param(299, "Only 299 calibration images are here, 300 were asked for", id="too-many"),
        pytest.param(None, "needs calibration images, and none are here; use stored NS", id="none"),
    ],
)
def test_calibration_images_that_are_not_there_are_refused(calibration: int | None, sentence: str) -> None:
    images = None if calibration is None else image_set(calibration)
    with pytest.raises(InputError, match=sentence):
        Bench(dual(), image_set(8), images).view(SETTING)
