"""The resumable state of a run: one safetensors file, written whole or not at all.

Usage::

    save_state(path, step, tensors, log);  step, tensors, log = load_state(path, expected)
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from engine.files import write_atomic
from engine.training.config import TrainConfig
from engine.values import InputError

Tensors = dict[str, Tensor]


def gather(model: nn.Module, averaged: nn.Module | None, optimizer: torch.optim.Optimizer) -> Tensors:
    """All tensors that a run goes on from: model, running average, momentum."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    if averaged is not None:
        tensors |= {f"averaged.{k}": v for k, v in averaged.state_dict().items()}
    for index, parameter in enumerate(model.parameters()):
        if parameter in optimizer.state:
            tensors[f"momentum.{index}"] = optimizer.state[parameter]["momentum_buffer"]
    return tensors


def restore(tensors: Tensors, model: nn.Module, averaged: nn.Module | None, optimizer: torch.optim.Optimizer) -> None:
    """The reverse of `gather`, strictly."""
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    if averaged is not None:
        averaged.load_state_dict({k[9:]: v for k, v in tensors.items() if k.startswith("averaged.")})
    for index, parameter in enumerate(model.parameters()):
        if f"momentum.{index}" in tensors:
            momentum = tensors[f"momentum.{index}"].to(parameter.device)
            optimizer.state[parameter]["momentum_buffer"] = momentum.clone(memory_format=torch.preserve_format)


def _same(old: Any, new: dict[str, object]) -> bool:
    """Whether a configuration as it was saved is this one; fields that are new since then had their defaults."""
    if not isinstance(old, dict) or set(old) - set(new):  # pyright: ignore[reportUnknownArgumentType]
        return False
    defaults = {f.name: f.default for f in fields(TrainConfig)}
    return all(old.get(name, defaults[name]) == value for name, value in new.items())  # pyright: ignore[reportUnknownMemberType]


def save_state(path: Path, config: dict[str, object], step: int, tensors: Tensors, log: list[list[float]]) -> None:
    meta = {"step": str(step), "log": json.dumps(log), "config": json.dumps(config, sort_keys=True)}
    write_atomic(path, serialise({k: v.contiguous() for k, v in tensors.items()}, metadata=meta))


def load_state(path: Path, config: dict[str, object]) -> tuple[int, Tensors, list[list[float]]]:
    """(step, tensors, log). InputError where the file is damaged or belongs to another configuration."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step, log, made_with = int(meta["step"]), json.loads(meta["log"]), json.loads(meta["config"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it to start the run again.") from None
    if not _same(made_with, config):
        raise InputError(f"{path} belongs to another configuration; delete it or restore the configuration.")
    return step, tensors, log
