"""Findings survive the disk, tell when they are stale, and are refused where damaged; families know their members."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import api
from engine.__main__ import main
from engine.checkpoint import load_card, save_card
from engine.experiments import (
    EXPERIMENTS,
    Chart,
    Experiment,
    Family,
    Outcome,
    Prediction,
    finding_path,
    load_findings,
    save_finding,
)
from engine.experiments.base import Finding, table
from engine.experiments.family import family_of, role_of
from engine.sweep import pgd
from engine.values import DUAL_BN, SINGLE, Branch, InputError, branch_setting
from tests.support import card_for, write_checkpoint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder, "toy")
    write_checkpoint(folder, "toy-single", SINGLE)
    return folder


@pytest.fixture
def family(root: Path) -> Family:
    return api.open_families(CPU, root=root)["shapes"]


def toy(family: Family, n: int, seed: int, progress: Any) -> Outcome:  # noqa: ARG001
    rows = [("dual-bn", 1 / 3, float("nan"), n)]
    shown = table("numbers", "A caption.", ("network", "value", "low", "n"), rows)
    chart = Chart("numbers", "bars", "network", "value", "", "", "")
    return Outcome(
        "fails", "It did not.", "", (), (Prediction("p0", "?", "undecided", "Who knows."),), (shown,), (chart,)
    )


TOY = Experiment("E99", "Toy", "Something is so.", toy, needs=("dual-bn",))


def test_a_finding_survives_the_disk(family: Family, tmp_path: Path) -> None:
    finding = TOY.run(family, 16, 0)
    assert finding.checkpoints == {"toy": load_card(family.root / "toy").weights_sha256}
    assert finding.command == "python -m engine paper E99 --family shapes --n 16"
    assert finding.table("numbers").rows == (("dual-bn", 0.333333, None, 16),)
    save_finding(tmp_path, finding)
    (loaded,), problems = load_findings(tmp_path, list(card for card in family.members.values()))
    assert (loaded, problems, loaded.stale) == (finding, [], "")
    assert TOY.fresh(loaded, family, 16, 0)
    assert not TOY.fresh(loaded, family, 17, 0)
    (loaded,), _ = load_findings(tmp_path, [replace(card_for("toy", DUAL_BN), weights_sha256="other")])
    assert "other weights of toy" in loaded.stale


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "maybe"},
        {"schema": 0},
        {"surprise": 1},
        {"tables": [{"name": "t", "caption": "", "columns": ["a"], "rows": [[1, 2]]}]},
        {"charts": [{"table": "numbers", "kind": "bars", "x": "nothing"}]},
        {"sentence": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_damaged_finding_is_named_and_the_others_load(family: Family, tmp_path: Path, change: dict[str, Any]) -> None:
    finding = TOY.run(family, 16, 0)
    save_finding(tmp_path, finding)
    bad = finding_path(tmp_path, "shapes", "E98")
    bad.write_text(json.dumps(finding.as_json() | change))
    findings, (problem,) = load_findings(tmp_path, [])
    assert [f.experiment for f in findings] == ["E99"]
    assert "E98.json" in problem


def test_what_is_missing_is_named(root: Path) -> None:
    family = api.open_families(CPU, root=root)["shapes"]
    finding = replace(TOY, needs=("dual-bn", "trades", "madry")).run(family, 16, 0)
    assert (finding.verdict, finding.sentence) == (
        "undecided",
        "The family shapes has no trades and no madry network here yet.",
    )


@pytest.mark.parametrize(
    ("config", "role"),
    [
        ({"alpha": 0.5, "eps": 8 / 255}, "dual-bn"),
        ({"alpha": 0.0, "eps": 8 / 255}, "madry"),
        ({"alpha": 1.0, "eps": 16 / 255}, "standard"),
        ({"alpha": 0.5, "eps": 16 / 255}, "dual-bn@16/255"),
        ({"alpha": 0.5, "eps": 8 / 255, "loss": "trades"}, "trades"),
        ({"alpha": 0.5, "eps": 8 / 255, "batch": "crossed", "seed": 2}, "cross-ns#2"),
    ],
)
def test_the_role_follows_from_the_recipe(config: dict[str, Any], role: str) -> None:
    assert role_of(replace(card_for("any", DUAL_BN), config=config)) == role


def test_what_was_trained_for_longer_is_a_family_of_its_own(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "toy")
    card = load_card(write_checkpoint(tmp_path, "toy-long"))
    assert family_of(card) == "shapes-long"
    found = api.open_families(CPU, root=tmp_path)
    assert {name: family.members["dual-bn"].name for name, family in found.items()} == {
        "shapes": "toy",
        "shapes-long": "toy-long",
    }


def test_accuracies_come_from_the_card_only_for_the_very_images(root: Path, tmp_path: Path) -> None:
    """A forged record is believed with the right images' hash and is not with another one."""
    attack, setting = pgd(2, 8 / 255), branch_setting(Branch.ADV)
    true = api.open_families(CPU, root=root)["shapes"]
    counted = true.record("dual-bn", setting, attack, 16, 0)
    assert (counted.n, counted.white_box) == (16, True)
    forged = replace(counted, n_correct=(counted.n_correct + 7) % 17)
    for sha256, expected in ((true.images(16).checksum, forged), ("0" * 64, counted)):
        folder = write_checkpoint(tmp_path, "toy")
        save_card(folder, replace(load_card(folder), records=(forged,), evaluation={"sha256": sha256}))
        found = api.open_families(CPU, root=tmp_path)["shapes"].record("dual-bn", setting, attack, 16, 0)
        assert found.n_correct == expected.n_correct


def test_a_finding_says_how_many_images_its_card_figures_rest_on(root: Path, tmp_path: Path) -> None:
    """Asked for 16 images, where the card has counted 32; and 16 again where it has not."""
    bench, card = api.open_bench("toy", CPU, n=32, root=root)
    setting, attack = branch_setting(Branch.ADV), pgd(1, 8 / 255)
    record = bench.evaluate(setting, attack, 32, 0)
    write_checkpoint(tmp_path, "toy")
    evaluation = {"sha256": bench.test.checksum}
    counted = replace(
        TOY, compute=lambda f, n, s, _: (f.record("dual-bn", setting, attack, n, s), toy(f, n, s, None))[1]
    )
    for records, said in (((record,), "16 to 32"), ((), "16")):
        save_card(tmp_path / "toy", replace(card, records=records, evaluation=evaluation))
        assert counted.run(api.open_families(CPU, root=tmp_path)["shapes"], 16, 0).images == said


def test_paper_writes_findings_and_does_not_compute_them_twice(root: Path, tmp_path: Path, capsys: Any) -> None:
    command = [
        "paper",
        "E4",
        "E5",
        "--n",
        "8",
        "--root",
        str(root),
        "--out",
        str(tmp_path),
        "--device",
        "cpu",
        "--json",
    ]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert [(f["experiment"], f["family"]) for f in first["findings"]] == [("E4", "shapes"), ("E5", "shapes")]
    assert first["findings"][1]["verdict"] == "undecided"
    written = finding_path(tmp_path, "shapes", "E4").stat().st_mtime_ns
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert finding_path(tmp_path, "shapes", "E4").stat().st_mtime_ns == written
    assert main([*command, "--family", "other"]) == 2
    assert "There is no family 'other'; there are: shapes." in capsys.readouterr().err
    assert main(["paper", "E77", "--root", str(root)]) == 2


def test_more_images_than_there_are_is_one_sentence(family: Family) -> None:
    with pytest.raises(InputError, match="10000 test images"):
        EXPERIMENTS["E0"].run(family, 20_000, 0)


def test_the_shipped_findings_can_be_read() -> None:
    findings, problems = load_findings(api.CHECKPOINTS / api.FINDINGS, api.list_cards()[0])
    assert problems == []
    assert [f"{f.family} {f.experiment}" for f in findings if f.stale or f.experiment not in EXPERIMENTS] == []
    assert all(isinstance(f, Finding) and f.sentence for f in findings)


def test_the_paired_difference_has_the_interval_of_its_discordant_pairs() -> None:
    """b and c images of n that only one gets right: Wald's variance (b + c - (b - c)^2 / n) / n^2."""
    n, both, only_first, only_second = 400, 200, 60, 30
    first = torch.arange(n) < both + only_first
    second = (torch.arange(n) < both) | (torch.arange(n) >= n - only_second)
    gap = api.paired(first, second, 0)
    value = (only_second - only_first) / n
    half = 1.96 * (only_first + only_second - (only_second - only_first) ** 2 / n) ** 0.5 / n
    assert gap.value == pytest.approx(value)
    assert (gap.low, gap.high) == pytest.approx((value - half, value + half), abs=0.006)
