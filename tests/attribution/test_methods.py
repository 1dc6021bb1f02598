"""Attribution against closed forms: linear networks, completeness, class activation maps, other threads."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.attribution import METHODS, MethodName, attribute, methods
from engine.norm import at
from engine.values import Branch, InputError, branch_setting
from tests.support import dual, dual_resnet, from_seed, generator, in_threads, random_images, random_labels, snapshot


def linear(side: int = 8) -> tuple[nn.Module, Tensor]:
    """A network that is one weight a pixel and class, and its weights (k, 3, h, w)."""
    head = from_seed(lambda: nn.Linear(3 * side * side, 4))
    assert isinstance(head, nn.Linear)
    return nn.Sequential(nn.Flatten(), head).eval(), head.weight.detach().view(4, 3, side, side)


@pytest.mark.parametrize("baseline", ["mean", "black"])
def test_on_a_linear_network_every_method_has_a_closed_form(baseline: methods.BaselineName) -> None:
    network, weights = linear()
    images, classes = random_images(5), random_labels(5, 4)
    chosen = weights[classes]
    nothing = images.mean((2, 3), keepdim=True) if baseline == "mean" else torch.zeros(5, 3, 1, 1)
    product = (chosen * (images - nothing)).sum(1).numpy()
    for method in ("saliency", "smoothgrad", "integrated-gradients"):
        maps = attribute(network, method, images, classes, generator=generator(), baseline=baseline)
        assert maps.response is not None
        np.testing.assert_allclose(maps.response, chosen.sum(1).numpy(), atol=1e-5)
        wanted = product if method == "integrated-gradients" else chosen.sum(1).numpy()
        np.testing.assert_allclose(maps.values, wanted, atol=1e-5)
    covered = attribute(network, "occlusion", images, classes, generator=generator(), baseline=baseline).values
    starts = [0, 2, 4]  # squares of 5 pixels moved by 2 in 8 pixels, the last one cut off at the edge
    for row, column in ((0, 0), (4, 7), (3, 3)):
        around = [(r, c) for r in starts for c in starts if 0 <= row - r < 5 and 0 <= column - c < 5]
        lost = [product[:, r : r + 5, c : c + 5].sum((1, 2)) for r, c in around]
        np.testing.assert_allclose(covered[:, row, column], np.mean(lost, axis=0), atol=1e-4)


@pytest.mark.parametrize("branch", list(Branch))
def test_integrated_gradients_are_complete(branch: Branch) -> None:
    """Their sum is the logit less the baseline's (Sundararajan et al. 2017, axiom 1), up to the sum over the path."""
    network = at(dual_resnet(), branch_setting(branch))
    images, classes = random_images(3, 32), random_labels(3)
    nothing = images.mean((2, 3), keepdim=True).expand_as(images)
    with torch.no_grad():
        gained = (network(images) - network(nothing)).gather(1, classes[:, None])[:, 0].numpy()
    maps = attribute(network, "integrated-gradients", images, classes, generator=generator())
    error = np.abs(maps.values.sum((1, 2)) - gained)
    assert error.max() < 0.05 * np.abs(gained).max()
    saliency = attribute(network, "saliency", images, classes, generator=generator()).values
    assert np.abs((saliency * (images - nothing).sum(1).numpy()).sum((1, 2)) - gained).max() > 3 * error.max()


class Pooled(nn.Module):
    """Convolution, ReLU, average pool, linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.ReLU()))
        self.head = nn.Linear(5, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(images).mean((2, 3)))


def test_grad_cam_of_a_pooled_network_is_its_class_activation_map() -> None:
    """Before a linear head on averages Grad-CAM is CAM (Selvaraju et al. 2017, section 3.1), by hand: sum_k w_k A_k
    over z positions, divided by z; the enlargement keeps the corners."""
    network = from_seed(Pooled).eval()
    assert isinstance(network, Pooled)
    images, classes = random_images(3), random_labels(3, 4)
    with torch.no_grad():
        features = network.blocks(images)
        expected = torch.einsum("nk,nkhw->nhw", network.head.weight[classes], features) / features[0, 0].numel()
    found = attribute(network, "grad-cam", images, classes, generator=generator()).values
    assert found.shape == (3, 8, 8)
    np.testing.assert_allclose(found[:, 0, 0], expected[:, 0, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(found[:, -1, -1], expected[:, -1, -1].numpy(), atol=1e-6)
    enlarged = F.interpolate(expected[:, None], (8, 8), mode="bilinear", align_corners=False)[:, 0]
    np.testing.assert_allclose(found, enlarged.numpy(), atol=1e-6)
    assert found.min() < 0, "nothing is cut off below zero"


def test_smoothgrad_is_drawn_from_its_seed_alone() -> None:
    network, images, classes = at(dual(), branch_setting(Branch.ADV)), random_images(2), random_labels(2)
    state = torch.random.get_rng_state()
    maps = [attribute(network, "smoothgrad", images, classes, generator=generator(s)).values for s in (1, 1, 2)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.abs(maps[0] - maps[2]).max() > 0
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("method", METHODS)
def test_threads_on_one_network_do_not_see_each_other(method: MethodName, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks, gradients and modes of the shared view, before, during and after."""
    monkeypatch.setattr(methods, "SMOOTH_N", 4)
    monkeypatch.setattr(methods, "PATH_N", 8)
    view = at(dual().requires_grad_(False), branch_setting(Branch.ADV))
    images = random_images(2)
    before = snapshot(view)

    def maps(label: int) -> np.ndarray:
        classes = torch.tensor([label, label])
        return attribute(view, method, images, classes, generator=generator(label)).values

    alone = [maps(label) for label in range(4)]
    barrier = threading.Barrier(4)

    def together(label: int) -> np.ndarray:
        barrier.wait(30)
        found = maps(label)
        for _ in range(2):
            found = maps(label)
            assert snapshot(view) == before
        return found

    for one, other in zip(alone, in_threads([partial(together, label) for label in range(4)]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert snapshot(view) == before
    assert not images.requires_grad


def test_what_cannot_be_asked_is_said() -> None:
    network, _ = linear()
    images, classes = random_images(1), random_labels(1, 4)
    with pytest.raises(InputError, match="no attribution method 'lime'; choose one of saliency"):
        attribute(network, "lime", images, classes, generator=generator())  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="needs a convolution"):
        attribute(network, "grad-cam", images, classes, generator=generator())
