"""The live card's attack: inside its ball, reproducible, and judged by the network at exactly its setting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.cache import networks_at
from app.explore.live import LiveRequest, LiveResult, compute
from engine import api
from engine.evaluation import Bench
from tests.support import dual_resnet, snapshot

SETTINGS = [
    api.NormSetting(1.0, api.Stored(0.0)),
    api.NormSetting(0.3, api.Stored(-0.25)),
    api.NormSetting(1.5, api.Reestimated("clean", n=64)),
]


@pytest.fixture(scope="module")
def bench() -> Bench:
    model = dual_resnet().requires_grad_(False)
    return Bench(model, api.load_data("shapes", "test", 40), api.load_data("shapes", "train", 128))


def request_for(setting: api.NormSetting, level: int = 8, steps: int = 3) -> LiveRequest:
    eps = level / 255
    attack = api.PGD(api.ThreatModel("Linf", eps), steps, eps / steps)
    return LiveRequest("", setting, attack, (0, 7, 39))


def answer(bench: Bench, request: LiveRequest) -> LiveResult:
    return compute(bench, networks_at(bench, "", request.setting), request)


@pytest.mark.parametrize("setting", SETTINGS, ids=["stored", "extrapolated", "re-estimated"])
def test_attack_and_verdicts(bench: Bench, setting: api.NormSetting) -> None:
    before = snapshot(bench.model)
    result = answer(bench, request_for(setting))
    wanted = bench.test.images[[0, 7, 39]].astype(np.float32) / 255
    np.testing.assert_allclose(result.original, wanted, atol=1e-7)
    assert np.abs(result.adversarial - result.original).max() == pytest.approx(8 / 255, rel=1e-5)
    assert result.adversarial.min() >= 0
    assert result.adversarial.max() <= 1
    view = bench.view(setting)
    for images, (predicted, confidence) in ((wanted, result.clean), (result.adversarial, result.attacked)):
        with torch.no_grad():
            probabilities = view(torch.from_numpy(images)).softmax(1).numpy()
        np.testing.assert_array_equal(predicted, probabilities.argmax(1))
        np.testing.assert_allclose(confidence, probabilities.max(1), atol=1e-5)
    assert snapshot(bench.model) == before


def test_the_same_request_gives_the_same_images(bench: Bench) -> None:
    first, again = (answer(bench, request_for(SETTINGS[0])) for _ in range(2))
    np.testing.assert_array_equal(first.adversarial, again.adversarial)
    other = answer(bench, request_for(SETTINGS[1]))
    assert not np.array_equal(first.adversarial, other.adversarial)


def test_a_stronger_attack_raises_the_loss(bench: Bench) -> None:
    """Confidence in the right class only falls as the ball grows; through this very network, so white-box."""
    labels = bench.test.labels[[0, 7, 39]]
    view = bench.view(SETTINGS[0])

    def right(level: int) -> float:
        images = torch.from_numpy(answer(bench, request_for(SETTINGS[0], level, steps=10)).adversarial)
        with torch.no_grad():
            return view(images).log_softmax(1).numpy()[np.arange(3), labels].sum()

    losses = [right(level) for level in (1, 4, 16)]
    assert losses == sorted(losses, reverse=True)


def test_an_impossible_setting_is_refused(bench: Bench) -> None:
    request = request_for(api.NormSetting(0.0, api.Reestimated("clean", n=5000)))
    with pytest.raises(api.InputError, match="Only 128 calibration images"):
        answer(bench, request)
