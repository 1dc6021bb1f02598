"""Calibration against a count by hand; breakdowns against the records they break down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import engine.headline
from docs.readme import block
from engine import api
from engine.__main__ import main
from engine.cards import ModelCard
from engine.checkpoint import load_card
from engine.data import load_data
from engine.evaluation import Bench
from engine.headline import auto_record, calibration_error, headline
from engine.values import DUAL_BN, SINGLE, Branch, InputError, branch_setting
from tests.support import dual_resnet, write_checkpoint

YOUNGER = ("breakdowns", "official", "official_images", "auto", "auto_images")


def test_calibration_error_by_hand() -> None:
    """Two bins of fifteen: 0.95 said, 3 of 4 right; 0.5 said, 1 of 1 right."""
    confidence = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.5])
    correct = torch.tensor([True, True, True, False, True])
    assert calibration_error(confidence, correct) == pytest.approx(4 / 5 * abs(0.75 - 0.95) + 1 / 5 * abs(1 - 0.5))


def test_calibration_error_of_honest_and_of_boastful_predictions() -> None:
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(200_000, generator=generator)
    correct = torch.rand(200_000, generator=generator) < confidence
    assert calibration_error(confidence, correct) < 0.01
    assert calibration_error(torch.ones(10), torch.arange(10) < 3) == pytest.approx(0.7)
    assert calibration_error(torch.zeros(4), torch.zeros(4, dtype=torch.bool)) == 0


@pytest.mark.parametrize("design", [SINGLE, DUAL_BN], ids=["single", "dual-bn"])
def test_breakdowns_add_up_to_their_records(design: object) -> None:
    bench = Bench(dual_resnet(design=design), load_data("shapes", "test", 70), None)  # pyright: ignore[reportArgumentType]
    records, breakdowns = headline(bench, design, 4 / 255, 70)  # pyright: ignore[reportArgumentType]
    assert [(r.setting, r.attack is None) for r in records] == [
        (branch_setting(branch), clean) for branch in Branch for clean in (True, False)
    ]
    for record, breakdown in zip(records, breakdowns, strict=True):
        assert (record.setting, record.attack) == (breakdown.setting, breakdown.attack)
        assert sum(breakdown.class_correct) == record.n_correct
        assert sum(breakdown.class_n) == record.n == 70
        assert all(c <= n for c, n in zip(breakdown.class_correct, breakdown.class_n, strict=True))
        assert (breakdown.ece is None) == (record.attack is not None)
        expected = bench.evaluate(record.setting, record.attack, 70, 0)
        assert expected == record
    assert records[1].white_box
    assert records[1].n_correct <= records[0].n_correct


def test_the_command_writes_the_card_and_it_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_checkpoint(tmp_path, "toy")
    before = load_card(folder)
    assert main(["headline", "toy", "--root", str(tmp_path), "--n", "20", "--device", "cpu", "--json"]) == 0
    capsys.readouterr()
    card = load_card(folder)
    assert len(card.records) == len(card.breakdowns) == 4
    assert card.records[0].n == 20
    assert ModelCard.from_json(card.as_json(), "here") == card
    assert replace(card, records=before.records, breakdowns=(), evaluation=before.evaluation) == before


def test_auto_adds_one_record_and_leaves_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.headline, "AutoAttack", api.quick_auto)  # the standard version takes minutes
    folder = write_checkpoint(tmp_path, "toy")
    before = load_card(folder)
    assert main(["headline", "toy", "--root", str(tmp_path), "--auto", "6", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["auto"][0]["n"] == 6
    card = load_card(folder)
    (record,) = card.auto
    bench, _ = api.open_bench("toy", torch.device("cpu"), n=6, root=tmp_path)
    attack = api.quick_auto(api.ThreatModel("Linf", 8 / 255))
    assert record == bench.evaluate(branch_setting(Branch.ADV), attack, 6, 0)
    assert record.white_box
    assert card.auto_images["sha256"] == bench.test.checksum
    assert replace(card, auto=(), auto_images={}) == before
    assert "AutoAttack" in block([card, before])
    assert "AutoAttack" not in block([before])
    assert {line.count("|") for line in block([card, before]).splitlines() if "|" in line} == {12}


def test_auto_goes_on_after_a_kill_to_the_same_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.headline, "AutoAttack", api.quick_auto)
    monkeypatch.setattr(engine.headline, "chunk_size", lambda _: 4)
    monkeypatch.setattr("engine.evaluation.chunk_size", lambda _: 4)
    bench, path = Bench(dual_resnet(), load_data("shapes", "test", 10), None), tmp_path / ".auto.jsonl"
    head: dict[str, Any] = {"weights_sha256": "a", "seed": 0}

    def kill(done: int, _: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        auto_record(bench, path, head, 8 / 255, kill)
    path.write_text(path.read_text() + '{"setting": {"aff')  # cut short
    left: list[int] = []
    record = auto_record(bench, path, head, 8 / 255, lambda done, _: left.append(done))
    assert left == [10]
    setting = branch_setting(Branch.ADV)
    assert record == bench.evaluate(setting, api.quick_auto(api.ThreatModel("Linf", 8 / 255)), 10, 0)
    with pytest.raises(InputError, match="stale: its weights_sha256"):
        auto_record(bench, path, head | {"weights_sha256": "b"}, 8 / 255)


def test_a_card_from_before_there_were_breakdowns_is_read(tmp_path: Path) -> None:
    card = load_card(write_checkpoint(tmp_path, "toy"))
    old = {k: v for k, v in card.as_json().items() if k not in YOUNGER}
    assert ModelCard.from_json(old, "here") == card
