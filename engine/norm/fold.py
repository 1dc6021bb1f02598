"""Folding: batch norms of a plain eval-mode view merged into the convolutions before them.

Usage::

    fast = fold(at(model, setting))      # same logits up to rounding; no batch norm left where a conv precedes it
    folder = Folder(model)               # for a loop that owns `model`: traced once,
    fast = folder.at(setting)            # weights written anew at each call
"""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from engine.norm.head import DualLinear
from engine.norm.layer import DualBatchNorm2d
from engine.norm.trace import traced
from engine.norm.views import at, dual_layers, substitute
from engine.values import Branch, InputError, NormSetting, Stored, branch_setting


def fold(view: nn.Module) -> nn.Module:
    """A frozen copy with conv + batch norm pairs merged, channels last; for crafting, not for verdicts.

    Pre-activation networks keep the norms that follow no convolution. Raises InputError for a network in train mode or
    one that cannot be traced.
    """
    if any(module.training for module in view.modules()):
        raise InputError("Only a network in eval mode can be folded; make a view with at().")
    copied = copy.deepcopy(view)
    merged: dict[str, nn.Module] = {}
    for conv_name, norm_name in _pairs(view):
        conv, norm = copied.get_submodule(conv_name), copied.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        merged[conv_name], merged[norm_name] = fuse_conv_bn_eval(conv, norm), nn.Identity().eval()
    folded = substitute(copied, lambda name, _: merged.get(name))
    return folded.to(memory_format=torch.channels_last).requires_grad_(False)  # pyright: ignore[reportCallIssue]


def channels_last(images: Tensor) -> Tensor:
    """The same images in the memory format that folded networks are fastest with."""
    return images.contiguous(memory_format=torch.channels_last)


def _pairs(view: nn.Module) -> list[tuple[str, str]]:
    """(conv, norm) names that folding merges: each is used once, and the norm is the convolution's only reader."""
    graph = traced(view)
    modules = dict(view.named_modules())
    calls = {node: modules[str(node.target)] for node in graph.nodes if node.op == "call_module"}
    used = Counter(node.target for node in calls)
    found: list[tuple[str, str]] = []
    for node, norm in calls.items():
        source = node.args[0]
        if isinstance(norm, nn.BatchNorm2d) and isinstance(source, fx.Node) and len(source.users) == 1:
            once = used[node.target] == used[source.target] == 1
            if once and isinstance(calls.get(source), nn.Conv2d):
                found.append((str(source.target), str(node.target)))
    return found


class Folder:
    """Folds one network at many settings without tracing it again; owned by one loop, not shared between threads.

    Only stored statistics: `at` writes the weights of the same folded network at every call.
    """

    def __init__(self, model: nn.Module) -> None:
        view = at(model, branch_setting(Branch.ADV))
        self.layers: dict[str, DualBatchNorm2d] = dict(dual_layers(model))
        self.heads = {name: module for name, module in model.named_modules() if isinstance(module, DualLinear)}
        self.parameters = dict(model.named_parameters())
        self.convs = {norm: model.get_submodule(conv) for conv, norm in _pairs(view)}
        self.folded = fold(view)
        self.targets = {norm: self.folded.get_submodule(conv) for conv, norm in _pairs(view)}

    def at(self, setting: NormSetting) -> nn.Module:
        """The folded network at `setting`; valid until the next call."""
        for name, layer in self.layers.items():
            statistics = setting.layer_statistics(name)
            if not isinstance(statistics, Stored):
                raise InputError("Folding again and again needs stored NS.")
            bn = layer.frozen(setting.layer_affine(name), statistics.lam)
            if name in self.targets:
                self._write(name, bn)
            else:
                kept = self.folded.get_submodule(name)
                for attribute in ("weight", "bias", "running_mean", "running_var"):
                    getattr(kept, attribute).data.copy_(getattr(bn, attribute).detach())
        self._write_plain(setting.affine)
        return self.folded

    def _write(self, name: str, bn: nn.BatchNorm2d) -> None:
        conv, target = self.convs[name], self.targets[name]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(target, nn.Conv2d)
        assert target.bias is not None
        assert bn.running_mean is not None
        assert bn.running_var is not None
        with torch.no_grad():
            weight, bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
            )
            target.weight.copy_(weight)
            target.bias.copy_(bias)

    def _write_plain(self, affine: float) -> None:
        """Copies the parameters of everything that is neither a dual norm nor a folded convolution."""
        done = {id(target) for target in self.targets.values()}
        with torch.no_grad():
            for name, module in self.folded.named_modules():
                if id(module) in done or isinstance(module, nn.BatchNorm2d):
                    continue
                mixed = dict(self.heads[name].frozen(affine).named_parameters()) if name in self.heads else {}
                for key, parameter in module.named_parameters(recurse=False):
                    parameter.copy_(mixed[key] if mixed else self.parameters[f"{name}.{key}".lstrip(".")])
