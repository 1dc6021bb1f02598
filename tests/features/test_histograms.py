"""Histograms of what enters each norm layer, against numpy on inputs taken by a hook."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import nn

from engine.features import edges, histograms
from engine.norm import at
from engine.values import DUAL_BN, Branch, branch_setting
from tests.support import dual, random_images, snapshot


def see(kept: list[torch.Tensor], _: nn.Module, args: tuple[torch.Tensor]) -> None:
    kept.append(args[0])


def test_counts_are_numpys_with_all_beyond_in_the_outermost_bins() -> None:
    model = dual(DUAL_BN)
    before = snapshot(model)
    view = at(model, branch_setting(Branch.ADV))
    batches = [random_images(5, seed=0), random_images(3, seed=1)]
    counts = histograms(view, batches)
    assert snapshot(model) == before
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in counts}
    layers = {name: module for name, module in view.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(partial(see, seen[name]))
    with torch.no_grad():
        for batch in batches:
            view(batch)
    for name in layers:
        values = torch.cat(seen[name]).double().transpose(0, 1).flatten(1).numpy()
        for channel, bounds in enumerate(edges(view, name).numpy()):
            inside = np.clip(values[channel], bounds[0], np.nextafter(bounds[-1], -np.inf))
            expected, _ = np.histogram(inside, bounds)
            # float rounding may move a value that lies on an edge to the neighbouring bin
            assert np.abs(np.cumsum(expected) - np.cumsum(counts[name][channel].numpy())).max() <= 1
            assert counts[name][channel].sum() == values.shape[1]
