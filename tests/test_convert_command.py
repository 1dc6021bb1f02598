"""`convert`, and what every other command makes of a converted checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from docs.readme import block
from engine import api
from engine.__main__ import main
from engine.models import ARCHITECTURES
from engine.training import load_config
from engine.values import Branch, branch_setting
from tests.convert.public import public, write
from tests.support import TinyCNN, tiny

ROOT = Path(__file__).parents[1]
ARCH = "test-command"
RECIPE = ROOT / "runs" / "adversarial-branch.toml"
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two converted networks, `mine` and `mine-single`, and the file that they were made of.

    They are tiny: what is tested here is the commands.
    """
    if ARCH not in ARCHITECTURES:
        api.register(ARCH, TinyCNN)
    folder = tmp_path_factory.mktemp("checkpoints")
    file = write(folder / "plain.safetensors", tiny().state_dict())
    for name, design in (("mine", "dual-bn"), ("mine-single", "single")):
        assert main([*convert_command(file, name), "--data", "shapes", "--design", design, "--root", str(folder)]) == 0
    return folder


def convert_command(file: Path, name: str) -> list[str]:
    return ["convert", str(file), "--arch", ARCH, "--name", name]


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> dict[str, Any]:
        code = main([*arguments, "--root", str(root), "--device", "cpu", "--json"])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return json.loads(printed.out)

    return run


def test_it_tells_what_it_made_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "plain.safetensors", public().state_dict())
    command = ["convert", str(file), "--arch", "resnet14-s2", "--name", "again", "--root", str(tmp_path / "root")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    for part in ("every one in its place", "both branches begin", "again with --mean and --std", "headline again"):
        assert part in printed
    assert main(command) == 2
    assert "There is 'again'" in capsys.readouterr().err
    command[5] = "other"
    assert main([*command, "--mean", "0.5", "0.4", "0.3", "--std", "0.2", "0.25", "0.3"]) == 0
    assert api.load_card(tmp_path / "root" / "other").command == (
        f"python -m engine convert {file} --arch resnet14-s2 --design dual-bn --name other --mean 0.5 0.4 0.3 "
        "--std 0.2 0.25 0.3"
    )


def test_every_command_takes_a_converted_network(run: Run, root: Path) -> None:
    assert run("show", "mine") == api.load_card(root / "mine").as_json()
    evaluated = run("evaluate", "mine", "--n", "8", "--ap", "0", "--ns", "stored:0", "--attack", "fgsm")
    assert evaluated["n"] == 8
    measured = run("headline", "mine", "--n", "4")
    assert len(measured["records"]) == 4
    entries = {entry["name"]: entry for entry in run("list")["checkpoints"]}
    assert entries["mine"]["headline"]["clean"]["n"] == 4
    for name in ("gaps.json", "strip.npz"):  # as if made already
        (root / "mine-single" / name).touch()
    single = api.load_card(root / "mine-single")
    swept = run("sweep", "mine-single", "--n", "1", "--n-plane", "1")
    assert swept["points"] == len(api.plan(single.norm_design, 1, 1))
    table = block([api.load_card(root / "mine")])
    assert "| dual BN | not known | 8/255 |" in table
    assert "mine, training images: The images it was trained on are not known here" in table


def test_it_stands_in_for_nothing_in_the_papers_families(root: Path) -> None:
    assert api.open_families(torch.device("cpu"), root=root) == {}


def test_its_adversarial_branch_is_trained_alone(run: Run, root: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = RECIPE.read_text().replace("n_train = 40000", "n_train = 64").replace("batch_size = 128", "batch_size = 32")
    recipe.write_text(text)
    card = run("train", str(recipe), "--warm-start", "mine", "--n-headline", "4")
    assert (card["name"], card["data"]["n"], card["config"]["alpha"]) == ("mine-tuned", 64, 0.0)
    assert api.load_card(root / "mine-tuned").learned_from == "attacked: AP alone, from mine"
    before, after = (api.load_checkpoint(root / name, torch.device("cpu"))[0] for name in ("mine", "mine-tuned"))
    same = {
        branch: all(
            torch.equal(a, b)
            for a, b in zip(
                *(api.at(m, branch_setting(branch)).state_dict().values() for m in (before, after)), strict=True
            )
        )
        for branch in Branch
    }
    assert same == {Branch.CLEAN: True, Branch.ADV: False}
    again = load_config(root / "mine-tuned" / "train.toml")
    assert (again.as_json(), again.warm_start) == (card["config"], "mine")
    assert main(["train", str(recipe), "--warm-start", "mine", "--root", str(root), "--n-headline", "4"]) == 2


def view_tensors(model: nn.Module, branch: Branch) -> list[Tensor]:
    return list(api.at(model, branch_setting(branch)).state_dict().values())


def test_own_images_are_trained_on_where_they_lie(run: Run, root: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), np.arange(60) % 10
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.read_text().replace("batch_size = 128", "batch_size = 16"))
    own = ("--data", str(tmp_path / "own.npz"))
    card = run("train", str(recipe), "--warm-start", "mine", "--name", "mine-own", *own, "--n-headline", "12")
    assert (card["data"]["name"], card["data"]["n"], card["images_seen"]) == (own[1], 48, 48)
    assert card["evaluation"]["name"] == own[1]
    assert card["classes"] == api.load_card(root / "mine").as_json()["classes"]


def test_the_shipped_recipe_is_sound() -> None:
    config = load_config(RECIPE)
    assert (config.alpha, config.only, config.design) == (0.0, "affine", "dual-bn")


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--classes", "0"], "at least 2 and at most 100,000 classes apart, not 0"),
        (["--class-names", "a,b"], "tells 10 classes apart, not 2"),
        (["--max-mb", "0"], "--max-mb must be at least 1"),
        (["--mean", "0.5", "0.5", "x", "--std", "1", "1", "1"], "'x' is not a number"),
        (["--data", "no/where"], "There is no data set 'no/where'"),
        (["--arch", "vgg"], "There is no architecture 'vgg'; choose one of resnet14-s2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], sentence: str
) -> None:
    command = [*convert_command(root / "plain.safetensors", "bad"), *extra]
    assert main([*command, "--root", str(tmp_path / "root")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not (tmp_path / "root").exists()
