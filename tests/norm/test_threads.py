"""Eight threads with one model, each at its own setting, get bit for bit what each gets alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.attacks import PGD
from engine.evaluation import Bench
from engine.norm import at, fold
from engine.values import Branch, LayerMix, NormSetting, Reestimated, Stored, ThreatModel, branch_setting
from tests.support import dual, dual_resnet, generator, image_set, in_threads, random_images, random_labels, snapshot

ROUNDS = 5
SETTINGS = [
    branch_setting(Branch.CLEAN),
    branch_setting(Branch.ADV),
    *(NormSetting(lam, Stored(1 - lam)) for lam in (0.2, 0.4, 0.6, 0.8)),
    NormSetting(0.5, Stored(0.5), (("bn1", LayerMix(affine=1.0)),)),
    NormSetting(0.5, Stored(0.5), (("bn2", LayerMix(statistics=0.0)),)),
]


def together(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """All at once, as nearly as a barrier can make it."""
    barrier = threading.Barrier(len(functions))

    def wait_and(function: Callable[[], Any]) -> Any:
        barrier.wait(30)
        return function()

    return in_threads([partial(wait_and, function) for function in functions])


def use_views(model: nn.Module, setting: NormSetting) -> list[Tensor]:
    """Logits, folded logits and attacked images at one setting, several times over."""
    images, labels = random_images(4), random_labels(4)
    attack = PGD(ThreatModel("Linf", 0.1), steps=2, step_size=0.05)
    found: list[Tensor] = []
    for _ in range(ROUNDS):
        view = at(model, setting)
        folded = fold(view)
        with torch.no_grad():
            found += [view(images), folded(images)]
        found.append(attack(folded, images, labels, generator=generator()))
    return found


def test_views_in_eight_threads_equal_the_serial_ones() -> None:
    model = dual().requires_grad_(False)
    before = snapshot(model)
    serial = [use_views(model, setting) for setting in SETTINGS]
    parallel = together([partial(use_views, model, setting) for setting in SETTINGS])
    for setting, alone, beside in zip(SETTINGS, serial, parallel, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(alone, beside, strict=True)), setting
    assert len({tuple(answers[0].flatten().tolist()) for answers in serial}) == len(SETTINGS), "settings do not differ"
    assert snapshot(model) == before


def test_a_network_that_runs_while_another_thread_folds_is_left_alone() -> None:
    """torch.fx replaces nn.Module.__call__ of the whole process while it traces."""
    model = dual_resnet().requires_grad_(False)
    view, images = at(model, SETTINGS[0]), random_images(1, side=16)
    call = nn.Module.__call__
    expected = view(images)
    done = threading.Event()

    def run() -> int:
        count = 0
        while not done.is_set() or count < 3:
            assert torch.equal(view(images), expected)
            count += 1
        return count

    def fold_often() -> int:
        try:
            for setting in SETTINGS[:6]:
                fold(at(model, setting))
        finally:
            done.set()
        return 0

    assert in_threads([run, run, fold_often])[0] >= 3
    assert nn.Module.__call__ is call


def test_benches_in_eight_threads_equal_the_serial_ones() -> None:
    bench = Bench(dual().requires_grad_(False), image_set(70), image_set(64, seed=1, split="train"))
    attack = PGD(ThreatModel("Linf", 8 / 255), steps=3, step_size=4 / 255, stop="success")
    settings = [*SETTINGS[:5], *(NormSetting(0.5, Reestimated(source, n=32)) for source in ("clean", "adv", "mix"))]
    jobs = [partial(bench.evaluate, setting, attack, n=70, seed=0) for setting in settings]
    before = snapshot(bench.model)
    serial = [job() for job in jobs]
    assert together(jobs) == serial
    assert len({record.n_correct for record in serial}) > 1, "settings do not differ"
    assert snapshot(bench.model) == before


def test_an_error_in_a_thread_reaches_the_test() -> None:
    """Without this, the tests above could not fail."""

    def fail() -> None:
        raise ZeroDivisionError("in the thread")

    with pytest.raises(ZeroDivisionError, match="in the thread"):
        in_threads([lambda: 1, fail])
