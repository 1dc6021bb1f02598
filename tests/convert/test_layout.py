"""Converting foreign weights: the same logits, bit by bit, as plain torch code with these weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine import api
from engine.cards import ModelCard
from engine.convert import convert
from engine.values import DESIGNS, Branch, InputError, NormSetting, Stored, branch_setting
from tests.convert.public import PUBLIC, public, request, write
from tests.support import random_images, randomise_norms

CPU = torch.device("cpu")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
designs = pytest.mark.parametrize("design", list(DESIGNS))


def logits(root: Path, setting: NormSetting, images: Tensor, name: str = "mine") -> Tensor:
    model, _ = api.load_checkpoint(root / name, CPU)
    with torch.no_grad():
        return api.at(model, setting)(images)


def expected(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)


@designs
def test_both_branches_of_a_plain_network_give_its_very_logits(design: str, tmp_path: Path) -> None:
    network, images = public(), random_images(6, 32)
    file = write(tmp_path / "plain.safetensors", network.state_dict())
    card = convert(file, tmp_path / "root", request(design=design, mean=MEAN, std=STD))
    normalized = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    wanted = expected(network, normalized)
    assert wanted.std() > 0.1
    for branch in Branch:
        assert torch.equal(logits(tmp_path / "root", branch_setting(branch), images), wanted), branch
    assert torch.equal(logits(tmp_path / "root", NormSetting(0.5, Stored(0.5)), images), wanted) or design != "single"
    assert card.design == design
    assert card.config["converted"]["mean"] == pytest.approx(MEAN)


@pytest.mark.parametrize("name", list(PUBLIC))
def test_networks_in_public_names_give_their_very_logits(name: str, tmp_path: Path) -> None:
    network, images = public(name), random_images(3, 32)
    file = write(tmp_path / "plain.safetensors", network.state_dict())
    card = convert(file, tmp_path / "root", request(architecture=PUBLIC[name][0]))
    assert torch.equal(logits(tmp_path / "root", branch_setting(Branch.CLEAN), images), expected(network, images))
    assert len(card.classes) == {"resnet20-linear-shortcut": 7, "resnet18": 4}.get(name, 10)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "net.module."])
def test_wrappers_names_are_taken_off(prefix: str, tmp_path: Path) -> None:
    tensors = {prefix + key: tensor for key, tensor in public().state_dict().items()}
    convert(write(tmp_path / "a.safetensors", tensors), tmp_path / "root", request())
    images = random_images(2, 32)
    assert torch.equal(logits(tmp_path / "root", branch_setting(Branch.ADV), images), expected(public(), images))


@dataclass(frozen=True)
class Marks:
    """How a code base tells two norms in one place apart."""

    clean: Callable[[str, str], str]
    adv: Callable[[str, str], str]
    option: int | None = None


def inserted(mark: str) -> Callable[[str, str], str]:
    return lambda path, leaf: f"{path}{mark}.{leaf}"


MARKS = {
    "timm-split": Marks(inserted(""), inserted(".aux_bn.0")),
    "advprop": Marks(inserted(""), inserted(".aux_bn")),
    "main-and-aux": Marks(inserted(".main_bn"), inserted(".aux_bn")),
    "BN_c-BN_a": Marks(inserted(".BN_c"), inserted(".BN_a")),
    "bn_clean-bn_adv": Marks(inserted(".bn_clean"), inserted(".bn_adv")),
    "bn_list": Marks(inserted(".bn_list.0"), inserted(".bn_list.1"), 1),
    "bns-turned-round": Marks(inserted(".bns.1"), inserted(".bns.0"), 0),
}


def two_branched(marks: Marks, prefix: str = "") -> tuple[dict[str, Tensor], nn.Module, nn.Module]:
    """Tensors as the code base writes them, and the plain network of each branch."""
    clean, adv = public(), public()
    randomise_norms(adv, 9)
    norms = [name for name, module in clean.named_modules() if isinstance(module, nn.BatchNorm2d)]
    tensors: dict[str, Tensor] = {}
    for key, tensor in clean.state_dict().items():
        path, _, leaf = key.rpartition(".")
        if path in norms:
            tensors[prefix + marks.clean(path, leaf)] = tensor
            tensors[prefix + marks.adv(path, leaf)] = adv.state_dict()[key]
        else:
            tensors[prefix + key] = tensor
    return tensors, clean, adv


@pytest.mark.parametrize("marks", MARKS.values(), ids=MARKS)
def test_two_sets_of_norms_go_to_the_two_branches(marks: Marks, tmp_path: Path) -> None:
    tensors, clean, adv = two_branched(marks, "module.")
    file, images = write(tmp_path / "two.safetensors", tensors), random_images(3, 32)
    card = convert(file, tmp_path / "root", request(adv_branch=marks.option))
    wanted = [expected(network, images) for network in (clean, adv)]
    assert not torch.allclose(wanted[0], wanted[1], atol=0.01)
    for branch in Branch:
        assert torch.equal(logits(tmp_path / "root", branch_setting(branch), images), wanted[branch]), branch
    assert "adversarial branch" in card.config["converted"]["branches"]
    if marks.option is None:  # a name can be overruled, and the card says by whom
        turned = convert(file, tmp_path / "root", request(name="turned", adv_branch=0))
        assert torch.equal(logits(tmp_path / "root", branch_setting(Branch.CLEAN), images, "turned"), wanted[1])
        assert "said by --adv-branch" in turned.config["converted"]["branches"]


def test_counted_norms_are_never_guessed(tmp_path: Path) -> None:
    file = write(tmp_path / "two.safetensors", two_branched(MARKS["bn_list"])[0])
    with pytest.raises(InputError, match=r"add --adv-branch 1 if 1 is the adversarial one \(the usual order\)"):
        convert(file, tmp_path / "root", request())
    one = write(tmp_path / "one.safetensors", public().state_dict())
    with pytest.raises(InputError, match="nothing for --adv-branch to choose"):
        convert(one, tmp_path / "root", request(adv_branch=1))
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("design", ["single", "dual-ap", "dual-ns", "dual-linear"])
def test_two_sets_do_not_fit_a_design_that_has_one(design: str, tmp_path: Path) -> None:
    file = write(tmp_path / "two.safetensors", two_branched(MARKS["timm-split"])[0])
    with pytest.raises(InputError, match=f"two sets of .*{design} has one; convert it with --design dual-bn"):
        convert(file, tmp_path / "root", request(design=design))


def test_constants_of_the_input_in_the_file_are_used(tmp_path: Path) -> None:
    network, images = public(), random_images(2, 32)
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    tensors = {f"model.{key}": tensor for key, tensor in network.state_dict().items()}
    tensors |= {"normalize.mean": mean, "normalize.std": std}
    file = write(tmp_path / "a.safetensors", tensors)
    convert(file, tmp_path / "root", request())
    wanted = expected(network, (images - mean) / std)
    assert torch.equal(logits(tmp_path / "root", branch_setting(Branch.CLEAN), images), wanted)
    with pytest.raises(InputError, match="brings the mean and std"):
        convert(file, tmp_path / "root", request(name="b", mean=MEAN, std=STD))


def test_half_precision_and_a_missing_counter_are_fine(tmp_path: Path) -> None:
    tensors = {k: v.half() for k, v in public().state_dict().items() if not k.endswith("num_batches_tracked")}
    convert(write(tmp_path / "a.safetensors", tensors), tmp_path / "root", request())
    images = random_images(4, 32)
    found = logits(tmp_path / "root", branch_setting(Branch.CLEAN), images)
    torch.testing.assert_close(found, expected(public(), images), rtol=0.05, atol=0.05)


def test_the_card_says_what_is_known_and_what_is_not(tmp_path: Path) -> None:
    file = write(tmp_path / "plain.safetensors", public().state_dict())
    names = tuple("abcdefghij")
    card = convert(file, tmp_path / "root", request(classes=names, command="the command"))
    assert api.load_card(tmp_path / "root" / "mine") == card
    assert ModelCard.from_json(card.as_json(), "here") == card
    assert (card.classes, card.learned_from, card.command) == (names, "not known", "the command")
    assert card.origin.startswith("Converted from plain.safetensors (SHA-256 ")
    for part in ("with which both branches begin", "as it is, in [0, 1]", "not known here, nor for how long"):
        assert part in card.origin
    assert "not known" in card.licence
    assert convert(file, tmp_path / "root", request(name="c", data="cifar10")).classes == api.cifar.CLASSES
