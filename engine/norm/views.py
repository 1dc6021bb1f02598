"""Views: plain networks made from a dual network without copying or touching it.

Usage::

    view = at(model, NormSetting(affine=0.5, statistics=Stored(1.0)))   # plain CNN, eval mode, no gradients
    view(images)                                                        # (n, k) logits

A view has new module objects and shares every tensor it does not replace, so any number of threads can hold
different views of one model. Known limit: a closure or bound method stored on a module still calls the original.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]

from engine.norm.head import DualLinear
from engine.norm.layer import DualBatchNorm2d, plain_batchnorm
from engine.values import Branch, InputError, NormDesign, NormSetting, Stored

LayerStatistics = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
"""Layer name -> (mean, var), each (c,): statistics measured anew, to be used in place of stored ones."""


def substitute(model: nn.Module, replace: Callable[[str, nn.Module], nn.Module | None]) -> nn.Module:
    """A copy of the module structure that shares every parameter and buffer, with chosen modules replaced.

    `replace(name, module)` answers None to leave a module as it is. A module used twice is replaced once.
    """
    memo: dict[int, object] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    for name, module in model.named_modules():
        new = replace(name, module)
        if new is not None:
            memo[id(module)] = new
    return copy.deepcopy(model, memo)


def dual_layers(model: nn.Module) -> Iterator[tuple[str, DualBatchNorm2d]]:
    """Names and dual layers in forward order of registration."""
    for name, module in model.named_modules():
        if isinstance(module, DualBatchNorm2d):
            yield name, module


def _refusal(module: nn.Module) -> str | None:
    """Why a module cannot be converted, or None."""
    if isinstance(module, DualBatchNorm2d):
        return "is dual already"
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel | torch.fx.GraphModule) or hasattr(
        module, "_orig_mod"
    ):
        return "wraps a network; convert the network inside it"
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, kind) for kind in kinds):
        return "has hooks, which a copy would carry along; remove them first"
    if type(module) is nn.BatchNorm2d:
        if module.momentum is None:
            return "averages cumulatively (momentum=None); set a momentum"
        if not module.affine or not module.track_running_stats or module.running_mean is None:
            return "has no affine parameters or no running statistics"
    elif isinstance(module, _NormBase) and not isinstance(module, nn.BatchNorm1d):
        return f"is a {type(module).__name__}, not exactly nn.BatchNorm2d"
    return None


def to_dual_bn(model: nn.Module, design: NormDesign) -> nn.Module:
    """A copy of any plain CNN in which each `nn.BatchNorm2d` is a dual layer whose branches start as its clones.

    Where the design does not share the head, the last `nn.Linear` is doubled as well. The input is left untouched.
    Raises InputError naming the layer where a norm layer cannot be converted.
    """
    for name, module in model.named_modules():
        reason = _refusal(module)
        if reason:
            raise InputError(f"Layer {name or '(the network)'!r} {reason}.")
    if not any(type(module) is nn.BatchNorm2d for module in model.modules()):
        raise InputError("The network has no nn.BatchNorm2d layer to convert.")

    heads = [name for name, module in model.named_modules() if type(module) is nn.Linear]
    if not heads and not design.share_head:
        raise InputError("The network has no nn.Linear head to double.")

    def replace(name: str, module: nn.Module) -> nn.Module | None:
        if not design.share_head and name == heads[-1]:
            assert isinstance(module, nn.Linear)
            return DualLinear.from_linear(module)
        return DualBatchNorm2d.from_batchnorm(module, design) if type(module) is nn.BatchNorm2d else None

    return substitute(copy.deepcopy(model), replace)


def at(model: nn.Module, setting: NormSetting, measured: LayerStatistics | None = None) -> nn.Module:
    """The plain eval-mode CNN that `model` is at `setting`: dual layers become `nn.BatchNorm2d` with mixed tensors.

    Where the setting re-estimates NS they come from `measured` (see `engine.evaluation.view_at`). Parameters of the
    view do not require gradients unless shared with the model. Raises InputError for an unknown layer name.
    """
    names = {name for name, _ in dual_layers(model)}
    unknown = [name for name, _ in setting.overrides if name not in names]
    if unknown:
        raise InputError(f"The network has no dual layer {unknown[0]!r}; it has {', '.join(sorted(names))}.")

    def replace(name: str, module: nn.Module) -> nn.Module | None:
        if isinstance(module, DualLinear):
            return module.frozen(setting.affine)
        if not isinstance(module, DualBatchNorm2d):
            return None
        affine, statistics = setting.layer_affine(name), setting.layer_statistics(name)
        if isinstance(statistics, Stored):
            try:
                return module.frozen(affine, statistics.lam)
            except InputError as error:
                raise InputError(f"Layer {name!r}: {error}") from None
        if measured is None:
            raise InputError("This setting re-estimates NS, so it needs calibration images.")
        mean, var = measured[name]
        weight_bias = module.frozen(affine, 0.0)
        return plain_batchnorm(mean, var, weight_bias.weight, weight_bias.bias, module.eps, module.momentum)

    return substitute(model, replace).eval()


def branch_view(model: nn.Module, branch: Branch) -> nn.Module:
    """Training view of one branch: plain batch norms over the live parameters and statistics (a separate batch)."""
    return substitute(model, lambda _, m: m.live(branch) if isinstance(m, DualBatchNorm2d | DualLinear) else None)


class _Joint(nn.Module):
    """Calls a dual layer on a joint batch; shares its tensors."""

    def __init__(self, layer: DualBatchNorm2d | DualLinear, crossed: bool) -> None:
        super().__init__()
        self.layer = layer
        self.crossed = crossed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.crossed and isinstance(self.layer, DualBatchNorm2d):
            return self.layer.crossed(x)
        return self.layer.joint(x)


def joint_view(model: nn.Module, crossed: bool = False) -> nn.Module:
    """Training view for cat([clean, adversarial]), equal halves: shared statistics pool both (a joint batch).

    crossed: the statistics are those of the clean half, for both halves (cross-NS, arXiv 2403.19150's Cross-AT).
    """

    def replace(_: str, module: nn.Module) -> nn.Module | None:
        if not isinstance(module, DualBatchNorm2d | DualLinear):
            return None
        copied = substitute(module, lambda *_: None)
        assert isinstance(copied, DualBatchNorm2d | DualLinear)
        return _Joint(copied, crossed)

    return substitute(model, replace)
