"""Re-estimated normalization statistics: the same affine parameters, statistics measured anew.

Usage::

    measured = reestimate(model, setting, batches)      # layer -> (mean, var)
    view = at(model, setting, measured)
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from engine.norm.head import DualLinear
from engine.norm.layer import DualBatchNorm2d
from engine.norm.views import LayerStatistics, substitute
from engine.values import InputError, NormSetting, Stored


def reestimate(model: nn.Module, setting: NormSetting, batches: Iterable[Tensor]) -> LayerStatistics:
    """(mean, var) of every layer that `setting` re-estimates, at the AP of `setting`; nothing is written to `model`.

    One cumulative pass: each batch (n, c, h, w), n >= 2, is normalised by its own statistics and enters the average
    with equal weight, as in `torch.optim.swa_utils.update_bn`. Layers pinned to stored NS stay in eval mode.
    """
    collecting: dict[str, nn.BatchNorm2d] = {}

    def replace(name: str, module: nn.Module) -> nn.Module | None:
        if isinstance(module, DualLinear):
            return module.frozen(setting.affine)
        if not isinstance(module, DualBatchNorm2d):
            return None
        statistics = setting.layer_statistics(name)
        bn = module.frozen(setting.layer_affine(name), statistics.lam if isinstance(statistics, Stored) else 0.0)
        if not isinstance(statistics, Stored):
            bn.running_mean, bn.running_var = torch.zeros_like(bn.weight), torch.ones_like(bn.weight)
            bn.momentum = None
            collecting[name] = bn
        return bn

    view = substitute(model, replace).eval()
    for bn in collecting.values():
        bn.train()
    n_batches = 0
    with torch.no_grad():
        for batch in batches:
            view(batch)
            n_batches += 1
    if n_batches == 0:
        raise InputError("Re-estimating NS needs at least one batch of calibration images.")
    measured: dict[str, tuple[Tensor, Tensor]] = {}
    for name, bn in collecting.items():
        assert bn.running_mean is not None
        assert bn.running_var is not None
        measured[name] = bn.running_mean, bn.running_var
    return measured
