"""Training configurations: what makes no sense is refused before the first step, in one sentence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from engine.training import config_from, load_config
from engine.values import InputError
from tests.training.support import SOUND, config

SHIPPED = sorted(Path(__file__).parents[2].glob("checkpoints/*/train.toml"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"design": "single", "batch": "joint", "alpha": 0.0}, "a joint batch needs both losses"),
        ({"alpha": 1.0}, "with one loss only the single design makes sense"),
        ({"alpha": 0.0, "design": "dual-ap"}, "with one loss only the single design"),
        ({"alpha": 1.5}, r"alpha must lie in \[0, 1\]"),
        ({"alpha": math.nan}, "alpha cannot be nan"),
        ({"eps": 0.0}, "eps must be above 0"),
        ({"eps": 300 / 255}, "at most 1"),
        ({"eps_hold": 0.7, "eps_full": 0.6}, "eps_hold <= eps_full"),
        ({"n_train": 31}, "n_train must be at least batch_size"),
        ({"n_train": 64.5}, "n_train cannot be 64.5"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": True}, "epochs cannot be True"),
        ({"batch_size": 1}, "batch_size at least 2"),
        ({"batch_size": "32"}, "batch_size cannot be '32'"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": math.nan}, "lr cannot be nan"),
        ({"lr": "0.1"}, "lr cannot be '0.1'"),
        ({"weight_decay": -1.0}, "weight_decay not below 0"),
        ({"momentum": 0.0}, "momentum must lie between 0 and 1"),
        ({"ema": 1.0}, r"ema must lie in \[0, 1\)"),
        ({"attack_steps": 0}, "attack_steps and step_ratio must be above 0"),
        ({"step_ratio": -1.0}, "attack_steps and step_ratio must be above 0"),
        ({"architecture": "vgg"}, "architecture must be one of resnet14-s2"),
        ({"design": "triple"}, "design must be one of single"),
        ({"design": ["single"]}, "design cannot be"),
        ({"data": ""}, "data must be shapes, cifar10 or the path of your own images"),
        ({"split": "test"}, "split must be train or train-40k"),
        ({"split": "held-out"}, "split must be train or train-40k"),
        ({"batch": "both"}, "batch must be separate, joint or crossed"),
        ({"batch": "crossed"}, "a crossed batch needs shared statistics"),
        ({"design": "single", "batch": "crossed", "alpha": 1.0}, "a crossed batch needs both losses"),
        ({"loss": "mart"}, "loss must be hybrid or trades"),
        ({"design": "single", "loss": "trades", "alpha": 0.0}, "trades needs both halves"),
        ({"loss": "trades", "beta": 0.0}, "beta must be above 0"),
        ({"snapshots": 1}, "snapshots cannot be 1"),
        ({"schedule": "steps"}, "schedule must be one-cycle or cosine"),
        ({"augment": "cutmix"}, "augment must be none or crop-flip"),
        ({"precision": "fp8"}, "precision must be fp32 or bf16"),
        ({"seed": "a"}, "seed cannot be 'a'"),
        ({"seed": 1.5}, "seed cannot be 1.5"),
        ({"name": "../elsewhere"}, "name must consist of"),
        ({"name": ""}, "name must consist of"),
        ({"name": "two words"}, "name must consist of"),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_configuration_that_makes_no_sense_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        config_from(SOUND | changes, "tiny.toml")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


TOML = "\n".join(f"{key} = {value!r}" for key, value in SOUND.items() if key != "eps") + '\neps = "8/255"\n'


def test_a_file_is_read_as_written(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TOML)
    assert load_config(tmp_path / "tiny.toml") == config()
    assert config_from(config().as_json(), "a card") == config()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(TOML + "colour = 1\n", "has the unknown field 'colour'", id="unknown"),
        pytest.param(TOML.replace("alpha = 0.5\n", ""), "lacks the field 'alpha'", id="missing"),
        pytest.param(TOML.replace("lr = 0.1\n", ""), "'lr'", id="missing-other"),
        pytest.param(TOML.replace("8/255", "8/0"), "'8/0' is not a number", id="eps-fraction"),
        pytest.param(TOML.replace("8/255", "1e400"), "'1e400' is not a number", id="eps-overflow"),
        pytest.param("name = ", "is not valid TOML", id="not-toml"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "tiny.toml").write_text(text)
    with pytest.raises(InputError, match=sentence):
        load_config(tmp_path / "tiny.toml")


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot read .*nowhere.toml: No such file"):
        load_config(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not valid TOML"):
        load_config(tmp_path / "binary.toml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_configurations_can_be_read(path: Path) -> None:
    assert load_config(path).name == path.parent.name
