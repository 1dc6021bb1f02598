"""AutoAttack: the order, who goes on, who is credited, and that it is as strong as its parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.attacks import APGD, FAB, AutoAttack, Square, quick_auto
from engine.values import ThreatModel
from tests.attacks.support import NORM_IDS, NORMS, WIDE, Linear, grey, robust, shipped
from tests.support import generator, random_images, tiny

every_norm = pytest.mark.parametrize("threat", NORMS, ids=NORM_IDS)


def test_the_defaults_are_the_standard_version() -> None:
    threat = ThreatModel("Linf", 8 / 255)
    assert AutoAttack(threat).parts == (
        APGD(threat, 100, "ce", stop="success"),
        APGD(threat, 100, "dlr", targets=9, stop="success"),
        FAB(threat, 100, targets=9, stop="success"),
        Square(threat, 5000, stop="success"),
    )
    assert quick_auto(threat).queries < 1000


@every_norm
def test_only_robust_images_go_on_and_each_success_is_confirmed(threat: ThreatModel) -> None:
    model, images = tiny(), random_images(60)
    labels = model(images).argmax(1)
    labels[:5] = (labels[:5] + 1) % 10
    attack = AutoAttack(WIDE[threat.norm], 2, 3, 3, 20)
    stages = list(attack.stages(model, images, labels, generator=generator(1)))
    assert stages[-1].names == ("no attack", *(part.label for part in attack.parts))
    assert [len(stage.names) for stage in stages] == [1, 2, 3, 4, 5]
    for before, after in zip(stages, stages[1:], strict=False):
        settled = ~before.robust
        assert torch.equal(before.by[settled], after.by[settled])
        assert torch.equal(before.images[settled], after.images[settled])
        assert set(after.by[before.robust].tolist()) <= {-1, len(after.names) - 1}
        assert torch.equal(robust(model, after.images, labels), after.robust)
        assert torch.equal(after.images[after.robust], images[after.robust])
    last = stages[-1]
    assert last.by[:5].tolist() == [0] * 5
    assert torch.equal(last.images[:5], images[:5])
    assert last.fooled_by[0] == "no attack"
    assert {None, attack.parts[0].label} <= set(last.fooled_by)
    assert torch.equal(last.images, attack(model, images, labels, generator=generator(1)))


def test_later_attacks_ask_about_fewer_images() -> None:
    """The images of the first part are those that are right; of the last, those that all others left."""
    model, images = Linear(5), grey(40)
    labels = model(images).argmax(1)
    distance = model.distances(images, labels, "Linf").amin(1)
    seen: list[Tensor] = []

    def noted(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return model(x)

    attack = AutoAttack(ThreatModel("Linf", float(distance.median())), 10, 4, 5, 30)
    result = attack.result(noted, images, labels, generator=generator())
    left = result.robust.nonzero()[:, 0].tolist()
    assert 15 < len(left) < 25
    assert len(seen[0]) == len(seen[1]) == 40
    for asked in seen[-6:]:  # Square's last queries, and the verdict on what it found
        assert {*torch.cdist(asked.flatten(1), images.flatten(1)).argmin(1).tolist()} <= {*left}


def test_where_gradients_are_useless_square_is_credited() -> None:
    model, images = Linear(4), grey(30)

    def rounded(x: Tensor) -> Tensor:
        return (model(x) * 4).round() / 4

    labels = rounded(images).argmax(1)
    attack = AutoAttack(ThreatModel("Linf", 0.03), 3, 3, 3, 60)
    result = attack.result(rounded, images, labels, generator=generator())
    by = [name for name in result.fooled_by if name is not None]
    assert attack.parts[3].label in by


@every_norm
def test_it_is_at_least_as_strong_as_each_part_on_the_shipped_network(threat: ThreatModel) -> None:
    judge, craft, images, labels = shipped()
    images, labels = images[:16], labels[:16]
    attack = AutoAttack(ThreatModel(threat.norm, 8 / 255 if threat.norm == "Linf" else 0.5), 5, 2, 3, 20)
    whole = robust(judge, attack(craft, images, labels, generator=generator()), labels)
    assert 0 < int(whole.sum()) < len(images)
    for part in attack.parts:
        alone = robust(judge, part(craft, images, labels, generator=generator()), labels)
        assert int(whole.sum()) <= int(alone.sum()), part.label
    first = robust(judge, attack.parts[0](craft, images, labels, generator=generator()), labels)
    assert not bool((whole & ~first).any()), "what APGD fools alone, from the same seed, is fooled"
