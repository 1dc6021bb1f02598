"""Which pixels speak for a class, and which against it: five methods of captum 0.9, asked of one plain network.

Usage::

    maps = attribute(bench.view(setting), "integrated-gradients", images, classes, generator=seeded(0, 0))
    maps.values[i].sum()        # with integrated gradients: the logit of the image less that of the baseline

captum is imported when a map is asked for (it takes a second and brings matplotlib). It puts hooks on the modules it is
given; here these are modules of our own that share the network's tensors, so that nobody else ever sees a hook.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.norm.views import substitute
from engine.values import InputError

Floats = npt.NDArray[np.float32]
MethodName = Literal["saliency", "smoothgrad", "integrated-gradients", "grad-cam", "occlusion"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
RESPONSES: tuple[MethodName, ...] = ("saliency", "smoothgrad", "integrated-gradients")
"""The methods that give a response map, fine enough to hold a grating."""
BaselineName = Literal["mean", "black"]
"""What stands for 'nothing to see': the image's own mean colour, or black."""
SMOOTH_N, SMOOTH_SIZE = 32, 0.05
"""SmoothGrad: noisy copies an image, and their noise's standard deviation."""
PATH_N = 64
"""Integrated gradients: points on the path (Gauss-Legendre)."""
PATCH, STRIDE = 5, 2
"""Occlusion: side of the covered square and how far it moves, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Signed maps (n, h, w), summed over colours: above 0 a pixel speaks for the class, below 0 against it.

    values: for `saliency` and `smoothgrad` logits gained per unit of brightness; for `integrated-gradients` logits
    (they add up to the logit less the baseline's); for `grad-cam` logits (their mean is the logit less the bias where
    the last block is pooled and read linearly); for `occlusion` logits lost where the pixel is covered.
    response: logits gained per unit of brightness, what the network listens to whatever the image shows there; None
    where the method is too coarse to say.
    """

    values: Floats
    response: Floats | None


def attribute(
    network: nn.Module,
    method: MethodName,
    images: Tensor,
    classes: Tensor,
    *,
    generator: torch.Generator,
    baseline: BaselineName = "mean",
) -> Maps:
    """Maps of the logits of `classes` (n,) at images (n, c, h, w) in [0, 1]; the network is left as it was.

    saliency: the gradient (Simonyan et al. 2014, arXiv 1312.6034), signed. smoothgrad: its mean over noisy copies
    (Smilkov et al. 2017, arXiv 1706.03825), noise from `generator` (captum's own draws from the global one).
    integrated-gradients: Sundararajan et al. 2017, arXiv 1703.01365. grad-cam: Selvaraju et al. 2017, arXiv 1610.02391,
    at the last block, without its final ReLU, enlarged bilinearly. occlusion: Zeiler and Fergus 2014, arXiv 1311.2901.
    `baseline` is where integrated gradients start and what occlusion covers with. InputError for an unknown method.
    """
    if method not in METHODS:
        raise InputError(f"There is no attribution method {method!r}; choose one of {', '.join(METHODS)}.")
    own = substitute(network, lambda *_: None)
    images = images.detach()
    colour = images.mean(dim=(2, 3), keepdim=True) if baseline == "mean" else torch.zeros_like(images[:, :, :1, :1])
    nothing = colour.expand_as(images).clone()
    if method == "grad-cam":
        return Maps(_floats(_grad_cam(own, images, classes)), None)
    if method == "occlusion":
        return Maps(_floats(_occlusion(own, images, classes, nothing).sum(1)), None)
    if method == "saliency":
        gradient = _saliency(own, images, classes)
    elif method == "smoothgrad":
        gradient = _smoothgrad(own, images, classes, generator)
    else:
        gradient = _path_gradient(own, images, classes, nothing)
        return Maps(_floats(((images - nothing) * gradient).sum(1)), _floats(gradient.sum(1)))
    response = _floats(gradient.sum(1))
    return Maps(response, response)


def _floats(values: Tensor) -> Floats:
    return values.detach().cpu().numpy().astype(np.float32)


def _saliency(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Gradient (n, c, h, w) of each image's logit."""
    from captum.attr import Saliency

    return Saliency(network).attribute(images.clone().requires_grad_(), classes, abs=False).detach()


def _smoothgrad(network: nn.Module, images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Mean gradient over SMOOTH_N noisy copies, the same noise for every image of one shape and seed."""
    total = torch.zeros_like(images)
    for _ in range(SMOOTH_N):
        noise = torch.randn(images.shape, generator=generator, device=generator.device).to(images)
        total += _saliency(network, images + SMOOTH_SIZE * noise, classes)
    return total / SMOOTH_N


def _path_gradient(network: nn.Module, images: Tensor, classes: Tensor, nothing: Tensor) -> Tensor:
    """Mean gradient (n, c, h, w) on the straight way from the baseline to the image."""
    from captum.attr import IntegratedGradients

    return (
        IntegratedGradients(network, multiply_by_inputs=False)
        .attribute(images.clone().requires_grad_(), nothing, classes, n_steps=PATH_N, internal_batch_size=64)
        .detach()
    )


def _occlusion(network: nn.Module, images: Tensor, classes: Tensor, nothing: Tensor) -> Tensor:
    """Logits lost under the covering square, averaged over the squares that cover a pixel; the same for every colour,
    so that a third of it stands at each."""
    from captum.attr import Occlusion

    channels, height, width = images.shape[1:]
    side = min(PATCH, height, width)
    step = min(STRIDE, side)
    lost = Occlusion(network).attribute(
        images, (channels, side, side), (channels, step, step), nothing, classes,
        perturbations_per_eval=max(1, 64 // len(images)),
    )  # fmt: skip
    return lost.detach() / channels


def _grad_cam(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Grad-CAM (n, h, w) at the last block, enlarged to the images' size."""
    from captum.attr import LayerGradCam

    coarse = LayerGradCam(network, last_block(network)).attribute(images.clone().requires_grad_(), classes)
    assert isinstance(coarse, Tensor)
    return F.interpolate(coarse.detach(), images.shape[2:], mode="bilinear", align_corners=False)[:, 0]


class Even(nn.Module):
    """The network that weighs all pixels alike: one logit, their sum."""

    def forward(self, images: Tensor) -> Tensor:
        return images.sum(dim=(1, 2, 3))[:, None]


def last_block(network: nn.Module) -> nn.Module:
    """The last of the network's `blocks`, else its last convolution. InputError where it has neither."""
    blocks = getattr(network, "blocks", None)
    if isinstance(blocks, nn.Sequential) and len(blocks):
        return blocks[-1]
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise InputError("Grad-CAM needs a convolution, and this network has none.")
    return convolutions[-1]
