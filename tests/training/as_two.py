"""Trains what tests/training/test_parallel.py asks for in one of several gloo processes; rank 0 writes the tensors.

Run as: RANK=0 WORLD_SIZE=2 ... python -m tests.training.as_two OUT.safetensors '{"dual-bn": {"epochs": 1}}'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from engine.training.parallel import here, processes
from tests.training.support import config, trained


def tensors_of(runs: dict[str, dict[str, Any]]) -> dict[str, Tensor]:
    """What each run leaves: weights, NS of both branches and, as `log`, its losses and accuracies."""
    found: dict[str, Tensor] = {}
    for name, changes in runs.items():
        model, rows = trained(config(**changes))
        found |= {f"{name}/{key}": tensor.detach().contiguous() for key, tensor in model.state_dict().items()}
        logged = [[row.loss, row.clean_accuracy, row.robust_accuracy] for row in rows]
        found[f"{name}/log"] = torch.tensor(logged, dtype=torch.float64)
    return found


if __name__ == "__main__":
    with processes(torch.device("cpu")):
        found = tensors_of(json.loads(sys.argv[2]))
        if here().first:
            Path(sys.argv[1]).write_bytes(save(found))
