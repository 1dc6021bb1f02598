"""The benchmark of attacks: it runs, all its attacks do the same, and absent libraries are left out with a sentence."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import attacks, auto, ceiling, peers
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
    for library in ("torchattacks", "foolbox", "art"):
        assert ((library if library != "art" else "ART") in names) != any(
            note.startswith(f"{library} is not") for note in value["notes"]
        )
    assert all(result["images_per_second"] > 0 and result["robust"]["n"] == 8 for result in value["results"])


@pytest.mark.usefixtures("tiny")
def test_it_prints_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert attacks.main([*SMALL, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "### PGD-2 at 8/255, tiny, 8 shapes test images in batches of 256"
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


@pytest.mark.parametrize("library", list(peers.LIBRARIES))
def test_a_library_starts_and_steps_as_the_engine_does(library: str) -> None:
    """Up to rounding: a gradient that is all but zero may have another sign. captum and ART draw their own starts, and
    land as high."""
    pytest.importorskip(library)
    view = tiny_view()
    images, labels = random_images(16), random_labels(16)
    batch, kept = [(0, images, labels)], images.clone()
    _, (mine,) = attacks.one_run(peers.ours(view, ATTACK), batch)
    for make in peers.LIBRARIES[library]:
        _, (other,) = attacks.one_run(make(view, ATTACK), batch)
        if library in ("captum", "art"):
            losses = [torch.nn.functional.cross_entropy(view(x), labels).item() for x in (images, mine, other)]
            assert float((other - images).abs().max()) <= ATTACK.threat.eps + 1e-6
            assert losses[2] - losses[0] == pytest.approx(losses[1] - losses[0], rel=0.1)
        else:
            assert ((mine - other).abs() < 1e-6).float().mean() > 0.99
    assert torch.equal(images, kept)
    assert not images.requires_grad


def test_auto_runs_the_standard_everywhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The budgets of the peer are the standard's; the command prints every contender's figures."""
    library = pytest.importorskip("torchattacks")
    parts: list[tuple[str, int]] = []

    def noted(view: torch.nn.Module, threat: api.ThreatModel) -> peers.Crafter:
        for name, budget in (("APGD", "steps"), ("APGDT", "steps"), ("FAB", "steps"), ("Square", "n_queries")):
            made = getattr(library, name)
            monkeypatch.setattr(
                library, name, lambda *a, n=name, b=budget, m=made, **k: parts.append((n, k[b])) or m(*a, **k)
            )
        auto.torchattacks(view, threat)
        return lambda images, *_: images

    monkeypatch.setattr(auto, "ours", lambda *_: lambda images, *_: images)
    monkeypatch.setattr(auto, "MAKERS", {name: noted for name in auto.PEERS})
    assert auto.main(["--images", "8", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["results"][0]["name"] == "this engine"
    assert all(result["robust"]["n"] == 8 for result in value["results"])
    assert parts[:4] == [("APGD", 100), ("APGDT", 100), ("FAB", 100), ("Square", 5000)]
    assert value["attack"] == "AutoAttack at 8/255"


def test_macs_by_hand_and_the_ceiling_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    conv = from_seed(lambda: torch.nn.Conv2d(3, 4, 3, stride=2, padding=1))
    layers = torch.nn.Sequential(conv, torch.nn.Flatten(), from_seed(lambda: torch.nn.Linear(64, 5)))
    assert ceiling.macs(layers, torch.zeros(1, 3, 8, 8)) == 4 * 4 * 4 * 3 * 9 + 64 * 5
    monkeypatch.setattr(ceiling, "REPEATS", 1)
    monkeypatch.setattr(ceiling, "SIDE", 64)
    subject = attacks.Subject("tiny", tiny_view(), api.load_data("shapes", "test", 8), True, ())
    monkeypatch.setattr(ceiling, "choose", lambda *_: subject)
    assert ceiling.main(["--images", "8", "--steps", "2", "--runs", "1", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [result["gflop_per_second"] > 0 for result in value["results"]] == [True] * 3


def test_the_global_random_state_is_left_alone() -> None:
    """The fixture of conftest.py judges it."""
    crafted = peers.globally_seeded(lambda images, labels: torch.rand(2) + images + labels)
    generator = api.seeded(0, 0)
    first = crafted(torch.zeros(2), torch.zeros(2), generator)
    assert torch.equal(first, crafted(torch.zeros(2), torch.zeros(2), generator))
