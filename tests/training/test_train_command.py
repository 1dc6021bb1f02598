"""`python -m engine train`, killed for real at a random moment, goes on to the very same checkpoint."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from engine.__main__ import main
from engine.checkpoint import load_card, load_checkpoint
from engine.values import Branch, branch_setting
from tests.training.support import SOUND

ROOT = Path(__file__).parents[2]
RUN = SOUND | {"n_train": 64, "epochs": 8, "ema": 0.9, "attack_steps": 1, "step_ratio": 1.0}


def command(root: Path, *extra: str, **changes: object) -> list[str]:
    root.mkdir(exist_ok=True)
    path = root / "tiny.toml"
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in (RUN | changes).items()))
    return ["train", str(path), "--root", str(root), "--n-headline", "4", "--device", "cpu", "--json", *extra]


def epochs_done(log: Path) -> int:
    return max(0, len(log.read_text().splitlines()) - 1) if log.exists() else 0


def kill_somewhere(root: Path) -> str:
    """Starts the run in a process of its own and kills it after a random epoch; says where that was."""
    target, delay = random.randint(1, 5), random.uniform(0, 0.05)
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    arguments = [sys.executable, "-m", "engine", *command(root)]
    with (root / "stderr").open("w") as errors:
        child = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
        while child.poll() is None and epochs_done(root / "tiny" / "log.csv") < target:
            time.sleep(0.005)
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait(30)
    assert child.returncode == -signal.SIGKILL, (root / "stderr").read_text()
    return f"killed {delay:.3f} s after epoch {target}"


@pytest.mark.timeout(400)
def test_a_killed_command_goes_on_to_the_same_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = kill_somewhere(tmp_path / "killed")
    folder, whole = tmp_path / "killed" / "tiny", tmp_path / "whole" / "tiny"
    assert not (folder / "card.json").exists(), where
    assert (folder / ".state.safetensors").exists(), where

    assert main(command(tmp_path / "killed")) == 2, "without --resume a state is not overwritten"
    assert "add --resume to go on, or delete it" in capsys.readouterr().err
    assert main(command(tmp_path / "killed", "--resume")) == 0
    assert main(command(tmp_path / "whole")) == 0

    assert (folder / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes(), where
    logs = [[line.rsplit(",", 1)[0] for line in (f / "log.csv").read_text().splitlines()] for f in (folder, whole)]
    assert logs[0] == logs[1], where
    assert len(logs[0]) == 9
    assert {path.name for path in folder.iterdir()} >= {"card.json", "golden.npz", "log.csv", "train.toml"}
    assert not (folder / ".state.safetensors").exists()
    cards = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(cards) == 2
    assert cards[0]["records"] == cards[1]["records"]
    card = load_checkpoint(folder, torch.device("cpu"))[1]
    assert card.images_seen == 8 * 64
    assert card.config["eps"] == SOUND["eps"]
    roles = [(record.setting, record.attack is None, record.n) for record in card.records]
    assert roles == [(branch_setting(b), clean, 4) for b in Branch for clean in (True, False)]


def test_a_kill_during_the_final_figures_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is kept until the card is complete, so that a checkpoint without figures is never the last word."""
    with monkeypatch.context() as patch:
        patch.setattr("engine.cli.train.measured", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(command(tmp_path, epochs=1)) == 1
    weights = (tmp_path / "tiny" / "weights.safetensors").read_bytes()
    assert load_card(tmp_path / "tiny").records == ()
    assert main(command(tmp_path, "--resume", epochs=1)) == 0
    assert len(load_card(tmp_path / "tiny").records) == 4
    assert (tmp_path / "tiny" / "weights.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("changes", "extra", "sentence"),
    [
        ({"alpha": 1.0}, [], "with one loss only the single design makes sense"),
        ({"name": "two words"}, [], "name must consist of"),
        ({"momentum": 0.0}, [], "momentum must lie between"),
        ({}, ["--n-headline", "0"], "0 were asked for"),
        ({}, ["--n-headline", "10001"], "10001 were asked for"),
        ({"n_train": 40_001}, [], "shapes has 40000 train images"),
        ({"split": "train-40k"}, [], "shapes has the splits train and test"),
        ({"warm_start": "nobody"}, [], "There is no checkpoint 'nobody'"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], extra: list[str], sentence: str
) -> None:
    assert main(command(tmp_path, *extra, **changes)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in printed.err
    assert len(printed.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]
