"""Networks registered by a program: used like those of this project, by name, once, from any thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine import api
from engine.convert import convert
from engine.models import ARCHITECTURES, build
from engine.values import Branch, InputError, branch_setting
from tests.convert.public import request, write
from tests.support import TinyCNN, from_seed, in_threads, random_images, tiny


class Forgetful(TinyCNN):
    """Holds a constant that its state dict leaves out."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(n_classes)
        self.register_buffer("scale", torch.ones(1), persistent=False)


def without_norm(n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, n_classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Wrapped(nn.Module):
    """Every name of the network begins with what wrappers are called; the file's names are its own all the same."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.model = TinyCNN(n_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)


def test_a_registered_network_is_converted_loaded_and_judged(tmp_path: Path) -> None:
    api.register("test-tiny", TinyCNN)
    network, images = tiny(), random_images(5, 32)
    file = write(tmp_path / "tiny.safetensors", {f"module.{k}": v for k, v in network.state_dict().items()})
    card = convert(file, tmp_path, request(architecture="test-tiny", data="shapes"))
    bench, _ = api.open_bench("mine", torch.device("cpu"), n=16, root=tmp_path)
    with torch.no_grad():
        wanted = network(images)
        for branch in Branch:
            assert torch.equal(bench.view(branch_setting(branch))(images), wanted)
        test = bench.test.tensors(0, 16)
        right = int((network(test[0]).argmax(1) == test[1]).sum())
    assert bench.evaluate(branch_setting(Branch.CLEAN), None, 16, 0).n_correct == right
    assert card.architecture == "test-tiny"


def test_a_networks_own_names_come_before_any_prefix(tmp_path: Path) -> None:
    api.register("test-wrapped", Wrapped)
    network = from_seed(lambda: Wrapped(10)).eval()
    convert(write(tmp_path / "a.safetensors", network.state_dict()), tmp_path, request(architecture="test-wrapped"))
    model, _ = api.load_checkpoint(tmp_path / "mine", torch.device("cpu"))
    images = random_images(2, 32)
    with torch.no_grad():
        assert torch.equal(api.at(model, branch_setting(Branch.ADV))(images), network(images))
    wish = request(name="b", architecture="test-wrapped", mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(InputError, match="has no first layer for --mean and --std"):
        convert(tmp_path / "a.safetensors", tmp_path, wish)


def test_a_name_is_given_once() -> None:
    api.register("test-once", TinyCNN)
    with pytest.raises(InputError, match="There is an architecture 'test-once' already"):
        api.register("test-once", TinyCNN)
    with pytest.raises(InputError, match="There is an architecture 'resnet20' already"):
        api.register("resnet20", TinyCNN)
    with pytest.raises(TypeError):
        ARCHITECTURES["resnet20"] = TinyCNN  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    assert not isinstance(from_seed(lambda: build("resnet20", 10)), TinyCNN)


def test_of_many_threads_one_registers() -> None:
    def attempt() -> bool:
        try:
            api.register("test-raced", TinyCNN)
        except InputError:
            return False
        return True

    assert sum(in_threads([attempt] * 8)) == 1


@pytest.mark.parametrize(
    ("name", "builder", "sentence"),
    [
        ("../x", TinyCNN, "consists of letters"),
        ("test-bare", without_norm, "has no nn.BatchNorm2d layer"),
        ("test-forgetful", Forgetful, "the buffer 'scale' is not in the state dict"),
    ],
)
def test_what_could_not_be_loaded_back_is_refused(
    name: str, builder: Callable[[int], nn.Module], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        api.register(name, builder)
    assert name not in ARCHITECTURES
