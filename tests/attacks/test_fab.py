"""FAB: its projection against a linear program, its distances against the closed form of a linear network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from engine.attacks import FAB
from engine.attacks.fab import boundary_step
from engine.values import ThreatModel
from tests.attacks.support import NORM_IDS, NORMS, Linear, grey, robust, shipped, sizes
from tests.support import generator, random_images, tiny

every_norm = pytest.mark.parametrize("threat", NORMS, ids=NORM_IDS)


def test_the_linf_boundary_step_is_the_solution_of_its_linear_program() -> None:
    """min t over (d, t): <w, d> = -gap, |d_i| <= t, 0 <= x_i + d_i <= 1."""
    g = generator(2)
    x = torch.rand(12, 1, 2, 3, generator=g).double().mul(1.4).sub(0.2).clamp(0, 1)
    w = torch.randn(x.shape, generator=g).double()
    w[:, 0, 0, 0] = 0
    gap = torch.randn(12, generator=g).double()
    steps = boundary_step(ThreatModel("Linf", 1), x, w, gap)
    solved = 0
    for image, slope, c, step in zip(x.flatten(1).numpy(), w.flatten(1).numpy(), gap.tolist(), steps, strict=True):
        eye, ones = np.eye(6), np.ones((6, 1))
        limits = np.block([[eye, -ones], [-eye, -ones]])
        bounds = [*zip(-image, 1 - image, strict=True), (0, None)]
        done = linprog([0] * 6 + [1], limits, np.zeros(12), [[*slope, 0]], [-c], bounds)
        if done.status == 0:
            solved += 1
            assert float(step.abs().max()) == pytest.approx(done.fun, rel=1e-5, abs=1e-9)
            assert float((step.flatten() * torch.from_numpy(slope)).sum()) == pytest.approx(-c, abs=1e-5)
        else:  # out of reach: every pixel goes as far as it can
            assert float((step.flatten() * torch.from_numpy(slope)).sum() / -c) > 0
            assert bool((((image + step.flatten().numpy()) % 1 < 1e-9) | (slope == 0)).all())
    assert solved > 4


def test_the_l2_boundary_step_is_the_nearest_point() -> None:
    g = generator(3)
    x = torch.rand(6, 1, 2, 2, generator=g).double()
    w, gap = torch.randn(x.shape, generator=g).double(), 0.3 * torch.randn(6, generator=g).double()
    steps = boundary_step(ThreatModel("L2", 1), x, w, gap)
    for image, slope, c, step in zip(x.flatten(1).numpy(), w.flatten(1).numpy(), gap.tolist(), steps, strict=True):
        on_it = {"type": "eq", "fun": lambda d, slope=slope, c=c: slope @ d + c}
        done = minimize(
            lambda d: d @ d, np.zeros(4), bounds=list(zip(-image, 1 - image, strict=True)), constraints=on_it
        )
        if done.success:
            assert float(step.norm()) == pytest.approx(done.fun**0.5, rel=1e-3)
            assert float((step.flatten() * torch.from_numpy(slope)).sum()) == pytest.approx(-c, abs=1e-5)


@every_norm
def test_on_a_linear_network_it_finds_the_distance_to_the_boundary(threat: ThreatModel) -> None:
    model, images = Linear(5), grey(30)
    labels = model(images).argmax(1)
    labels[0] = (labels[0] + 1) % 5
    distance = model.distances(images, labels, threat.norm).amin(1)
    found = FAB(threat, 10, 4).nearest(model, images, labels, generator=generator())
    assert found.distance[0] == 0
    torch.testing.assert_close(found.images[0], images[0])
    ours, exact = found.distance[1:], distance[1:]
    assert float((ours / exact).min()) > 1 - 1e-6
    assert float((ours / exact).max()) < 1.02
    assert not bool(robust(model, found.images, labels).any())
    torch.testing.assert_close(sizes(threat, found.images - images).float(), found.distance, rtol=1e-5, atol=1e-6)


@every_norm
def test_the_call_returns_what_is_found_within_eps_and_else_the_image(threat: ThreatModel) -> None:
    model, images = Linear(5), grey(40)
    labels = model(images).argmax(1)
    distance = model.distances(images, labels, threat.norm).amin(1)
    eps = float(distance.median())
    clear = (distance / eps - 1).abs() > 0.05
    for stop in ("never", "success"):
        found = FAB(ThreatModel(threat.norm, eps), 10, 4, stop=stop)(model, images, labels, generator=generator())
        unfooled = robust(model, found, labels)
        assert torch.equal(unfooled[clear], (distance > eps)[clear])
        assert torch.equal(found[unfooled], images[unfooled])


@every_norm
def test_restarts_steps_and_the_final_search_only_bring_it_nearer(threat: ThreatModel) -> None:
    model, images = tiny(), random_images(20)
    labels = model(images).argmax(1)
    runs = [(3, 1), (12, 1), (12, 3)]
    found = [
        FAB(threat, steps, 3, n_restarts).nearest(model, images, labels, generator=generator(1)).distance
        for steps, n_restarts in runs
    ]
    assert bool((found[1] <= found[0] + 1e-6).float().mean() > 0.9)
    assert bool((found[2] <= 1.005 * found[1]).all())  # the final search begins at another point
    traced = list(FAB(threat, 12, 3).trace(model, images, labels, generator=generator(1)))
    assert [step.step for step in traced] == list(range(13)) * 3
    nearest = torch.full((20,), torch.inf)
    for step in traced:
        wrong = step.logits.argmax(1) != labels
        nearest = torch.where(wrong, torch.minimum(nearest, sizes(threat, step.images - images)), nearest)
    assert bool((found[1] <= nearest + 1e-5).all())
    assert float((found[1] / nearest).mean()) > 0.9
    assert bool((found[1] < nearest - 1e-4).any()), "the final search finds nothing nearer"


def test_it_stops_early_where_a_find_within_eps_is_enough() -> None:
    judge, craft, images, labels = shipped()
    images, labels, asked = images[:12], labels[:12], [0, 0]
    for position, stop in enumerate(("never", "success")):

        def counted(x: torch.Tensor, position: int = position) -> torch.Tensor:
            asked[position] += len(x)
            return craft(x)

        attack = FAB(ThreatModel("L2", 1.0), 4, 2, stop=stop)
        found = attack(counted, images, labels, generator=generator())
        assert 0 < int(robust(judge, found, labels).sum()) < len(images)
    assert asked[1] < 0.9 * asked[0]
