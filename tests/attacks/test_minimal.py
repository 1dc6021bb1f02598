"""Minimal eps against |w.x + b| / |w|_dual, the distance of an image to a linear boundary."""

from __future__ import annotations

import pytest
import torch

from engine.attacks import APGD, FAB, PGD, Attack, Noise, minimal_eps, resized
from engine.values import Cancelled, InputError, ThreatModel
from tests.attacks.support import NORM_IDS, NORMS, Linear, grey, robust, sizes
from tests.support import generator, random_images, tiny

every_norm = pytest.mark.parametrize("threat", NORMS, ids=NORM_IDS)
FAMILIES = {
    "pgd": lambda threat: PGD(threat, 3, threat.eps, random_start=False),
    "apgd": lambda threat: APGD(threat, 12, "margin"),
    "apgd-success": lambda threat: APGD(threat, 12, "margin", stop="success"),
}


@pytest.mark.parametrize("family", FAMILIES)
@every_norm
def test_a_linear_network_s_distances_are_found_to_the_tolerance(threat: ThreatModel, family: str) -> None:
    model, images = Linear(), grey(25)
    labels = model(images).argmax(1)
    labels[:2] = 1 - labels[:2]
    away = (model.weight[1] - model.weight[0]).detach()
    gap = (images.flatten(1) @ away + model.bias[1] - model.bias[0]).detach().abs()
    distance = gap / away.norm(p=1 if threat.norm == "Linf" else 2)
    largest = float(distance.quantile(0.8))
    attack: Attack = FAMILIES[family](ThreatModel(threat.norm, largest))
    found = minimal_eps(attack, model, images, labels, generator=generator(), halvings=6)
    assert found.eps[:2].tolist() == [0, 0]
    near = distance < largest * 0.999
    near[:2] = False
    far = distance > largest * 1.001
    far[:2] = False
    assert 3 < int(far.sum()) < int(near.sum())
    assert bool(found.eps[far].isinf().all())
    excess = (found.eps[near] - distance[near]) / (largest / 2**6)
    assert float(excess.min()) > -1e-3
    assert float(excess.max()) < 1.1
    assert not bool(robust(model, found.images[near], labels[near]).any())
    torch.testing.assert_close(sizes(threat, found.images - images)[near].float(), found.eps[near])
    assert torch.equal(found.images[~near], images[~near])


def test_no_image_is_attacked_where_the_answer_is_known() -> None:
    """Bisection: each image takes part in at most halvings + 1 attacks."""
    model, images = tiny(), random_images(12)
    labels, asked, told = model(images).argmax(1), 0, list[tuple[int, int]]()

    def counted(x: torch.Tensor) -> torch.Tensor:
        nonlocal asked
        asked += len(x)
        return model(x)

    attack, halvings = PGD(ThreatModel("Linf", 0.2), 3, 0.06), 5
    tell = lambda done, total: told.append((done, total))  # noqa: E731
    found = minimal_eps(attack, counted, images, labels, generator=generator(), halvings=halvings, progress=tell)
    passes = attack.steps + 2
    assert asked <= 12 + 12 * passes * (halvings + 1)
    assert told == [(level, 6) for level in range(1, 7)]
    assert int(found.eps.isfinite().sum()) > 0

    def stop(*_: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        minimal_eps(attack, model, images, labels, generator=generator(), progress=stop)


def test_finer_grids_only_lower_it_and_fab_agrees() -> None:
    model, images = tiny(), random_images(12)
    labels = model(images).argmax(1)
    threat = ThreatModel("L2", 3.0)
    attack = APGD(threat, 12, "margin", stop="success")
    coarse, fine = (
        minimal_eps(attack, model, images, labels, generator=generator(), halvings=halvings).eps for halvings in (2, 7)
    )
    assert bool((fine <= coarse).all())
    assert float((fine / coarse).mean()) < 0.9
    fab = FAB(threat, 12).nearest(model, images, labels, generator=generator()).distance
    assert 0.8 < float((fine / fab).median()) < 1.2


def test_resizing_keeps_what_depends_on_eps_in_proportion() -> None:
    threat, half = ThreatModel("Linf", 0.2), ThreatModel("Linf", 0.1)
    assert resized(PGD(threat, 3, 0.05, momentum=0.5), 0.1) == PGD(half, 3, 0.025, momentum=0.5)
    assert resized(Noise(threat, "sign"), 0.1) == Noise(half, "sign")


def test_a_search_of_no_steps_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 of its halvings"):
        minimal_eps(PGD(NORMS[0], 1, 0.1), tiny(), random_images(1), torch.tensor([0]), generator=generator(),
                    halvings=0)  # fmt: skip
