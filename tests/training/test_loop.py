"""The training loop: against a loop written out by hand, and against itself after a kill."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.attacks import PGD
from engine.norm import at, to_dual_bn
from engine.training import EpochLog, TrainConfig
from engine.training.loop import Run, augmented, generator_for, learning_rate, train
from engine.training.state import load_state, save_state
from engine.values import SINGLE, Branch, InputError, ThreatModel, branch_setting
from tests.support import dual, generator, random_images, snapshot, tiny
from tests.training.support import coloured, config, trained

KINDS: dict[str, dict[str, Any]] = {
    "hybrid-separate-ema": {"ema": 0.9, "augment": "crop-flip"},
    "hybrid-joint": {"design": "dual-ap", "batch": "joint"},
    "madry": {"design": "single", "alpha": 0.0},
    "standard": {"design": "single", "alpha": 1.0, "schedule": "cosine"},
    "crossed": {"design": "dual-ap", "batch": "crossed"},
    "dual-linear": {"design": "dual-linear", "batch": "joint"},
    "trades": {"design": "single", "loss": "trades"},
}
kinds = pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)


def untimed(rows: list[EpochLog]) -> str:
    """As text, in which NaN equals itself."""
    return str([replace(row, seconds=0.0) for row in rows])


@cache
def uninterrupted(settings: TrainConfig) -> tuple[nn.Module, list[EpochLog]]:
    return trained(settings)


@kinds
@pytest.mark.parametrize("killed_at", [1, 8, 13])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, changes: dict[str, Any], killed_at: int) -> None:
    settings, state = config(**changes), tmp_path / "state.safetensors"
    whole, rows = uninterrupted(settings)
    trained(settings, state, stop_before=killed_at)
    assert state.exists() == (killed_at > 1)
    resumed, again = trained(settings, state)
    assert snapshot(resumed)["tensors"] == snapshot(whole)["tensors"]
    assert untimed(again) == untimed(rows)


def test_a_run_killed_three_times_and_saved_only_at_epochs(tmp_path: Path) -> None:
    settings, state = config(ema=0.9), tmp_path / "state.safetensors"
    whole, _ = uninterrupted(settings)
    for killed_at in (6, 10, 16):
        trained(settings, state, stop_before=killed_at, every_step=False)
    assert load_state(state, settings.as_json())[0] == 8
    resumed, rows = trained(settings, state)
    assert snapshot(resumed)["tensors"] == snapshot(whole)["tensors"]
    finished, again = trained(settings, state, after_step=lambda _: pytest.fail("a finished run makes no step"))
    assert snapshot(finished)["tensors"] == snapshot(whole)["tensors"]
    assert again == rows


@kinds
def test_the_loss_falls(changes: dict[str, Any]) -> None:
    _, rows = trained(config(**changes, epochs=5))
    assert rows[-1].loss < 0.7 * rows[0].loss
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5]
    alpha = changes.get("alpha", 0.5)
    for name, expected in (("clean_accuracy", alpha > 0), ("robust_accuracy", alpha < 1)):
        measured = [getattr(row, name) for row in rows]
        assert (measured[-1] > 0.6) if expected else np.isnan(measured).all()


@pytest.mark.parametrize("alpha", [0.0, 1.0], ids=["madry-without-eps", "standard"])
def test_training_with_one_loss_equals_a_plain_loop(alpha: float) -> None:
    """On a plain network, with torch's own SGD; eps stays 0 all along, so that Madry training trains on the images."""
    settings = config(design="single", alpha=alpha, eps_hold=1.0, eps_full=1.0, weight_decay=0.01)
    model = to_dual_bn(tiny(), SINGLE)
    batches = Run(copy.deepcopy(model), settings, coloured())
    list(train(model, settings, coloured(), None))
    plain = tiny().train()
    optimizer = torch.optim.SGD(plain.parameters(), lr=1.0, momentum=0.9, weight_decay=0.01, nesterov=True)
    for step in range(16):
        images, labels = batches.batch(step)
        optimizer.param_groups[0]["lr"] = learning_rate(settings, step)
        optimizer.zero_grad()
        F.cross_entropy(plain(images), labels).backward()
        optimizer.step()
    view = at(model, branch_setting(Branch.ADV))
    for name, tensor in plain.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(view.state_dict()[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_one_hybrid_step_is_the_formula() -> None:
    """alpha CE(f(x; clean)) + (1 - alpha) CE(f(x_adv; adv)), each branch by its own batch statistics."""
    settings = config(alpha=0.3, eps_hold=0.0, eps_full=0.0, weight_decay=0.0)
    model = dual()
    ends = [copy.deepcopy(at(model, branch_setting(branch))).train().requires_grad_(True) for branch in Branch]
    run = Run(model, settings, coloured())
    images, labels = run.batch(1)
    adversarial = run.adversarial(images, labels, 1)
    expected = [F.cross_entropy(end(x), labels) for end, x in zip(ends, (images, adversarial), strict=True)]
    loss, clean_accuracy, robust_accuracy = run.step(1)
    assert loss == pytest.approx(0.3 * expected[0].item() + 0.7 * expected[1].item(), rel=1e-5)
    logits = [end(x) for end, x in zip(ends, (images, adversarial), strict=True)]
    rates = [(found.argmax(1) == labels).float().mean().item() for found in logits]
    assert [clean_accuracy, robust_accuracy] == pytest.approx(rates)


def test_one_trades_step_is_the_formula() -> None:
    """CE(f(x)) + beta KL(p(x) || p(x_adv)), means over images, attacked along that divergence (arXiv 1901.08573)."""
    settings = config(
        design="single", loss="trades", beta=3.0, eps=0.1, eps_hold=0.0, eps_full=0.0, attack_steps=4, weight_decay=0.0
    )
    model = dual(SINGLE)
    with torch.no_grad():
        model.get_parameter("head.weight").mul_(100)  # sure enough of itself for the divergence to be large
    view = copy.deepcopy(at(model, branch_setting(Branch.ADV)))
    plain = copy.deepcopy(view).train().requires_grad_(True)
    run = Run(model, settings, coloured())
    images, labels = run.batch(1)
    adversarial = run.adversarial(images, labels, 1)
    clean, attacked = plain(images), plain(adversarial)
    divergence = F.kl_div(attacked.log_softmax(1), clean.softmax(1), reduction="batchmean")
    assert divergence > 0.01
    assert run.step(1)[0] == pytest.approx((F.cross_entropy(clean, labels) + 3 * divergence).item(), rel=1e-4)
    by_labels = PGD(ThreatModel("Linf", 0.1), 4, 0.075)
    other = by_labels(view, images, labels, generator=generator_for(0, 2, 1))
    assert not torch.allclose(other, adversarial, atol=1e-3)


def test_a_state_from_before_a_setting_existed_goes_on_where_that_has_its_default(tmp_path: Path) -> None:
    settings, state = config(), tmp_path / "state.safetensors"
    trained(settings, state, stop_before=3)
    step, tensors, log = load_state(state, settings.as_json())
    old: dict[str, object] = {k: v for k, v in settings.as_json().items() if k not in ("loss", "beta")}
    save_state(state, old, step, tensors, log)
    assert load_state(state, settings.as_json())[0] == step
    with pytest.raises(InputError, match="belongs to another configuration"):
        load_state(state, config(beta=2.0).as_json())
    save_state(state, old | {"removed": 1}, step, tensors, log)
    with pytest.raises(InputError, match="belongs to another configuration"):
        load_state(state, settings.as_json())


def test_crafting_leaves_the_network_alone_and_goes_through_the_adversarial_branch() -> None:
    """T7: running NS untouched. Modes are not touched either; the images are those of PGD on that branch's view."""
    run = Run(dual(), config(eps=0.1, eps_hold=0.0, eps_full=0.0, attack_steps=5, step_ratio=0.25), coloured())
    images, labels = run.batch(3)
    before = snapshot(run.model)
    adversarial = run.adversarial(images, labels, 3)
    assert snapshot(run.model) == before
    assert run.model.training
    attack = PGD(ThreatModel("Linf", 0.1), steps=5, step_size=0.025)

    def same(branch: Branch) -> float:
        """Share of pixels that are alike; folding turns the sign of a gradient near 0 now and then."""
        view = at(run.model, branch_setting(branch))
        expected = attack(view, images, labels, generator=generator_for(0, 2, 3))
        return (expected - adversarial).abs().lt(1e-5).float().mean().item()

    assert same(Branch.ADV) > 0.98
    assert same(Branch.CLEAN) < 0.9


def test_running_averages_are_those_of_the_formula() -> None:
    """average <- k average + (1 - k) weights, with k = min(0.9, (t + 1) / (t + 10)) warmed up; statistics as well."""
    seen: list[dict[str, Tensor]] = []
    start = {name: tensor.double() for name, tensor in dual().state_dict().items()}
    result, _ = trained(
        config(ema=0.9, epochs=2),
        after_step=lambda m: seen.append({k: v.detach().double().clone() for k, v in m.state_dict().items()}),
    )
    for step, weights in enumerate(seen):
        keep = min(0.9, (step + 1) / (step + 10))
        start = {name: keep * start[name] + (1 - keep) * weights[name] for name in start}
    for name, tensor in result.state_dict().items():
        torch.testing.assert_close(tensor.double(), start[name], rtol=1e-4, atol=1e-5, msg=name)
    assert not torch.equal(result.state_dict()["bn1.mean"].double(), seen[-1]["bn1.mean"])


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_state(tmp_path: Path) -> None:
    state, settings = tmp_path / "state.safetensors", config(lr=1e38, weight_decay=0.0)
    with pytest.raises(InputError, match=r"The loss is not finite at step \d+; lower lr") as caught:
        trained(settings, state)
    found = re.search(r"step (\d+)", str(caught.value))
    assert found is not None
    step, tensors, _ = load_state(state, settings.as_json())
    assert step == int(found[1]) > 0
    assert tensors


def test_states_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    settings, state = config(), tmp_path / "state.safetensors"
    trained(settings, state, stop_before=3)
    content = state.read_bytes()
    with pytest.raises(InputError, match="belongs to another configuration; delete it or restore"):
        trained(config(lr=0.2), state)
    for damaged in (content[:-10], content[:5], b"", content[:8] + b"x" + content[9:]):
        state.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read .*; delete it to start the run again"):
            trained(settings, state)
    save_state(state, settings.as_json(), 3, {"model.nonsense": torch.zeros(1)}, [])
    with pytest.raises(RuntimeError, match="Missing key"):
        trained(settings, state)


def test_too_few_images_are_refused_before_the_first_step() -> None:
    model = dual()
    before = snapshot(model)
    with pytest.raises(InputError, match="tiny trains on 256 images, toy train has 255"):
        next(train(model, config(), coloured(255), None))
    assert snapshot(model) == before


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_learning_rates_against_numpy_and_torch(schedule: str) -> None:
    settings = config(schedule=schedule, lr=0.4, epochs=5)
    found = [learning_rate(settings, step) for step in range(40)]
    done = np.arange(1, 41) / 40
    if schedule == "one-cycle":
        assert found == pytest.approx(np.interp(done, [0, 0.2, 1], [0, 0.4, 0]))
        assert max(found) == found[7] == pytest.approx(0.4)
    else:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
        for lr in found:
            optimizer.step()
            scheduler.step()
            assert lr == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
    assert min(found) == found[-1] == pytest.approx(0)


@pytest.mark.parametrize(("hold", "full"), [(0.2, 0.6), (0.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1.0, 1.0)])
def test_eps_is_held_then_rises_then_stays(hold: float, full: float) -> None:
    settings = config(eps_hold=hold, eps_full=full, epochs=5, eps=0.1)
    found = np.array([settings.eps_at(step) for step in range(40)])
    done = np.arange(40) / 40
    assert np.all(found[done < hold] == 0)
    assert found[done >= full + 1e-6] == pytest.approx(0.1)
    between = (done >= hold) & (done < full)
    assert found[between] == pytest.approx(0.1 * (done[between] - hold) / max(full - hold, 1e-9), abs=1e-12)
    assert np.all(np.diff(found) >= 0)


def epochs_batches(settings: TrainConfig, epoch: int) -> list[Tensor]:
    run = Run(dual(), settings, coloured())
    return [run.batch(epoch * 8 + index)[0] for index in range(8)]


def test_an_epoch_is_every_image_once_in_an_order_of_its_own() -> None:
    first, second = (torch.cat(epochs_batches(config(), epoch)).flatten(1) for epoch in (0, 1))
    everything = (torch.from_numpy(coloured().images).float() / 255).flatten(1)

    def rows(images: Tensor) -> list[list[float]]:
        return sorted(images.tolist())

    assert rows(first) == rows(second) == rows(everything)
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.cat(epochs_batches(config(seed=1), 0)).flatten(1))


def test_augmented_images_are_crops_and_flips() -> None:
    """Every result is a window of the padded image or of its mirror image; all shifts and both sides occur."""
    images = random_images(150, side=8)
    result = augmented(images, generator())
    padded = F.pad(images, (4, 4, 4, 4))
    seen: set[tuple[int, int, bool]] = set()
    for index in range(150):
        windows = {
            (row, column, flipped): source[index, :, row : row + 8, column : column + 8]
            for flipped, source in ((False, padded), (True, padded.flip(3)))
            for row in range(9)
            for column in range(9)
        }
        matches = [key for key, window in windows.items() if torch.equal(window, result[index])]
        assert matches
        seen.update(matches)
    assert {row for row, _, _ in seen} == {column for _, column, _ in seen} == set(range(9))
    assert {flipped for _, _, flipped in seen} == {False, True}


def test_generators_differ_by_every_argument_and_take_any_seed() -> None:
    drawn = [torch.rand(1, generator=generator_for(*key)).item() for key in np.ndindex(3, 3, 3)]
    assert len(set(drawn)) == 27
    assert generator_for(20_240_319, 2, 5).initial_seed() >= 0
