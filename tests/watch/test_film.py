"""The film against the attack, numpy and torch; the surface against single points; transfer against `evaluate`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.attacks import PGD
from engine.evaluation import Bench, crafting_network, seeded
from engine.values import Branch, InputError, NormSetting, Stored, ThreatModel, branch_setting
from engine.watch import film, spectrum, surface, transfer
from tests.support import dual, generator, image_set, random_images, tiny

ATTACK = PGD(ThreatModel("Linf", 0.1), steps=6, step_size=0.03)


def test_the_last_frame_is_the_attack_and_the_first_the_image() -> None:
    view, image = tiny(), random_images(1)[0]
    label = int(view(image[None]).argmax())
    shot = film(view, ATTACK, image, label, generator=generator(1))
    expected = ATTACK(crafting_network(view), image[None], torch.tensor([label]), generator=generator(1))
    assert shot.images.shape == (8, 3, 8, 8)
    np.testing.assert_array_equal(shot.images[0], image.numpy())
    np.testing.assert_allclose(shot.images[-1], expected[0].numpy(), atol=1e-6)
    logits = view(torch.from_numpy(shot.images)).detach()
    labels = torch.full((8,), label)
    np.testing.assert_allclose(shot.confidence, logits.softmax(1).numpy(), atol=1e-5)
    np.testing.assert_allclose(shot.loss, F.cross_entropy(logits, labels, reduction="none").numpy(), atol=1e-5)
    wrong = (logits.argmax(1) != labels).numpy()
    np.testing.assert_array_equal(shot.margin > 0, wrong)
    assert shot.fooled_at == (int(wrong.argmax()) if wrong.any() else None)


def test_a_film_towards_a_class_says_when_it_arrives() -> None:
    view, image = tiny(), random_images(1)[0]
    second, first = view(image[None])[0].topk(2).indices.flip(0).tolist()
    attack = PGD(ThreatModel("Linf", 0.3), 10, 0.05, target=second)
    shot = film(view, attack, image, first, generator=generator(1))
    predictions = view(torch.from_numpy(shot.images)).argmax(1).tolist()
    assert shot.target == second
    assert shot.reached_at == predictions.index(second) > 0
    with pytest.raises(InputError, match=f"of class {second} already"):
        film(view, attack, image, second, generator=generator(1))
    assert film(view, ATTACK, image, first, generator=generator(1)).reached_at is None


def test_every_step_is_kept_even_where_the_attack_would_stop() -> None:
    view, image = tiny(), random_images(1)[0]
    wrong = int((view(image[None]).argmax() + 1) % 10)
    shot = film(view, PGD(ThreatModel("Linf", 0.1), 3, 0.03, stop="success"), image, wrong, generator=generator())
    assert len(shot.images) == 5
    assert shot.fooled_at == 0
    assert np.abs(np.diff(shot.images, axis=0)).reshape(4, -1).max(1).min() > 0


def test_a_wave_has_its_energy_at_its_own_frequency() -> None:
    x = np.arange(16) / 16
    wave = np.broadcast_to(np.cos(2 * np.pi * 3 * x), (2, 3, 16, 16)).astype(np.float32)
    amplitude = spectrum(wave)
    assert amplitude.shape == (2, 16, 16)
    for frame in amplitude:
        assert {tuple(place) for place in np.argwhere(frame > 1)} == {(8, 8 - 3), (8, 8 + 3)}
        assert frame.max() == pytest.approx(16 * 16 / 2)


def test_the_surface_passes_through_the_image_and_its_attack() -> None:
    view, image = tiny(), 0.3 + 0.4 * random_images(1)[0]
    perturbation = 0.05 * torch.randn(image.shape, generator=generator(2)).sign()
    found = surface(view, image, 4, perturbation, radius=2.0, n=5, generator=generator(3))
    np.testing.assert_allclose(found.ticks, [-2, -1, 0, 1, 2])
    for column, share in enumerate(found.ticks):
        logits = view((image + float(share) * perturbation).clamp(0, 1)[None]).detach()
        assert found.loss[2, column] == pytest.approx(F.cross_entropy(logits, torch.tensor([4])).item(), abs=1e-4)
        assert (found.margin[2, column] > 0) == (int(logits.argmax()) != 4)
    assert np.abs(found.loss[0] - found.loss[2]).max() > 1e-4
    again = surface(view, image, 4, perturbation, radius=2.0, n=5, generator=generator(3))
    np.testing.assert_array_equal(found.loss, again.loss)
    with pytest.raises(InputError, match="did not change the image"):
        surface(view, image, 4, torch.zeros_like(image), radius=1.0, n=3, generator=generator())


def test_a_transfer_matrix_is_what_evaluate_says_cell_by_cell() -> None:
    bench = Bench(dual(), image_set(40), None)
    settings = [branch_setting(Branch.CLEAN), NormSetting(0.5, Stored(0.5)), branch_setting(Branch.ADV)]
    rows = list(transfer(bench, settings, ATTACK, n=40, seed=5))
    for crafted_at, row in zip(settings, rows, strict=True):
        view = crafting_network(bench.view(crafted_at))
        images, labels = bench.test.tensors(0, 40)
        adversarial = ATTACK(view, images, labels, generator=seeded(5, 0))
        for setting, correct in zip(settings, row.n_correct, strict=True):
            judge = bench.view(setting)
            right = (judge(images).argmax(1) == labels) & (judge(adversarial).argmax(1) == labels)
            assert correct == int(right.sum())
    assert [row.crafted_at for row in rows] == settings
    diagonal = [row.n_correct[i] for i, row in enumerate(rows)]
    white_box = [bench.evaluate(setting, ATTACK, 40, 5).n_correct for setting in settings]
    assert diagonal == white_box


def test_transfer_counts_its_work_and_refuses_too_many_images() -> None:
    bench = Bench(dual(), image_set(20), None)
    seen: list[tuple[int, int]] = []
    list(transfer(bench, [branch_setting(b) for b in Branch], ATTACK, 20, 0, lambda *done: seen.append(done)))
    assert seen == [(20, 40), (40, 40)]
    with pytest.raises(InputError, match="has 20 .* images, 21 were asked for"):
        next(transfer(bench, [branch_setting(Branch.ADV)], ATTACK, 21, 0))
