"""The command line: one JSON object on standard output, or one sentence on standard error and exit code 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import api
from engine.__main__ import main
from engine.cli import models
from engine.values import SINGLE, LayerMix, NormSetting, Reestimated, Stored
from tests.support import write_checkpoint

Run = Callable[..., dict[str, Any]]
EVALUATE = ["evaluate", "toy", "--n", "8", "--ap", "0.5", "--ns", "stored:1", "--attack", "none"]
PGD = ["--attack", "pgd", "--steps", "2", "--eps", "2/255"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder, "toy")
    write_checkpoint(folder, "toy-single", SINGLE)
    return folder


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with --json and returns the only thing on standard output: one JSON object."""

    def run(*arguments: str) -> dict[str, Any]:
        assert main([*arguments, "--root", str(root), "--device", "cpu", "--json"]) == 0
        printed = capsys.readouterr().out
        assert printed.count("\n") == 1
        assert printed.endswith("\n")
        value = json.loads(printed)
        assert isinstance(value, dict)
        return value

    return run


def test_list(run: Run, root: Path) -> None:
    value = run("list")
    assert value["problems"] == []
    assert [entry["name"] for entry in value["checkpoints"]] == ["toy", "toy-single"]
    for entry in value["checkpoints"]:
        assert entry.keys() >= {"name", "data", "architecture", "design", "eps", "weights_sha256", "headline"}
        assert entry["headline"].keys() == {"clean", "robust"}
        assert entry["weights_sha256"] == api.load_card(root / entry["name"]).weights_sha256


def test_list_goes_on_past_a_damaged_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path, "good")
    for name, content in (("bad", "{"), ("worse", json.dumps({"schema": 1}))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(content)
    assert main(["list", "--root", str(tmp_path), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in value["checkpoints"]] == ["good"]
    assert len(value["problems"]) == 2


def test_show(run: Run, root: Path) -> None:
    assert run("show", "toy") == api.load_card(root / "toy").as_json()


def test_data_list(run: Run) -> None:
    value = run("data", "list")
    assert [entry["name"] for entry in value["data"]] == list(api.DATASETS)
    assert value["data"][0]["state"] == "built in"


def expected(root: Path, *arguments: Any, **keywords: Any) -> api.EvalRecord:
    bench, _ = api.open_bench("toy", torch.device("cpu"), n=8, root=root)
    return bench.evaluate(*arguments, n=8, **keywords)


KEYS = {
    "checkpoint", "weights_sha256", "data", "data_sha256", "n", "n_correct", "accuracy", "ci95", "setting", "attack",
    "attack_setting", "seed", "device", "seconds",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "extra", "label"),
    [
        ("apgd", ["--steps", "3", "--loss", "dlr"], "APGD"),
        ("fab", ["--steps", "2"], "FAB"),
        ("square", ["--queries", "5"], "Square"),
        ("quick", [], "Auto"),
    ],
)
def test_evaluate_by_every_attack(run: Run, name: str, extra: list[str], label: str) -> None:
    value = run(*EVALUATE[:-2], "--attack", name, "--eps", "8/255", *extra)
    clean = run(*EVALUATE)
    assert value["n_correct"] <= clean["n_correct"]
    assert value["attack"]["threat"] == {"norm": "Linf", "eps": 8 / 255}
    assert value["attack_setting"] == value["setting"]
    assert label.lower() in str(value["attack"]["kind"])


def test_evaluate_that_distrusts_itself(run: Run, capsys: pytest.CaptureFixture[str], root: Path) -> None:
    value = run(*EVALUATE[:-2], *PGD, "--check")
    assert {"name", "fired", "value", "sentence"} == value["suspicions"][0].keys()
    assert len(value["suspicions"]) == 8
    assert main([*EVALUATE, "--check", "--root", str(root)]) == 2
    assert "--check examines white-box PGD" in capsys.readouterr().err


def test_evaluate_clean(run: Run, root: Path) -> None:
    value = run(*EVALUATE)
    setting = NormSetting(0.5, Stored(1.0))
    record = expected(root, setting, None, seed=0)
    assert value.keys() >= KEYS
    assert (value["checkpoint"], value["data"], value["n"], value["seed"]) == ("toy", "shapes", 8, 0)
    assert value["n_correct"] == record.n_correct
    assert value["accuracy"] == record.interval.value
    assert value["ci95"] == [record.interval.low, record.interval.high]
    assert NormSetting.from_json(value["setting"]) == setting
    assert value["attack"] is value["attack_setting"] is None
    assert value["data_sha256"] == api.load_data("shapes", "test", 8).checksum


def test_evaluate_a_mix_of_layers(run: Run, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*EVALUATE[:-3], "clean:64", "--attack", "none", "--layer", "bn=0", "--layer", "blocks.1.bn1=1/4"]
    setting = NormSetting(0.5, Reestimated("clean", 64), (("bn", LayerMix(0.0)), ("blocks.1.bn1", LayerMix(0.25))))
    assert run(*line)["setting"] == setting.as_json()
    assert main([*EVALUATE, "--layer", "bn", "--root", str(root)]) == 2
    assert "'' is not a number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("craft", "crafted_at"),
    [
        ([], (0.5, 1.0)),
        (["--craft-ap", "0"], (0.0, 1.0)),
        (["--craft-ns", "stored:0"], (0.5, 0.0)),
        (["--craft-ap", "1", "--craft-ns", "stored:0.25"], (1.0, 0.25)),
    ],
    ids=["white-box", "craft-ap", "craft-ns", "both"],
)
def test_evaluate_attacked(run: Run, root: Path, craft: list[str], crafted_at: tuple[float, float]) -> None:
    value = run(*EVALUATE[:-2], *PGD, *craft, "--seed", "3")
    setting, attack_setting = NormSetting(0.5, Stored(1.0)), NormSetting(crafted_at[0], Stored(crafted_at[1]))
    attack = api.PGD(api.ThreatModel("Linf", 2 / 255), 2, 0.5 / 255, stop="never" if craft else "success")
    record = expected(root, setting, attack, seed=3, attack_setting=attack_setting)
    assert value["n_correct"] == record.n_correct
    assert NormSetting.from_json(value["attack_setting"]) == attack_setting
    assert value["attack"]["threat"] == {"norm": "Linf", "eps": 2 / 255}
    assert value["attack"]["stop"] == attack.stop, "an image stopped at first success has no margin elsewhere"


def test_evaluate_crafted_at_several_settings_towards_a_class(run: Run, root: Path) -> None:
    value = run(*EVALUATE[:-2], *PGD, "--craft-ap", "0,1", "--craft-ns", "stored:0,stored:1", "--target", "ring")
    both = tuple(api.branch_setting(branch) for branch in api.Branch)
    attack = api.PGD(api.ThreatModel("Linf", 2 / 255), 2, 0.5 / 255, target=1)
    assert (
        value["n_correct"]
        == expected(root, NormSetting(0.5, Stored(1.0)), attack, seed=0, attack_setting=both).n_correct
    )
    assert [NormSetting.from_json(setting) for setting in value["attack_setting"]] == list(both)
    assert (value["access"], value["attack"]["target"]) == ("transfer", 1)
    assert run(*EVALUATE[:-2], *PGD, "--craft-ap", "0,0.5")["access"] == "adaptive"


def test_sweep_is_resumable(root: Path, run: Run) -> None:
    for name in ("gaps.json", "strip.npz"):  # as if made already: they take minutes
        (root / "toy-single" / name).touch()
    sweep = ("sweep", "toy-single", "--n", "2", "--n-plane", "1")
    points = api.plan(SINGLE, 2, 1)
    assert run(*sweep) == {"checkpoint": "toy-single", "points": len(points)}
    path = root / "toy-single" / "sweep.jsonl"
    content = path.read_text()
    card = api.load_card(root / "toy-single")
    head = api.header(card, api.load_data("shapes", "test", 2), api.SEED)
    assert len(api.load_sweep(path, head)) == len(points)
    path.write_text(content[:-30])
    assert run(*sweep)["points"] == len(points)
    assert path.read_text() == content


def test_tables_are_for_people(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["list"], ["show", "toy"], EVALUATE, ["data", "list"]):
        assert main([*command, "--root", str(root), "--device", "cpu"]) == 0
        printed = capsys.readouterr().out
        with pytest.raises(json.JSONDecodeError):
            json.loads(printed)
        assert len(printed.splitlines()) > 2


def replaced(option: str, value: str) -> list[str]:
    command = [*EVALUATE[:-2], *PGD]
    command[command.index(option) + 1] = value
    return command


BAD: dict[str, tuple[list[str], str]] = {
    "unknown-checkpoint": (["show", "nobody"], "There is no checkpoint 'nobody'; there are: toy, toy-single."),
    "path-as-name": (["show", "../toy"], "There is no checkpoint '../toy'"),
    "eps-0": (replaced("--eps", "0"), "eps must be above 0"),
    "eps-300/255": (replaced("--eps", "300/255"), "at most 1"),
    "eps-word": (replaced("--eps", "much"), "'much' is not a number; write it like 8/255"),
    "eps-overflow": (replaced("--eps", "1e400"), "'1e400' is not a number"),
    "steps": (replaced("--steps", "-1"), "at least 1 step"),
    "step-size": ([*replaced("--steps", "1"), "--step-size", "nan"], "'nan' is not a number"),
    "restarts": ([*replaced("--steps", "1"), "--restarts", "0"], "1 restart"),
    "craft-ap-word": ([*replaced("--ap", "0"), "--craft-ap", "0,,1"], "'' is not a number"),
    "craft-counts": ([*replaced("--ap", "0"), "--craft-ap", "0,1", "--craft-ns", "clean,adv,mix"], "2 settings and"),
    "craft-auto": ([*EVALUATE[:-2], "--attack", "quick", "--craft-ap", "1"], "craft there with apgd or pgd"),
    "target": ([*replaced("--ap", "0"), "--target", "dog"], "There is no class 'dog'; there are disc, ring"),
    "target-of-square": ([*EVALUATE[:-2], "--attack", "square", "--target", "disc"], "--target goes with fgsm, pgd"),
    "loss": ([*replaced("--ap", "0"), "--loss", "hope"], "ascends ce, margin, kl, dlr, not 'hope'"),
    "ns-far": (replaced("--ns", "stored:9"), "NS lambda must lie between -0.5 and 1.5, got 9"),
    "ns-word": (replaced("--ns", "banana"), "not on 'banana'"),
    "ns-empty": (replaced("--ns", "stored"), "'' is not a number"),
    "ap-far": (replaced("--ap", "2"), "AP lambda must lie between"),
    "ap-nan": (replaced("--ap", "nan"), "AP lambda must lie between"),
    "n-0": (replaced("--n", "0"), "shapes has 10000 test images, 0 were asked for"),
    "n-many": (replaced("--n", "10001"), "10001 were asked for"),
    "threads": ([*EVALUATE, "--threads", "0"], "--threads must be at least 1, got 0"),
    "device": ([*EVALUATE, "--device", "abacus"], "The device 'abacus' is not available here; use --device cpu"),
    "split": ([*EVALUATE, "--split", "held-out"], "shapes has the splits train and test"),
    "sweep-n": (["sweep", "toy", "--n", "0"], "--n"),
    "sweep-n-gaps": (["sweep", "toy", "--n", "10", "--n-plane", "1", "--n-gaps", "0"], "--n-gaps must be at least 1"),
    "sweep-n-plane": (["sweep", "toy", "--n", "10", "--n-plane", "11"], "--n-plane must lie between 1 and --n (10)"),
    "no-config": (["train", "/nowhere.toml"], "Cannot read /nowhere.toml"),
    "data-check": (["data", "check", "/nowhere"], "/nowhere"),
}


@pytest.mark.parametrize(("command", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(
    root: Path, capsys: pytest.CaptureFixture[str], command: list[str], sentence: str
) -> None:
    device = [] if "--device" in command else ["--device", "cpu"]
    assert main([*command, "--root", str(root), *device, "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not (root / "toy" / "sweep.jsonl").exists()


@pytest.mark.parametrize("command", [[], ["fly"], ["evaluate"], EVALUATE[:-1], ["data"]], ids=str)
def test_bad_arguments_exit_with_code_2(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(command)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "usage: python -m engine" in printed.err


@pytest.mark.parametrize("error", [KeyboardInterrupt, api.Cancelled])
def test_an_interruption_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[BaseException]
) -> None:
    def interrupted(_: object) -> None:
        raise error

    monkeypatch.setattr(models, "run_list", interrupted)
    assert main(["list"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Stopped")
