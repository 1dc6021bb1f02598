"""Checkpoints: what is written comes back bit by bit, and every kind of damage is refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import pickle  # noqa: TID251 - to write what must not be unpickled
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from engine.attacks import PGD
from engine.cards import EvalRecord, ModelCard
from engine.checkpoint import find_checkpoints, golden_logits, load_card, load_checkpoint, save_checkpoint
from engine.values import (
    DESIGNS,
    DUAL_BN,
    InputError,
    LayerMix,
    NormDesign,
    NormSetting,
    Reestimated,
    Stored,
    ThreatModel,
)
from tests.support import card_for, dual_resnet, snapshot, write_checkpoint

CPU = torch.device("cpu")
SHIPPED = sorted(path.parent for path in Path(__file__).parents[1].glob("checkpoints/*/weights.safetensors"))
RECORD = EvalRecord(
    NormSetting(0.5, Reestimated("mix", 64, 3, 0.1), (("bn", LayerMix(affine=1.0)), ("blocks.0.bn1", LayerMix()))),
    PGD(ThreatModel("L2", 0.5), 3, 0.2, stop="success"),
    NormSetting(1.0, Stored(0.25)),
    n=100,
    n_correct=42,
    seed=7,
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints"), "toy")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint that a test may damage."""
    copy = tmp_path / "toy"
    copy.mkdir()
    for path in original.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_a_checkpoint_comes_back_as_it_was(design: NormDesign, tmp_path: Path) -> None:
    model = dual_resnet(design=design)
    card = replace(card_for("toy", design), records=(RECORD,), config={"eps": 8 / 255, "seed": 3})
    written = save_checkpoint(tmp_path / "toy", model, card)
    loaded, read = load_checkpoint(tmp_path / "toy", CPU)
    content = (tmp_path / "toy" / "weights.safetensors").read_bytes()
    assert read == written == replace(card, weights_sha256=hashlib.sha256(content).hexdigest())
    assert read.records == (RECORD,)
    assert snapshot(loaded)["tensors"] == snapshot(model)["tensors"]
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    with np.load(tmp_path / "toy" / "golden.npz") as golden:
        assert np.array_equal(golden["logits"], golden_logits(loaded))
    assert {path.name for path in (tmp_path / "toy").iterdir()} == {"weights.safetensors", "card.json", "golden.npz"}


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Changes the tensors and puts the right hash into the card, so that only the later checks can notice."""
    path = folder / "weights.safetensors"
    tensors = load(path.read_bytes())
    change(tensors)
    content = save(tensors)
    path.write_bytes(content)
    edit_card(folder, weights_sha256=hashlib.sha256(content).hexdigest())


def edit_card(folder: Path, *remove: str, **fields: object) -> None:
    path = folder / "card.json"
    card: dict[str, Any] = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in card.items() if key not in remove}))


def rehash(folder: Path, content: bytes) -> None:
    (folder / "weights.safetensors").write_bytes(content)
    edit_card(folder, weights_sha256=hashlib.sha256(content).hexdigest())


def flip(folder: Path) -> None:
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


class Bomb:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-card": (lambda f: (f / "card.json").unlink(), r"no checkpoint in .*toy \(card.json is missing\)"),
    "card-not-json": (lambda f: (f / "card.json").write_text("{"), "card.json cannot be read"),
    "card-binary": (lambda f: (f / "card.json").write_bytes(b"\xff\xfe\x00"), "card.json cannot be read"),
    "card-a-list": (lambda f: (f / "card.json").write_text("[]"), "does not hold a card"),
    "card-field-missing": (lambda f: edit_card(f, "seed", "classes"), "card.json lacks 'classes'"),
    "card-field-unknown": (lambda f: edit_card(f, colour="red"), "has an unknown field 'colour'"),
    "card-schema": (lambda f: edit_card(f, schema=99), "card schema 99; this version reads 1"),
    "card-design": (lambda f: edit_card(f, design="triple"), "unknown design 'triple'"),
    "card-design-form": (lambda f: edit_card(f, design=["single"]), "card.json"),
    "card-records": (lambda f: edit_card(f, records=[{"n": 1}]), "wrong form"),
    "card-records-form": (lambda f: edit_card(f, records={"a": 1}), "wrong form"),
    "card-record-setting": (
        lambda f: edit_card(f, records=[RECORD.as_json() | {"setting": {"affine": 0, "statistics": "x"}}]),
        "card.json",
    ),
    "card-config-form": (lambda f: edit_card(f, config=[]), "card.json"),
    "card-config-empty": (lambda f: edit_card(f, config={}), "data or config"),
    "card-wall-form": (lambda f: edit_card(f, wall_seconds="1 h"), "wall_seconds"),
    "card-classes-form": (lambda f: edit_card(f, classes=5), "wrong form"),
    "unknown-architecture": (lambda f: edit_card(f, architecture="vgg"), "no network 'vgg'"),
    "architecture-form": (lambda f: edit_card(f, architecture=["resnet14-s2"]), "card.json"),
    "other-architecture": (lambda f: edit_card(f, architecture="resnet20"), "tensor .* has the shape"),
    "other-design": (lambda f: edit_card(f, design="single"), "tensor"),
    "no-weights": (lambda f: (f / "weights.safetensors").unlink(), "Cannot read .*weights.safetensors"),
    "truncated": (lambda f: (f / "weights.safetensors").write_bytes(weights(f)[:-100]), "SHA-256 differs"),
    "flipped-bit": (flip, "SHA-256 differs"),
    "truncated-rehashed": (lambda f: rehash(f, weights(f)[:-100]), "not a valid safetensors file"),
    "empty-rehashed": (lambda f: rehash(f, b""), "not a valid safetensors file"),
    "missing-tensor": (lambda f: rewrite(f, lambda t: t.pop("bn.mean")), "lacks tensor 'bn.mean'"),
    "extra-tensor": (
        lambda f: rewrite(f, lambda t: t.update(evil=torch.zeros(1))),
        "has the unexpected tensor 'evil'",
    ),
    "wrong-shape": (
        lambda f: rewrite(f, lambda t: t.update({"bn.mean": torch.zeros(2, 17)})),
        r"'bn.mean' has the shape \[2, 17\] instead of \[2, 16\]",
    ),
    "wrong-type": (
        lambda f: rewrite(f, lambda t: t.update({"bn.mean": t["bn.mean"].half()})),
        "'bn.mean' has the type torch.float16, not torch.float32",
    ),
    "nan": (lambda f: rewrite(f, lambda t: t["head.weight"][3, :1].fill_(torch.nan)), "NaN or infinity"),
    "infinity": (lambda f: rewrite(f, lambda t: t["bn.var"][1, :1].fill_(torch.inf)), "NaN or infinity"),
}


@pytest.mark.parametrize(("damage", "sentence"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_refused(folder: Path, damage: Callable[[Path], object], sentence: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=sentence) as caught:
        load_checkpoint(folder, CPU)
    assert str(folder) in str(caught.value) or "no network" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rehashed", [False, True])
def test_a_pickle_in_place_of_the_weights_is_never_unpickled(folder: Path, tmp_path: Path, rehashed: bool) -> None:
    content = pickle.dumps(Bomb(tmp_path / "gone off"))
    if rehashed:
        rehash(folder, content)
    else:
        (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(InputError):
        load_checkpoint(folder, CPU)
    assert not (tmp_path / "gone off").exists()
    pickle.loads(content)  # noqa: S301 - the bomb is live, or nothing was tested
    assert (tmp_path / "gone off").exists()


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "toy").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="Cannot write .*weights.safetensors"):
        save_checkpoint(tmp_path / "toy", dual_resnet(), card_for("toy", DUAL_BN))


def test_checkpoints_are_found_by_their_cards(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").touch()
    (tmp_path / "no card").mkdir()
    (tmp_path / "card.json").touch()
    assert find_checkpoints(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert find_checkpoints(tmp_path / "nowhere") == []


def test_a_card_survives_json() -> None:
    card = replace(card_for("toy", DUAL_BN), records=(RECORD,))
    assert ModelCard.from_json(json.loads(json.dumps(card.as_json())), "here") == card
    assert card.norm_design == DUAL_BN


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_checkpoint_reproduces_its_golden_logits(shipped: Path) -> None:
    model, card = load_checkpoint(shipped, CPU)
    assert card.name == shipped.name
    assert load_card(shipped) == card
    with np.load(shipped / "golden.npz") as golden:
        np.testing.assert_allclose(golden_logits(model), golden["logits"], rtol=0, atol=1e-4)
        assert golden["logits"].shape == (3, 8, len(card.classes))
        assert golden["logits"].std() > 0.1, "an untrained network"
