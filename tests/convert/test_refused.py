"""What cannot be converted: one sentence that names the culprit, and nothing left behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.convert import convert
from engine.values import InputError
from tests.convert.public import public, request, write

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def changed(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tensors = dict(public().state_dict())
        change(tensors)
        return write(folder / "bad.safetensors", tensors)

    return make


def renamed(tensors: dict[str, Tensor], old: str, new: str) -> None:
    tensors[new] = tensors.pop(old)


def spoiled(tensors: dict[str, Tensor], key: str, value: float) -> None:
    tensors[key] = tensors[key].clone()
    tensors[key].view(-1)[3] = value


CONV = "layer2.0.conv1.weight"
BAD: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "missing": (changed(lambda t: t.pop(CONV)), {}, f"lacks the tensor '{CONV}'"),
    "missing-ns": (changed(lambda t: t.pop("bn1.running_var")), {}, "lacks the tensor 'bn1.running_var'"),
    "extra": (changed(lambda t: t.update(evil=torch.zeros(1))), {}, "a tensor 'evil' that the architecture has no"),
    "extra-block": (changed(lambda t: t.update({"layer1.2.conv1.weight": t[CONV]})), {}, "layer1.2.conv1.weight' that"),
    "renamed": (changed(lambda t: renamed(t, CONV, "layer2.0.konv1.weight")), {}, "'layer2.0.konv1.weight'"),
    "twice": (changed(lambda t: t.update({f"module.{CONV}": t[CONV]})), {}, "two tensors for one place"),
    "shape": (
        changed(lambda t: t.update({CONV: t[CONV][:, :3]})), {}, r"has the shape \[32, 3, 3, 3\] where .* \[32, 16, 3"
    ),
    "stem-of-imagenet": (changed(lambda t: t.update({"conv1.weight": torch.zeros(16, 3, 7, 7)})), {}, "'conv1.weight'"),
    "nan": (changed(lambda t: spoiled(t, CONV, torch.nan)), {}, f"'{CONV}' holds NaN or infinity"),
    "infinity": (changed(lambda t: spoiled(t, "bn1.running_mean", torch.inf)), {}, "'bn1.running_mean' holds NaN"),
    "variance": (changed(lambda t: spoiled(t, "bn1.running_var", -1)), {}, "'bn1.running_var' holds a variance"),
    "whole-numbers": (changed(lambda t: t.update({CONV: t[CONV].int()})), {}, "torch.int32, which is not"),
    "third-branch": (changed(lambda t: t.update({"bn1.aux_bn.1.weight": t["bn1.weight"]})), {}, "bn1.aux_bn.1.weight"),
    "half-of-a-branch": (
        changed(lambda t: t.update({"bn1.aux_bn.weight": t["bn1.weight"]})), {}, "of the other set of norms"
    ),
    "marked-conv": (
        changed(lambda t: t.update({"layer1.0.conv1.aux_bn.weight": t["layer1.0.conv1.weight"]})), {}, "no batch norm",
    ),
    "other-architecture": (changed(lambda _: None), {"architecture": "resnet18"}, "try another --arch"),
    "no-architecture": (changed(lambda _: None), {"architecture": "vgg"}, "no architecture 'vgg'; choose one of"),
    "classes": (changed(lambda _: None), {"n_classes": 7}, "tells 10 classes apart, not 7"),
    "class-names": (changed(lambda _: None), {"classes": ("a", "b")}, "tells 10 classes apart, not 2"),
    "both-differ": (changed(lambda _: None), {"classes": ("a", "b"), "n_classes": 3}, "2 classes are named, and"),
    "data-nowhere": (changed(lambda _: None), {"data": "no/where"}, "There is no data set 'no/where'"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "changes", "sentence"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_named_in_one_sentence_and_nothing_is_left(
    make: Callable[[Path], Path], changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    file = make(tmp_path)
    with pytest.raises(InputError, match=sentence) as caught:
        convert(file, tmp_path / "root", request(**changes))
    assert re.fullmatch(r"[^\n]{20,300}[.)]", str(caught.value))
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"n_classes": 0}, "at least 2 and at most 100,000 classes apart, not 0"),
        ({"n_classes": -3}, "not -3"),
        ({"n_classes": 10**12}, "not 1000000000000"),
        ({"classes": ("a", "a")}, "must be different"),
        ({"classes": ("a", " ")}, "none may be empty"),
        ({"name": "../elsewhere"}, "must consist of"),
        ({"design": "triple"}, "must be one of"),
        ({"mean": MEAN}, "go together"),
        ({"mean": (125.3, 123.0, 113.9), "std": STD}, "divide by 255"),
        ({"mean": MEAN, "std": (0.2, 0.0, 0.2)}, "--std must be above 0"),
        ({"mean": (0.5,), "std": (0.5,)}, "three numbers"),
        ({"eps": 0.0}, "eps must be above 0"),
    ],
    ids=str,
)
def test_an_impossible_wish_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        request(**changes)


def test_a_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "plain.safetensors", public().state_dict())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.toml").write_text("kept")
    with pytest.raises(InputError, match="There is 'mine' in .* already; choose another --name"):
        convert(file, tmp_path, request())
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["train.toml"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "plain.safetensors", public().state_dict())

    def full(*_: object) -> None:
        raise InputError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("engine.checkpoint.save_card", full)
        with pytest.raises(InputError, match="the disk is full"):
            convert(file, tmp_path / "root", request())
    assert list((tmp_path / "root").iterdir()) == []
    convert(file, tmp_path / "root", request())
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["mine"]
