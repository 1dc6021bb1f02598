"""Training the affine parameters alone: what is frozen stays as it was bit by bit, the rest follows torch's own SGD."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from engine import api
from engine.checkpoint import save_checkpoint
from engine.cli.train import initial_network
from engine.norm import at, to_dual_bn
from engine.training.loop import Run, learning_rate, train
from engine.values import DESIGNS, SINGLE, Branch, InputError, branch_setting
from tests.support import card_for, dual, dual_resnet
from tests.training.support import coloured, config

ONLY: dict[str, Any] = {"only": "affine", "warm_start": "a", "alpha": 1.0, "lr": 0.5}
designs = pytest.mark.parametrize("design", ["dual-bn", "dual-ap"])


@designs
def test_only_the_clean_branchs_ap_and_its_own_statistics_move(design: str) -> None:
    model = dual(DESIGNS[design])
    before = copy.deepcopy(model)
    rows = list(train(model, config(design=design, **ONLY), coloured(), None))
    assert rows[-1].loss < rows[0].loss
    old, new = before.state_dict(), model.state_dict()
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    own = {f"{bn}.{key}" for bn in ("bn1", "bn2") for key in ("mean", "var")} if design == "dual-bn" else set[str]()
    assert moved == {f"{bn}.{key}.0" for bn in ("bn1", "bn2") for key in ("weight", "bias")} | own
    ends = [at(network, branch_setting(Branch.ADV)).state_dict() for network in (before, model)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@designs
def test_it_equals_a_plain_loop_over_the_norms_parameters(design: str) -> None:
    settings = config(design=design, **ONLY)
    model = dual(DESIGNS[design])
    batches = Run(copy.deepcopy(model), settings, coloured())
    plain = copy.deepcopy(at(model, branch_setting(Branch.CLEAN))).train(design == "dual-bn")
    norms = [module for module in plain.modules() if isinstance(module, nn.BatchNorm2d)]
    parameters = [p.requires_grad_(True) for norm in norms for p in (norm.weight, norm.bias)]
    optimizer = torch.optim.SGD(parameters, 1.0, 0.9, weight_decay=5e-4, nesterov=True)
    list(train(model, settings, coloured(), None))
    for step in range(settings.total_steps):
        images, labels = batches.batch(step)
        optimizer.param_groups[0]["lr"] = learning_rate(settings, step)
        optimizer.zero_grad()
        F.cross_entropy(plain(images), labels).backward()
        optimizer.step()
    view = at(model, branch_setting(Branch.CLEAN)).state_dict()
    for name, tensor in plain.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(view[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_a_single_bn_checkpoint_starts_both_branches_of_any_design(tmp_path: Path) -> None:
    single = dual_resnet(design=SINGLE)
    save_checkpoint(tmp_path / "a", single, card_for("a", SINGLE))
    for design in ("dual-bn", "dual-ap", "dual-linear"):
        started = initial_network(config(**ONLY | {"design": design}), 10, tmp_path)
        expected = to_dual_bn(at(single, branch_setting(Branch.ADV)), DESIGNS[design]).state_dict()
        for name, tensor in started.state_dict().items():
            assert torch.equal(tensor, expected[name])
    save_checkpoint(tmp_path / "a", dual_resnet(), card_for("a", DESIGNS["dual-bn"]))
    with pytest.raises(api.InputError, match="another architecture, design or classes"):
        initial_network(config(**ONLY | {"design": "dual-ap"}), 10, tmp_path)


def test_the_card_says_what_it_learned() -> None:
    card = replace(card_for("a", SINGLE), config=config(**ONLY).as_json())
    assert card.learned_from == "clean: AP alone, from a"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"only": "convolutions"}, "only must be affine or be left out"),
        ({"warm_start": ""}, "needs a trained network"),
        ({"only": ""}, "with one loss only the single design"),
    ],
    ids=["what", "cold", "all"],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        config(**ONLY | changes)
