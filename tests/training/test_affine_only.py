"""Training the affine parameters alone: what is frozen stays as it was bit by bit, the rest follows torch's own SGD."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine import api
from engine.checkpoint import save_checkpoint
from engine.cli.train import initial_network
from engine.norm import at, to_dual_bn
from engine.training import TrainConfig
from engine.training.loop import Run, generator_for, learning_rate, train
from engine.values import DESIGNS, SINGLE, Branch, InputError, branch_setting
from tests.support import card_for, dual, dual_resnet
from tests.training.support import coloured, config

ONLY: dict[str, Any] = {"only": "affine", "warm_start": "a", "alpha": 1.0, "lr": 0.5}
designs = pytest.mark.parametrize("design", ["dual-bn", "dual-ap"])


branches = pytest.mark.parametrize("branch", list(Branch), ids=["clean", "adversarial"])


def of(branch: Branch) -> dict[str, Any]:
    """What trains this branch alone: alpha 1 the clean one, alpha 0 the adversarial one at its full eps."""
    return ONLY | {"alpha": 1.0 - branch, "eps_hold": 0.0, "eps_full": 0.0}


@designs
@branches
def test_only_one_branchs_ap_and_its_own_statistics_move(design: str, branch: Branch) -> None:
    model = dual(DESIGNS[design])
    before = copy.deepcopy(model)
    rows = list(train(model, config(design=design, **of(branch)), coloured(), None))
    assert rows[-1].loss < rows[0].loss
    old, new = before.state_dict(), model.state_dict()
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    assert moved == {f"{bn}.{key}.{int(branch)}" for bn in ("bn1", "bn2") for key in ("weight", "bias")} | own(design)
    other = Branch(1 - branch)
    ends = [at(network, branch_setting(other)).state_dict() for network in (before, model)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    for bn in ("bn1", "bn2") if design == "dual-bn" else ():
        assert torch.equal(old[f"{bn}.mean"][int(other)], new[f"{bn}.mean"][int(other)])
        assert not torch.equal(old[f"{bn}.mean"][int(branch)], new[f"{bn}.mean"][int(branch)])


def own(design: str) -> set[str]:
    """Statistics that a design keeps for each branch, which follow its images."""
    return {f"{bn}.{key}" for bn in ("bn1", "bn2") for key in ("mean", "var")} if design == "dual-bn" else set()


@designs
def test_the_adversarial_branch_learns_from_attacks_through_its_own_ap(design: str) -> None:
    """Step by step against a plain loop: PGD on a plain copy of that branch as it is then, and torch's own SGD."""
    settings = config(design=design, **of(Branch.ADV))
    model = dual(DESIGNS[design])
    batches = Run(copy.deepcopy(model), settings, coloured())
    plain = copy.deepcopy(at(model, branch_setting(Branch.ADV)))
    norms = [module for module in plain.modules() if isinstance(module, nn.BatchNorm2d)]
    parameters = [p.requires_grad_(True) for norm in norms for p in (norm.weight, norm.bias)]
    optimizer = torch.optim.SGD(parameters, 1.0, 0.9, weight_decay=5e-4, nesterov=True)
    list(train(model, settings, coloured(), None))
    for step in range(settings.total_steps):
        images, labels = batches.batch(step)
        attacked = pgd(plain.eval(), images, labels, settings, generator_for(settings.seed, 2, step))
        optimizer.param_groups[0]["lr"] = learning_rate(settings, step)
        optimizer.zero_grad()
        F.cross_entropy(plain.train(design == "dual-bn")(attacked), labels).backward()
        optimizer.step()
    view = at(model, branch_setting(Branch.ADV)).state_dict()
    for name, tensor in plain.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(view[name], tensor, rtol=0.02, atol=0.02, msg=name)


def pgd(
    network: nn.Module, images: Tensor, labels: Tensor, settings: TrainConfig, generator: torch.Generator
) -> Tensor:
    """Projected gradient descent as in arXiv 1706.06083, written out; from the same random start."""
    noise = 2 * torch.rand(images.shape, generator=generator) - 1
    x = (images + settings.eps * noise).clamp(0, 1)
    for _ in range(settings.attack_steps):
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(x), labels, reduction="sum"), x)
        x = x.detach() + settings.step_ratio * settings.eps * gradient.sign()
        x = torch.min(torch.max(x, images - settings.eps), images + settings.eps).clamp(0, 1)
    return x.detach()


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
        started = initial_network(config(warm_start="a", design=design), 10, tmp_path)
        expected = to_dual_bn(at(single, branch_setting(Branch.ADV)), DESIGNS[design]).state_dict()
        for name, tensor in started.state_dict().items():
            assert torch.equal(tensor, expected[name])
    save_checkpoint(tmp_path / "a", dual_resnet(), card_for("a", DESIGNS["dual-bn"]))
    with pytest.raises(api.InputError, match="another architecture, design or classes"):
        initial_network(config(**ONLY | {"design": "dual-ap"}), 10, tmp_path)


def test_the_card_says_what_it_learned() -> None:
    card = replace(card_for("a", SINGLE), config=config(**ONLY).as_json())
    assert card.learned_from == "clean: AP alone, from a"
    card = replace(card, config=config(**of(Branch.ADV)).as_json())
    assert card.learned_from == "attacked: AP alone, from a"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"only": "convolutions"}, "only must be affine or be left out"),
        ({"warm_start": ""}, "needs a trained network"),
        ({"only": ""}, "with one loss only the single design"),
        ({"design": "single"}, "needs a design that has two"),
        ({"design": "dual-ns"}, "needs a design that has two"),
    ],
    ids=["what", "cold", "all", "single", "dual-ns"],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        config(**ONLY | changes)
