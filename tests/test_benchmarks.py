"""The benchmark of attacks: it runs, all its attacks do the same, and absent libraries are left out with a sentence."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import attacks, peers
from engine import api
from engine.checkpoint import load_checkpoint
from engine.norm import at, to_dual_bn
from tests.support import TinyCNN, from_seed, random_images, random_labels, randomise_norms

SMALL = ["--images", "8", "--steps", "2", "--runs", "1"]
ATTACK = api.PGD(api.ThreatModel("Linf", 8 / 255), 3, 2 / 255)


def tiny_view() -> torch.nn.Module:
    model = randomise_norms(to_dual_bn(from_seed(TinyCNN), api.DESIGNS["dual-bn"])).eval().requires_grad_(False)
    return at(model, api.branch_setting(api.Branch.ADV))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark measures a tiny network."""
    subject = attacks.Subject("tiny", tiny_view(), api.load_data("shapes", "test", 8), True, ("A note.",))
    monkeypatch.setattr(attacks, "choose", lambda *_: subject)


@pytest.mark.usefixtures("tiny")
def test_it_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert attacks.main([*SMALL, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    names = [result["name"] for result in value["results"]]
    assert names[:2] == ["this engine", 'this engine, stop="success"']
    for library in peers.HOW_TO_GET:
        assert (library in names) != any(note.startswith(f"{library} is not") for note in value["notes"])
    assert all(result["images_per_second"] > 0 and result["robust"]["n"] == 8 for result in value["results"])


@pytest.mark.usefixtures("tiny")
def test_it_prints_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert attacks.main([*SMALL, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "### PGD-2 at 8/255, tiny, 8 shapes test images in chunks of 64"
    assert "A note." in lines
    table = [line for line in lines if line.startswith("|")]
    assert len(table) >= 4
    assert {line.count("|") for line in table} == {len(attacks.COLUMNS) + 1}


def test_too_many_images_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(api, "list_cards", lambda: ([], []))
    assert attacks.main(["--architecture", "resnet14-s2", "--images", "10001"]) == 2
    assert "10001" in capsys.readouterr().err


def test_a_shipped_checkpoint_is_attacked_through_its_adversarial_branch() -> None:
    subject = attacks.choose("resnet14-s2", 8, torch.device("cpu"), {})
    assert subject.meaningful
    assert subject.name.startswith("shapes-")
    model, _ = load_checkpoint(api.checkpoint_folder(subject.name), torch.device("cpu"))
    images, _ = subject.images.tensors(0, 8)
    assert torch.equal(subject.view(images), at(model, api.branch_setting(api.Branch.ADV))(images))


def test_without_a_checkpoint_the_network_is_untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "list_cards", lambda: ([], []))
    subject = attacks.choose("resnet14-s2", 8, torch.device("cpu"), {})
    assert not subject.meaningful
    assert "as initialised" in subject.notes[0]
    found, notes = attacks.contenders(subject, ATTACK)
    assert [contender.name for contender in found if "stop" in contender.name] == []
    assert any("left out" in note for note in notes)


@pytest.mark.parametrize("library", list(peers.HOW_TO_GET))
def test_a_library_starts_and_steps_as_the_engine_does(library: str) -> None:
    """Up to rounding: a gradient that is all but zero may have another sign."""
    pytest.importorskip(library)
    view = tiny_view()
    theirs = [peers.foolbox(view, ATTACK)] if library == "foolbox" else []
    if library == "torchattacks":
        theirs = [peers.torchattacks(view, ATTACK, folded) for folded in (False, True)]
    images, labels = random_images(16), random_labels(16)
    batch = [(0, images, labels)]
    _, (mine,) = attacks.one_run(peers.ours(view, ATTACK), batch)
    for contender in theirs:
        _, (other,) = attacks.one_run(contender, batch)
        assert ((mine - other).abs() < 1e-6).float().mean() > 0.99


def test_the_global_random_state_is_left_alone() -> None:
    """The fixture of conftest.py judges it."""
    crafted = peers.globally_seeded(lambda images, labels: torch.rand(2) + images + labels)
    generator = api.seeded(0, 0)
    first = crafted(torch.zeros(2), torch.zeros(2), generator)
    assert torch.equal(first, crafted(torch.zeros(2), torch.zeros(2), generator))
