"""Square: its shapes, its schedule, that it asks for logits only, and the optimum of a linear network."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.attacks import PGD, Square
from engine.attacks.base import Stop
from engine.attacks.losses import OBJECTIVES
from engine.attacks.square import square_share
from engine.attacks.squares import bump, place, started, with_square
from engine.values import ThreatModel
from tests.attacks.support import NORM_IDS, NORMS, Linear, grey, robust, sizes
from tests.support import generator, random_labels

every_norm = pytest.mark.parametrize("threat", NORMS, ids=NORM_IDS)


@pytest.mark.parametrize("queries", [10_000, 1000])
def test_squares_shrink_on_the_paper_s_schedule(queries: int) -> None:
    scale = queries // 1000
    moments = [(1, 0.8), (2, 0.4), (6, 0.2), (21, 0.1), (101, 0.05), (201, 0.025), (401, 0.0125), (601, 0.00625),
               (801, 0.003125), (1000, 0.003125)]  # fmt: skip
    for moment, share in moments:
        assert square_share(0.8, moment * scale, queries) == pytest.approx(share)


@pytest.mark.parametrize("side", [3, 5, 9])
def test_a_bump_is_a_unit_hill_beside_its_negative(side: int) -> None:
    hills = bump(side, torch.zeros(1))
    assert float(hills.norm()) == pytest.approx(1)
    assert bool((hills[:, : side // 2] > 0).all())
    assert bool((hills[:, side // 2 :] < 0).all())
    assert float(hills.abs().max()) == pytest.approx(float(hills[side // 2].abs().max()))


def test_an_linf_square_is_eps_per_channel_and_leaves_the_rest() -> None:
    images, threat = torch.full((20, 3, 9, 12), 0.5), ThreatModel("Linf", 0.1)
    x = started(threat, images, generator(1))
    stripes = x - images
    torch.testing.assert_close(stripes.abs(), torch.full_like(stripes, 0.1))
    assert torch.equal(stripes, stripes[:, :, :1].expand_as(stripes))
    where = place(threat, images, 0.2, generator(2))
    assert where.side == round((0.2 * 9 * 12) ** 0.5)
    moved = with_square(threat, images, x, where)
    for row in range(20):
        top, left, side = int(where.top[row]), int(where.left[row]), where.side
        inside = torch.zeros(9, 12, dtype=torch.bool)
        inside[top : top + side, left : left + side] = True
        assert int(inside.sum()) == side**2
        assert torch.equal(moved[row][:, ~inside], x[row][:, ~inside])
        expected = 0.5 + 0.1 * where.signs[row][:, None].expand(3, side**2)
        torch.testing.assert_close(moved[row][:, inside], expected)
    assert len(set(where.top.tolist())) > 3
    assert 0.3 < float((where.signs > 0).float().mean()) < 0.7


def test_an_l2_square_spends_what_the_two_windows_and_the_ball_have_left() -> None:
    images, threat = torch.full((20, 3, 15, 15), 0.5), ThreatModel("L2", 0.4)
    x = started(threat, images, generator(1))
    torch.testing.assert_close(sizes(threat, x - images), torch.full((20,), 0.4))
    for step in range(6):
        where = place(threat, images, 0.3 / (step + 1), generator(step))
        moved = with_square(threat, images, x, where)
        torch.testing.assert_close(sizes(threat, moved - images), torch.full((20,), 0.4), rtol=1e-4, atol=0)
        side = where.side
        for row in range(20):
            one, two = torch.zeros(15, 15, dtype=torch.bool), torch.zeros(15, 15, dtype=torch.bool)
            one[int(where.top[row]) :, int(where.left[row]) :][:side, :side] = True
            two[int(where.other_top[row]) :, int(where.other_left[row]) :][:side, :side] = True
            before, after = (x - images)[row], (moved - images)[row]
            assert float(after[:, two & ~one].abs().max() if (two & ~one).any() else 0) == 0
            torch.testing.assert_close(after[:, ~(one | two)], before[:, ~(one | two)])
            kept = before[:, one | two].norm(dim=1)
            torch.testing.assert_close(after[:, one].norm(dim=1), kept, rtol=1e-3, atol=1e-5)
        x = moved


@every_norm
def test_a_linear_network_is_driven_to_its_optimum(threat: ThreatModel) -> None:
    """The largest margin is known: eps |w_j - w_y|_dual above that of the image."""
    model, images = Linear(), grey(8)
    labels = random_labels(8, 2)
    before, after = (
        OBJECTIVES["margin"](model(x).detach(), labels, labels)
        for x in (images, Square(threat, 300)(model, images, labels, generator=generator()))
    )
    away = model.weight.detach()[1] - model.weight.detach()[0]
    gain = (after - before) / (threat.eps * away.norm(p=1 if threat.norm == "Linf" else 2))
    assert float(gain.max()) <= 1 + 1e-6
    assert float(gain.min()) > (0.85 if threat.norm == "Linf" else 0.3)


@every_norm
def test_it_asks_for_logits_only(threat: ThreatModel) -> None:
    """Also where gradients are useless: a network that rounds its logits is fooled by Square and not by PGD."""
    model, images = Linear(), grey(20)
    labels = model(images).argmax(1)

    def rounded(x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled() or x.requires_grad, "a gradient that nobody needs is computed"
        return (model(x) * 8).round() / 8

    wide = ThreatModel(threat.norm, 5 * threat.eps)
    square = Square(wide, 40)(rounded, images, labels, generator=generator())
    pgd = PGD(wide, 10, wide.eps / 4, random_start=False)(rounded, images, labels, generator=generator())
    assert torch.equal(pgd, images)
    assert int(robust(model, square, labels).sum()) < 15


@every_norm
def test_the_loss_never_falls_and_stopping_changes_no_verdict(threat: ThreatModel) -> None:
    model, images = Linear(5), grey(30)
    labels = model(images).argmax(1)
    median = float(model.distances(images, labels, threat.norm).amin(1).median())
    wide = ThreatModel(threat.norm, median * (1.5 if threat.norm == "Linf" else 3))
    steps = list(Square(wide, 40, n_restarts=2).trace(model, images, labels, generator=generator(1)))
    assert [step.step for step in steps] == list(range(41)) * 2
    for before, after in zip(steps, steps[1:], strict=False):
        if after.step:
            assert bool((after.loss >= before.loss).all())
        torch.testing.assert_close(after.logits, model(after.images).detach().float(), rtol=1e-5, atol=1e-5)
    assert bool((steps[40].loss > steps[0].loss).float().mean() > 0.9)
    left = [
        robust(model, Square(wide, 40, 2, stop=stop)(model, images, labels, generator=generator(1)), labels)
        for stop in ("never", "success")
    ]
    assert torch.equal(*left)
    assert torch.equal(left[0], ~steps[-1].fooled)
    assert 0 < int(left[0].sum()) < 30


@pytest.mark.parametrize("stop", ["never", "success"])
@every_norm
def test_queries_side_by_side_find_what_one_after_the_other_finds(threat: ThreatModel, stop: Stop) -> None:
    """The trace makes one query at a time; the call makes as many at once as fill a batch, and needs fewer batches."""
    model, images = Linear(5), grey(6)
    labels = model(images).argmax(1)
    sizes_asked: list[int] = []

    def counted(x: Tensor) -> Tensor:
        sizes_asked.append(len(x))
        return model(x)

    attack = Square(ThreatModel(threat.norm, 2 * threat.eps), 200, stop=stop)
    *_, last = attack.trace(counted, images, labels, generator=generator(1))
    one_by_one, sizes_asked = sizes_asked, []
    found = attack(counted, images, labels, generator=generator(1))
    torch.testing.assert_close(found, last.images, rtol=0, atol=1e-6)
    assert max(one_by_one) == 6
    assert max(sizes_asked) > 50
    if stop == "never":
        assert len(sizes_asked) < 0.6 * len(one_by_one)


def test_a_square_that_changes_nothing_is_not_asked_for() -> None:
    """One pixel, one channel: every square covers it, and half of them repeat the corner where it is already."""
    images, labels = torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, dtype=torch.long)
    asked: list[float] = []

    def logits_fn(x: Tensor) -> Tensor:
        asked.append(float(x))
        return torch.cat([x.flatten(1), 1 - x.flatten(1)], 1)

    list(Square(ThreatModel("Linf", 0.1), 100).trace(logits_fn, images, labels, generator=generator(1)))
    assert 25 < len(asked) < 75
    assert asked[-10:] == [asked[-1]] * 10


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 5), (1, 28, 20)])
@every_norm
def test_any_image_size_will_do(threat: ThreatModel, shape: tuple[int, int, int]) -> None:
    images = torch.full((3, *shape), 0.5)
    weight = torch.randn(math.prod(shape), 3, generator=generator())

    def logits_fn(x: Tensor) -> Tensor:
        return x.flatten(1) @ weight

    found = Square(threat, 12)(logits_fn, images, logits_fn(images).argmax(1), generator=generator())
    assert bool(found.isfinite().all())
    assert float(sizes(threat, found - images).max()) <= threat.eps * (1 + 1e-5)
    assert float(sizes(threat, found - images).min()) > 0
