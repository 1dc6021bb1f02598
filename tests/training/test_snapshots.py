"""Snapshots against plain batch norms with momentum 1, and their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.norm import at
from engine.training.snapshots import keep, load_snapshots, take
from engine.values import DUAL_BN, Branch, InputError, branch_setting
from tests.support import dual, snapshot
from tests.training.support import coloured


def test_clean_statistics_are_those_of_a_batchnorm_with_momentum_one() -> None:
    """The paper's code: the network in train mode with momentum 1, so that the buffers equal the batch's statistics."""
    model, data = dual(DUAL_BN).train(), coloured(128)
    before = snapshot(model)
    found = take(model, data, 8 / 255)
    assert snapshot(model) == before
    plain = at(model, branch_setting(Branch.ADV))
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean, module.running_var = module.running_mean.clone(), torch.ones(module.num_features)
            module.momentum = 1.0
            module.train()
    plain(data.tensors(0, 128)[0])
    for name, module in plain.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            torch.testing.assert_close(found[name][0], module.running_mean, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found[name][1], module.running_var, rtol=1e-4, atol=1e-5)
            assert not torch.allclose(found[name][0], found[name][2])


def test_epochs_are_added_once_and_survive_in_order(tmp_path: Path) -> None:
    path, data = tmp_path / "snapshots.npz", coloured(64)
    for epoch, seed in ((1, 1), (2, 2), (2, 3), (3, 1)):
        keep(path, epoch, dual(DUAL_BN, seed), data, 8 / 255)
    layers = load_snapshots(path)
    assert list(layers) == ["bn1", "bn2"]
    rows = layers["bn2"]
    assert rows.epochs.tolist() == [1, 2, 3]
    assert rows.clean_mean.shape == rows.adv_var.shape == (3, 6)
    np.testing.assert_array_equal(rows.adv_mean[0], rows.adv_mean[2])
    assert not np.array_equal(rows.adv_mean[0], rows.adv_mean[1])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"{}"])
def test_damaged_files_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "snapshots.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read|is damaged"):
        load_snapshots(path)
