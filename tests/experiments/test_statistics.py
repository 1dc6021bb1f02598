"""Intervals against published examples and closed forms, effects against synthetic grids, cosines against autograd."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine import api
from engine.cards import EvalRecord
from engine.evaluation import Bench
from engine.experiments import EXPERIMENTS
from engine.experiments.base import Verdict
from engine.experiments.grid import main_effects
from engine.experiments.intervals import Estimate, above, below, bootstrap, difference, resamples, together, within
from engine.experiments.two_tasks import cosines, loss_gradients
from engine.norm import at
from engine.values import SINGLE, Branch, branch_setting
from tests.support import dual, generator, image_set, snapshot, write_checkpoint


def record(n_correct: int, n: int) -> EvalRecord:
    return EvalRecord(branch_setting(Branch.ADV), None, None, n, n_correct, 0)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((10, 10), (0, 20), 0.6791, 1.0)],
)
def test_differences_are_newcombes(a: tuple[int, int], b: tuple[int, int], low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17:873, table II, method 10."""
    found = difference(record(*a), record(*b))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_the_bootstrap_covers_as_the_normal_approximation_does() -> None:
    values = torch.rand(400, 2, generator=generator(), dtype=torch.float64)
    found = bootstrap(values, lambda means: means[:, 0] - means[:, 1], 0)
    gaps = values[:, 0] - values[:, 1]
    half = 1.96 * float(gaps.std()) / 20
    assert found.value == pytest.approx(float(gaps.mean()))
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.15 * half)
    assert (resamples(7, 0, 50).sum(1) == 7).all()


def test_main_effects_of_a_synthetic_grid() -> None:
    """Images right with known probabilities: AP 0.5, NS 0.1, interaction 0.04; four NS sources."""
    share = torch.tensor([[0.10, 0.16, 0.10, 0.13], [0.56, 0.70, 0.60, 0.60]], dtype=torch.float64)
    affine, statistics, interaction = main_effects(share[None])
    truth = (float((share[1] - share[0]).mean()), 0.1, 0.04)
    assert (float(affine), float(statistics), float(interaction)) == pytest.approx(truth)
    right = torch.rand(4000, 2, 4, generator=generator(), dtype=torch.float64) < share
    for index, expected in enumerate(truth):
        found = bootstrap(right, lambda means, index=index: main_effects(means)[index], 0)
        assert found.low < expected < found.high
        assert found.high - found.low < 0.06


def test_verdicts_follow_the_interval() -> None:
    gap = Estimate(0.03, 0.01, 0.05)
    assert [above(gap, t) for t in (0.0, 0.02, 0.06)] == ["holds", "undecided", "fails"]
    assert [below(gap, t) for t in (0.0, 0.02, 0.06)] == ["fails", "undecided", "holds"]
    assert [within(gap, m) for m in (0.06, 0.03, 0.005)] == ["holds", "undecided", "fails"]
    parts: list[list[Verdict]] = [["holds", "fails", "undecided"], ["holds", "undecided"], ["holds", "holds"], []]
    assert [together(part) for part in parts] == ["fails", "undecided", "holds", "undecided"]


def test_gradients_are_autograds_and_nothing_is_written() -> None:
    model, data = dual(), image_set(16)
    view = at(model, branch_setting(Branch.ADV))
    images, labels = data.tensors(0, 16)
    before = snapshot(view)
    found = loss_gradients(view, images, labels)
    assert snapshot(view) == before
    assert found.keys() == {"conv1.weight", "conv2.weight"}
    private = at(dual(), branch_setting(Branch.ADV)).requires_grad_(True)
    F.cross_entropy(private(images), labels).backward()
    for name, gradient in found.items():
        expected = private.get_parameter(name).grad
        assert expected is not None
        torch.testing.assert_close(gradient.float(), expected.flatten())


def test_cosines_are_one_without_an_attack_and_those_of_the_whole_with() -> None:
    data = image_set(64)
    for estimate in cosines(Bench(dual(SINGLE), data, None), 1e-7, 64, 0).values():
        assert estimate.value == pytest.approx(1, abs=1e-3)
    model = dual()
    images, labels = data.tensors(0, 64)
    sides = [loss_gradients(at(model, branch_setting(branch)), images, labels) for branch in Branch]
    for name, estimate in cosines(Bench(model, data, None), 1e-7, 64, 0).items():
        clean, adv = (side[f"{name}.weight"] for side in sides)
        assert estimate.value == pytest.approx(torch.cosine_similarity(clean, adv, dim=0).item(), abs=1e-3)
        assert estimate.low <= estimate.value <= estimate.high


def test_the_gap_over_epochs_is_read_from_snapshots(tmp_path: Path) -> None:
    """Made up so that the gap of every channel is divided by 8 from the first to the last of four epochs."""
    folder = write_checkpoint(tmp_path, "toy")
    rng, layers = np.random.default_rng(0), dict[str, np.ndarray]()
    for name in ("a", "b", "c"):
        base = np.abs(rng.normal(5, 1, (1, 4, 6))).repeat(4, 0)
        base[:, 2:] = base[:, :2] + (2.0 ** -np.arange(4))[:, None, None]
        layers[name] = base
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, epochs=np.arange(1, 5), **layers)
    (folder / "snapshots.npz").write_bytes(content.getvalue())
    family = api.open_families(torch.device("cpu"), root=tmp_path)["shapes"]
    finding = EXPERIMENTS["E5"].run(family, 16, 0)
    assert finding.verdict == "holds"
    shrunk = {row[1]: row[2] for row in finding.table("shrunk").rows}
    assert shrunk["w1 mean"] == pytest.approx(8)
    curve = [row[3] for row in finding.table("epochs").rows if row[2] == "w1 mean"]
    assert curve == pytest.approx([2.0**-i for i in range(4)])
    assert math.isfinite(float(shrunk["log ratio"]))  # pyright: ignore[reportArgumentType]
