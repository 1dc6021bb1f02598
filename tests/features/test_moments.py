"""Moments against numpy in float64, distances against sorted means and scipy, `measure` against a forward hook."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

from engine.features import (
    DISTANCES,
    ImageMoments,
    Moments,
    Recorder,
    affine_distances,
    affine_gaps,
    layer_gaps,
    measure,
    statistics_gaps,
    stored_gaps,
    wasserstein1,
)
from engine.norm import at
from engine.values import DUAL_BN, SINGLE, Branch, InputError, NormSetting, Stored, branch_setting
from tests.support import dual, generator, random_images, snapshot

SETTING = NormSetting(0.3, Stored(0.6))


def moments(values: npt.NDArray[np.float64]) -> Moments:
    """Of values (count, channels)."""
    return Moments(len(values), torch.from_numpy(values.mean(0)), torch.from_numpy(values.var(0)))


@pytest.mark.parametrize("cuts", [(1,), (500,), (999,), (3, 4, 600), (100, 200, 300, 400)], ids=str)
def test_merged_moments_are_those_of_the_whole(cuts: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(50, 2, (1000, 3)) * np.array([1.0, 1e-3, 1e4])
    parts = [moments(part) for part in np.split(values, cuts)]
    for ordered in (parts, parts[::-1]):
        merged = ordered[0]
        for part in ordered[1:]:
            merged = merged.merge(part)
        assert merged.count == 1000
        np.testing.assert_allclose(merged.mean, values.mean(0), rtol=1e-12)
        np.testing.assert_allclose(merged.var, values.var(0), rtol=1e-9)


def test_measuring_equals_a_forward_hook_on_a_private_copy() -> None:
    model, batches = dual(), [random_images(n, seed=n) for n in (5, 3, 1)]
    view = at(model, SETTING)
    before = (snapshot(model), snapshot(view))
    found = measure(view, iter(batches))
    assert (snapshot(model), snapshot(view)) == before

    private, inputs = copy.deepcopy(view), dict[str, list[Tensor]](bn1=[], bn2=[])

    def remember(seen: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, arguments: seen.append(arguments[0].detach())

    for name, seen in inputs.items():
        private.get_submodule(name).register_forward_pre_hook(remember(seen))
    for batch in batches:
        private(batch)
    assert found.keys() == inputs.keys()
    for name, seen in inputs.items():
        values = torch.cat(seen).double().numpy()
        assert found[name].count == 9 * 8 * 8
        np.testing.assert_allclose(found[name].mean, values.mean((0, 2, 3)), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found[name].var, values.var((0, 2, 3)), rtol=1e-8)
        assert found[name].mean.dtype == found[name].var.dtype == torch.float64


def test_measuring_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one batch"):
        measure(at(dual(), SETTING), [])


@pytest.mark.parametrize("seed", range(5))
def test_wasserstein_is_the_sorted_mean_and_never_above_the_paired(seed: int) -> None:
    rng = np.random.default_rng(seed)
    u, v = rng.normal(size=64), rng.normal(0.5, 3, 64)
    ours = wasserstein1(torch.from_numpy(u), torch.from_numpy(v))
    assert ours == pytest.approx(np.abs(np.sort(u) - np.sort(v)).mean(), rel=1e-12)
    assert ours == pytest.approx(wasserstein_distance(u, v), rel=1e-12)
    assert ours <= np.abs(u - v).mean() + 1e-12
    assert ours < np.abs(u - v).mean() * 0.9, "sorting makes no difference here, so nothing was tested"
    assert wasserstein1(torch.from_numpy(u), torch.from_numpy(rng.permutation(u))) == pytest.approx(0, abs=1e-15)


def test_a_gap_in_numbers_worked_by_hand() -> None:
    """Two channels: means (0, 2) -> (1, 2), sigmas (2, 1) -> (2, e); W1 pairs 2 with e and 1 with 2."""
    a = {"bn": Moments(10, torch.tensor([0.0, 2.0]).double(), torch.tensor([4.0, 1.0]).double())}
    b = {"bn": Moments(10, torch.tensor([1.0, 2.0]).double(), torch.tensor([4.0, np.e**2]).double())}
    (gap,) = statistics_gaps(a, b)
    assert gap.layer == "bn"
    assert gap.mean == pytest.approx((0.5 + 0) / 2)
    assert gap.sigma == pytest.approx((0 + 1) / 2)
    assert gap.w1_mean == pytest.approx((1 + 0) / 2)
    assert gap.w1_sigma == pytest.approx(((2 - 1) + (np.e - 2)) / 2)


def test_constant_channels_do_not_spoil_a_gap() -> None:
    a = {"bn": Moments(10, torch.tensor([0.0, 5.0]).double(), torch.tensor([1.0, 0.0]).double())}
    b = {"bn": Moments(10, torch.tensor([0.5, 6.0]).double(), torch.tensor([1.0, 0.0]).double())}
    (gap,) = statistics_gaps(a, b)
    assert (gap.mean, gap.sigma) == pytest.approx((0.5, 0.0))
    (dead,) = statistics_gaps({"bn": Moments(10, torch.zeros(1), torch.zeros(1))}, a)
    assert (dead.mean, dead.sigma) == (0.0, 0.0)


def test_layer_gaps_are_gaps_of_what_was_measured() -> None:
    view = at(dual(), SETTING)
    clean, attacked = [random_images(4)], [random_images(4, seed=1) * 0.5]
    assert layer_gaps(view, clean, attacked) == statistics_gaps(measure(view, clean), measure(view, attacked))
    assert all(gap.mean == gap.sigma == gap.w1_mean == gap.w1_sigma == 0 for gap in layer_gaps(view, clean, clean))


def test_stored_gaps_compare_the_running_statistics() -> None:
    model = dual()
    ends = [at(model, branch_setting(branch)).state_dict() for branch in Branch]
    for gap in stored_gaps(model):
        mean_c, mean_a = (end[f"{gap.layer}.running_mean"].double().numpy() for end in ends)
        sigma_c, sigma_a = (np.sqrt(end[f"{gap.layer}.running_var"].double().numpy()) for end in ends)
        assert gap.mean == pytest.approx((np.abs(mean_a - mean_c) / sigma_c).mean())
        assert gap.sigma == pytest.approx(np.abs(np.log(sigma_a / sigma_c)).mean())
        assert gap.w1_mean == pytest.approx(wasserstein_distance(mean_c, mean_a))
        assert gap.w1_sigma == pytest.approx(wasserstein_distance(sigma_c, sigma_a))
    assert all(gap.mean == gap.sigma == 0 for gap in stored_gaps(dual(SINGLE)))


def test_affine_gaps_grow_along_lambda() -> None:
    model = dual(DUAL_BN)
    whole = affine_gaps(model, 1.0)
    for name in ("bn1", "bn2"):
        layer = model.get_submodule(name)
        clean, adv = (
            torch.cat([layer.get_parameter(f"weight.{b}"), layer.get_parameter(f"bias.{b}")]).detach().numpy()
            for b in (0, 1)
        )
        assert whole[name] == pytest.approx(np.linalg.norm(adv - clean) / np.linalg.norm(clean), rel=1e-5)
        assert affine_gaps(model, 0.0)[name] == 0
        assert affine_gaps(model, 0.25)[name] == pytest.approx(whole[name] / 4, rel=1e-4)


def drawn(seed: int, channels: int = 32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(mean_a, sigma_a, mean_b, sigma_b), each (3, channels)."""
    values = torch.randn(4, 3, channels, generator=generator(seed), dtype=torch.float64)
    return values[0], values[1].exp(), values[2], values[3].exp()


@pytest.mark.parametrize("seed", range(3))
def test_distances_against_scipy_and_torch(seed: int) -> None:
    """Each over a leading axis, as when images are resampled."""
    mean_a, sigma_a, mean_b, sigma_b = sides = drawn(seed)
    found = {name: distance(*sides).mean(-1) for name, distance in DISTANCES.items()}
    for row in range(3):
        assert found["w1 mean"][row] == pytest.approx(wasserstein_distance(mean_a[row], mean_b[row]))
        assert found["w1 sigma"][row] == pytest.approx(wasserstein_distance(sigma_a[row], sigma_b[row]))
    for statistic in ("mean", "sigma"):
        assert (found[f"paired {statistic}"] > found[f"w1 {statistic}"]).all()
    a, b = torch.distributions.Normal(mean_a, sigma_a), torch.distributions.Normal(mean_b, sigma_b)
    torch.testing.assert_close(found["kl"], torch.distributions.kl_divergence(b, a).mean(-1))
    torch.testing.assert_close(found["w2"], ((mean_a - mean_b) ** 2 + (sigma_a - sigma_b) ** 2).sqrt().mean(-1))


def test_image_moments_of_any_split_and_of_repeated_images() -> None:
    """Merged they are those of the whole; drawn twice an image counts as if it stood there twice."""
    view, images = at(dual(), SETTING), random_images(6)
    recorder = Recorder(view)
    logits = recorder(images)
    torch.testing.assert_close(logits, view(images), rtol=0, atol=0)
    whole = recorder.taken()
    parts: list[dict[str, ImageMoments]] = []
    for part in (images[:1], images[1:4], images[4:]):
        recorder(part)
        parts.append(recorder.taken())
    repeated = measure(view, [images[[0, 0, 0, 3, 3, 5]]])
    for name, moments in whole.items():
        merged = parts[0][name].merge(parts[1][name]).merge(parts[2][name]).whole
        assert merged.count == moments.whole.count == 6 * 64
        torch.testing.assert_close(merged.mean, moments.whole.mean, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(merged.var, moments.whole.var, rtol=1e-6, atol=1e-7)
        mean, var = moments.resampled(torch.tensor([[3.0, 0, 0, 2, 0, 1]], dtype=torch.float64))
        torch.testing.assert_close(mean[0], repeated[name].mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(var[0], repeated[name].var, rtol=1e-5, atol=1e-6)


def test_affine_distances_of_both_halves() -> None:
    model = dual(DUAL_BN)
    rows = {(row.layer, row.half): row for row in affine_distances(model)}
    assert rows.keys() == {(layer, half) for layer in ("bn1", "bn2") for half in ("weight", "bias")}
    for (layer, half), row in rows.items():
        u, v = (model.get_submodule(layer).get_parameter(f"{half}.{b}").detach().double().numpy() for b in (0, 1))
        assert row.w1 == pytest.approx(wasserstein_distance(u, v))
        assert row.paired == pytest.approx(np.abs(u - v).mean())
        assert row.cosine == pytest.approx(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    assert all((row.w1, row.cosine) == (0, pytest.approx(1)) for row in affine_distances(dual(SINGLE)))


class Unused(nn.Module):
    """A norm layer that no image reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.idle = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.bn(images)


def test_a_layer_that_saw_nothing_is_reported() -> None:
    with pytest.raises(InputError, match="saw no images"):
        measure(Unused().eval(), [torch.rand(2, 3, 4, 4, generator=generator())])
