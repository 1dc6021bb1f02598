"""What Explore says when something is missing, damaged or stale: one sentence with the way out, and the rest works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import api
from tests.app.conftest import Explorer, run
from tests.app.test_explore import captions, choose, metrics, payload
from tests.app.world import MAIN, drop_field, truncate, write_cifar, write_swept
from tests.support import dual_resnet, write_checkpoint

Use = Callable[[Path], None]


def test_no_checkpoints_at_all_names_the_command(explorer: Explorer, use_checkpoints: Use, tmp_path: Path) -> None:
    use_checkpoints(tmp_path)
    at = explorer(model=MAIN, lam="banana")
    assert [title.value for title in at.title] == ["No checkpoints yet"]
    assert "`sh runs/queue.sh`" in at.markdown[0].value
    assert not at.toast
    assert not at.get("bidi_component")


def test_damaged_checkpoints_are_named_and_the_others_work(
    explorer: Explorer, use_checkpoints: Use, tmp_path: Path
) -> None:
    write_swept(tmp_path, "good")
    truncate(write_checkpoint(tmp_path, "cut-weights") / "weights.safetensors")
    drop_field(write_checkpoint(tmp_path, "no-config") / "card.json", "config")
    truncate(write_checkpoint(tmp_path, "cut-card") / "card.json")
    use_checkpoints(tmp_path)
    at = explorer(model="good")
    assert at.selectbox(key="model").options == ["cut-weights", "good"]
    assert payload(at)["curves"]["robust"]
    assert "no-config/card.json lacks 'config'" in captions(at)
    assert "cut-card/card.json cannot be read" in captions(at)
    at.selectbox(key="model").set_value("cut-weights")
    (error,) = run(at).error
    assert "cut-weights/weights.safetensors is not the file its card describes" in error.value
    at.selectbox(key="model").set_value("good")
    assert not run(at).error
    assert payload(at)["curves"]["robust"]


def test_damaged_or_stale_results_are_named_and_left_out(
    explorer: Explorer, use_checkpoints: Use, tmp_path: Path
) -> None:
    folder = write_swept(tmp_path, MAIN)
    truncate(folder / "strip.npz")
    gaps = json.loads((folder / "gaps.json").read_text())
    (folder / "gaps.json").write_text(json.dumps(gaps | {"weights_sha256": "0" * 64}))
    use_checkpoints(tmp_path)
    at = explorer()
    assert "strip.npz cannot be read" in captions(at)
    assert "gaps.json was made with other weights" in captions(at)
    sent = payload(at)
    assert sent["images"]["delta_stops"] == [0.0, 1.0]  # attacked anew, at the two stops of this test
    assert sent["layers"]["statistics_gap"] is None
    assert sent["layers"]["affine_gap"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weights_sha256": "0" * 64}, "its weights_sha256 is"),
        ({"data_sha256": "0" * 64}, "its data_sha256 is"),
        ({"engine_version": "0.0.1"}, "its engine_version is '0.0.1'"),
        ({"n": None}, "its data_sha256 is"),
        ({"n": "many"}, "its data_sha256 is"),
    ],
    ids=str,
)
def test_a_stale_sweep_is_never_drawn(
    explorer: Explorer, use_checkpoints: Use, tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    folder = write_swept(tmp_path, MAIN)
    head, *records = (folder / "sweep.jsonl").read_text().split("\n")
    (folder / "sweep.jsonl").write_text("\n".join([json.dumps(json.loads(head) | change), *records]))
    use_checkpoints(tmp_path)
    at = explorer()
    assert sentence in captions(at)
    assert [title.value for title in at.subheader] == ["This curve has not been computed yet"]


@pytest.fixture
def cifar_without_images(
    tmp_path: Path, use_checkpoints: Use, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> Explorer:
    """Explore on a CIFAR-10 checkpoint where CIFAR-10 was never downloaded."""
    write_cifar(tmp_path / "checkpoints", "cifar")
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("DUAL_BN_DATA", str(tmp_path / "data"))
    use_checkpoints(tmp_path / "checkpoints")
    return explorer


COMMAND = "python -m engine data download cifar10"


def test_cifar_without_its_images_shows_curves_and_the_command(cifar_without_images: Explorer) -> None:
    at = cifar_without_images()
    sent = payload(at)
    assert len(sent["curves"]["robust"]["value"]) == len(api.STOPS)
    assert sent["images"] is None
    assert COMMAND in sent["images_message"]
    assert "1,000 cifar10 held-out images" in sent["provenance"]
    (info,) = at.info
    assert COMMAND in info.value
    assert "Robust accuracy" in metrics(at)
    titles = [title.value for title in at.subheader]
    assert "How far apart are the branches?" in titles
    assert "Attack it live" not in titles


def test_cifar_without_its_images_offers_no_computing(cifar_without_images: Explorer) -> None:
    at = cifar_without_images(slide="statistics", eps="4/255")
    assert at.subheader[0].value == "This curve has not been computed yet"
    assert any(COMMAND in text.value for text in at.markdown)
    assert "compute" not in [button.key for button in at.button]


def test_extrapolated_statistics_that_cannot_be_are_refused_in_the_live_card(
    explorer: Explorer, use_checkpoints: Use, tmp_path: Path
) -> None:
    model = dual_resnet()
    for _, layer in api.dual_layers(model):
        layer.var[api.Branch.ADV] *= 100
    write_swept(tmp_path, MAIN, model)
    use_checkpoints(tmp_path)
    at = choose(explorer(ns="clean", lam="0"), "live_source_True", "stored")
    at.slider(key="live_ns_0").set_value(-0.5)
    (warning,) = run(at).warning
    assert "a variance is not positive; move lambda towards [0, 1]" in warning.value
    at.slider(key="live_ns_0").set_value(0.5)
    assert not run(at).warning
