"""The methods of attribution in plain words, and the NS that a network can be asked at."""

from __future__ import annotations

from app.selection import HELD, OWN
from engine import api

NS = {**HELD["ap"], "the branch's own": OWN}
METHODS: dict[str, api.MethodName] = {
    "gradient": "saliency",
    "SmoothGrad": "smoothgrad",
    "integrated gradients": "integrated-gradients",
    "Grad-CAM": "grad-cam",
    "occlusion": "occlusion",
}
ABOUT: dict[api.MethodName, tuple[str, str]] = {
    "saliency": (
        "**Gradient** (saliency): would the class's score rise if this pixel were a little brighter? Green: yes; "
        "purple: it would fall.",
        "logits per unit of brightness",
    ),
    "smoothgrad": (
        "**SmoothGrad**: the gradient, averaged over 32 copies of the image with noise of size 0.05, so that what "
        "holds for one exact image alone cancels out.",
        "logits per unit of brightness",
    ),
    "integrated-gradients": (
        "**Integrated gradients**: starts from the image's mean colour, with nothing to see, and credits every pixel "
        "with what it adds to the class's score on the way to the image. All pixels together add up to the whole "
        "gain.",
        "logits",
    ),
    "grad-cam": (
        "**Grad-CAM**: which places of the last block's feature map raise the class's score. That map is only a few "
        "cells wide, so this is the coarsest view.",
        "logits",
    ),
    "occlusion": (
        "**Occlusion**: a 5 × 5 square of the image's mean colour covers the image place by place; green where the "
        "class's score drops without what it hides.",
        "logits lost when covered",
    ),
}
"""Method -> what it shows, in plain words, and the unit of its values."""
