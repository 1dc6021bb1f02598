"""Shares against networks whose truth is known by construction, numpy and plain waves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine import api
from engine.__main__ import main
from engine.attribution import attribute, bootstrap, methods, shares
from engine.attribution.shares import band_shares, inside_share
from engine.data import shapes
from engine.values import Cancelled, InputError
from tests.support import dual_resnet, generator, image_set, write_checkpoint

SETTINGS = [api.branch_setting(branch) for branch in api.Branch]
PGD = api.PGD(api.ThreatModel("Linf", 8 / 255), 2, 4 / 255)


class Windowed(nn.Module):
    """A network that sees only where the window (n, h, w) is 1; each colour is squared, so that gradients differ."""

    def __init__(self, window: Tensor) -> None:
        super().__init__()
        self.window = window

    def forward(self, images: Tensor) -> Tensor:
        window = self.window.repeat(len(images) // len(self.window), 1, 1)
        seen = (images + images**2) * window[:, None]
        return torch.stack([seen.sum((1, 2, 3)), -seen.sum((1, 2, 3))], dim=1)


@pytest.mark.parametrize("method", ["saliency", "smoothgrad", "integrated-gradients"])
def test_a_network_that_looks_only_at_the_shape_and_one_that_looks_only_beside_it(method: api.MethodName) -> None:
    truth = shapes.generate("test", 20)
    images = torch.from_numpy(truth.images).float() / 255
    masks = torch.from_numpy(truth.masks).float()
    for window, wanted in ((masks, 1.0), (1 - masks, 0.0)):
        classes = torch.zeros(20, dtype=torch.long)
        maps = attribute(Windowed(window), method, images, classes, generator=generator())
        np.testing.assert_allclose(inside_share(maps.values, truth.masks), wanted, atol=1e-6)
    everywhere = attribute(Windowed(torch.ones_like(masks)), "saliency", images, classes, generator=generator())
    np.testing.assert_allclose(inside_share(np.ones_like(everywhere.values), truth.masks), truth.masks.mean((1, 2)))


def test_a_response_made_of_one_grating_has_its_energy_in_that_band() -> None:
    cues = np.arange(10)
    found = band_shares(shapes.grating(cues, np.linspace(0, 6, 10)).astype(np.float32) + 3)
    assert np.diag(found).min() > 0.75
    assert (found - np.diag(np.diag(found))).max() < 0.05
    noise = np.random.default_rng(0).standard_normal((400, 32, 32)).astype(np.float32)
    np.testing.assert_allclose(band_shares(noise).mean(0), 14 / 1023, rtol=0.05)  # all bands are of one size
    assert band_shares(np.ones((1, 32, 32), np.float32)).max() == 0


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    """300 samples of 40 from an exponential of mean 1: the textbook's normal interval is as wide, and 95 % cover 1."""
    rng = np.random.default_rng(0)
    samples = rng.exponential(size=(300, 40))
    found = [bootstrap(sample, seed) for seed, sample in enumerate(samples)]
    covered = np.mean([i.low <= 1 <= i.high for i in found])
    assert 0.89 <= covered <= 0.98
    widths = [(i.high - i.low) / (2 * 1.96 * s.std(ddof=1) / 40**0.5) for i, s in zip(found, samples, strict=True)]
    assert np.mean(widths) == pytest.approx(1, abs=0.05)


@pytest.fixture(scope="module")
def bench() -> api.Bench:
    return api.Bench(dual_resnet().requires_grad_(False), api.load_data("shapes", "test", 12), None)


def test_shares_are_those_of_the_maps_of_the_images_attacked_there(
    bench: api.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "PATH_N", 4)
    done: list[tuple[int, int]] = []
    rows = list(shares(bench, SETTINGS, PGD, "integrated-gradients", 8, 3, "label", progress=lambda *d: done.append(d)))
    assert done == [(8, 32), (16, 32), (24, 32), (32, 32)]
    assert [(row.setting, row.attack) for row in rows] == [(s, a) for s in SETTINGS for a in (None, PGD)]
    truth = shapes.generate("test", 8)
    for row in rows:
        view = bench.view(row.setting)
        images, labels = bench.test.tensors(0, 8)
        if row.attack is not None:
            images = PGD(api.crafting_network(view), images, labels, generator=api.seeded(3, 0))
        maps = attribute(view, "integrated-gradients", images, labels, generator=generator())
        size = np.abs(maps.values)
        np.testing.assert_allclose(row.inside, (size * truth.masks).sum((1, 2)) / size.sum((1, 2)), atol=1e-4)
        seen = (images - images.mean((2, 3), keepdim=True)).sum(1).abs().numpy()
        np.testing.assert_allclose(row.even, (seen * truth.masks).sum((1, 2)) / seen.sum((1, 2)), atol=1e-4)
        assert row.n_correct == int((view(images).argmax(1) == labels).sum())
        assert maps.response is not None
        assert row.band is not None
        np.testing.assert_allclose(row.band, band_shares(maps.response)[np.arange(8), truth.cues], atol=1e-4)
    coarse = next(shares(bench, SETTINGS, None, "grad-cam", 8, 0))
    assert coarse.band is coarse.elsewhere is None
    np.testing.assert_allclose(coarse.even, truth.masks.mean((1, 2)))


def test_shares_need_the_truth_and_can_be_stopped(bench: api.Bench) -> None:
    toy = api.Bench(bench.model, image_set(8, 32), None)
    with pytest.raises(InputError, match="known only for the built-in shapes, not for toy"):
        next(shares(toy, SETTINGS, None, "saliency", 8, 0))
    with pytest.raises(InputError, match="has 12 test images, 13 were asked for"):
        next(shares(bench, SETTINGS, None, "saliency", 13, 0))

    def stop(*_: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        next(shares(bench, SETTINGS, None, "saliency", 4, 0, progress=stop))


def test_the_command_prints_what_the_engine_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path, "toy")
    command = ["attribute", "toy", "--method", "saliency", "--n", "6", "--ap", "1", "--ns", "stored:1", "--seed", "2"]
    command += ["--attack", "pgd", "--steps", "2", "--step-size", "4/255", "--root", str(tmp_path), "--device", "cpu"]
    assert main([*command, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    bench, card = api.open_bench("toy", torch.device("cpu"), n=6, root=tmp_path)
    assert value["weights_sha256"] == card.weights_sha256
    for row, found in zip(value["rows"], shares(bench, SETTINGS[1:], PGD, "saliency", 6, 2), strict=True):
        interval = found.interval(found.inside)
        assert row["inside"] == {"value": interval.value, "low": interval.low, "high": interval.high, "n": 6}
        assert (row["attack"] is None) == (found.attack is None)
    assert main(command) == 0
    assert "inside the shape" in capsys.readouterr().out
    assert main([*command[:-4], "--n", "0"]) == 2
