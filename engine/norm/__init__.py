"""Dual batch normalization: the layer, the views that make a plain network of it, and folding."""

from engine.norm.fold import Folder, channels_last, fold
from engine.norm.fuse import fused, half
from engine.norm.head import DualLinear
from engine.norm.layer import DualBatchNorm2d
from engine.norm.views import at, branch_view, dual_layers, joint_view, substitute, to_dual_bn

__all__ = [
    "DualBatchNorm2d",
    "DualLinear",
    "Folder",
    "at",
    "branch_view",
    "channels_last",
    "dual_layers",
    "fold",
    "fused",
    "half",
    "joint_view",
    "substitute",
    "to_dual_bn",
]
