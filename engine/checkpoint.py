"""Checkpoints on disk: one folder each, safetensors and JSON, loaded strictly and never unpickled.

Usage::

    save_checkpoint(folder, model, card)
    model, card = load_checkpoint(folder, torch.device("cpu"))     # eval mode, no parameter gradients

A folder holds weights.safetensors, card.json (`engine.cards.ModelCard`), golden.npz (logits on fixed images), log.csv,
train.toml and, once made, sweep.jsonl and strip.npz.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor, nn

from engine.cards import ModelCard
from engine.data import shapes
from engine.files import parse_json, sha256, write_atomic
from engine.models import ARCHITECTURES, build
from engine.norm import at, to_dual_bn
from engine.values import DESIGNS, InputError, NormSetting, Stored

WEIGHTS, CARD, GOLDEN = "weights.safetensors", "card.json", "golden.npz"
GOLDEN_LAMBDAS = (0.0, 0.5, 1.0)
N_GOLDEN = 8


def dual_network(architecture: str, n_classes: int, design: str) -> nn.Module:
    """A fresh dual network of a registered architecture. InputError for unknown names."""
    if architecture not in ARCHITECTURES or design not in DESIGNS:
        raise InputError(f"There is no network {architecture!r} with design {design!r} in this version.")
    return to_dual_bn(build(architecture, n_classes), DESIGNS[design])


def golden_logits(model: nn.Module) -> npt.NDArray[np.float32]:
    """Logits (3, 8, k) of the first built-in test images at AP and NS lambda 0, 1/2 and 1."""
    images, _ = shapes.load("test", N_GOLDEN).tensors(0, N_GOLDEN)
    device = next(model.parameters()).device
    with torch.no_grad():
        rows = [at(model, NormSetting(lam, Stored(lam)))(images.to(device)).cpu() for lam in GOLDEN_LAMBDAS]
    return torch.stack(rows).numpy()


def save_checkpoint(folder: Path, model: nn.Module, card: ModelCard) -> ModelCard:
    """Writes weights, golden logits and card, the card last; returns the card with the weights' hash filled in."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = serialise(tensors)
    card = replace(card, weights_sha256=sha256(content))
    write_atomic(folder / WEIGHTS, content)
    golden = io.BytesIO()
    np.savez_compressed(golden, logits=golden_logits(model))
    write_atomic(folder / GOLDEN, golden.getvalue())
    save_card(folder, card)
    return card


def save_card(folder: Path, card: ModelCard) -> None:
    write_atomic(folder / CARD, (json.dumps(card.as_json(), indent=1) + "\n").encode())


def load_card(folder: Path) -> ModelCard:
    """InputError names what is missing, damaged or wrong."""
    path = folder / CARD
    try:
        value = parse_json(path.read_text())
    except FileNotFoundError:
        raise InputError(f"There is no checkpoint in {folder} ({CARD} is missing).") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); restore the file.") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} does not hold a card.")
    return ModelCard.from_json(value, str(path))


def read_weights(folder: Path, card: ModelCard) -> bytes:
    """The weights' file. InputError where it cannot be read or is not the one that the card describes."""
    path = folder / WEIGHTS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from None
    if sha256(content) != card.weights_sha256:
        raise InputError(f"{path} is not the file its card describes (SHA-256 differs); restore both.")
    return content


def load_checkpoint(folder: Path, device: torch.device) -> tuple[nn.Module, ModelCard]:
    """The dual network in eval mode without parameter gradients, and its card.

    InputError where a file is missing, truncated or altered, a tensor is missing, unknown, of the wrong shape or not
    finite, or the architecture is unknown.
    """
    card = load_card(folder)
    path = folder / WEIGHTS
    try:
        tensors = deserialise(read_weights(folder, card))
    except SafetensorError as error:
        raise InputError(f"{path} is not a valid safetensors file ({error}).") from None
    with torch.device("meta"):  # where initialisation draws nothing from the process's random state
        model = dual_network(card.architecture, len(card.classes), card.design)
    _check_tensors(path, tensors, model.state_dict())
    model.to_empty(device=device).load_state_dict(tensors)
    return model.eval().requires_grad_(False), card


def _check_tensors(path: Path, tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name in sorted(set(tensors) | set(expected)):
        if name not in tensors or name not in expected:
            what = "lacks" if name not in tensors else "has the unexpected"
            raise InputError(f"{path} {what} tensor {name!r}; it does not fit the architecture in its card.")
        if tensors[name].shape != expected[name].shape:
            shapes_ = f"{[*tensors[name].shape]} instead of {[*expected[name].shape]}"
            raise InputError(f"{path}: tensor {name!r} has the shape {shapes_}.")
        if tensors[name].dtype != expected[name].dtype:
            raise InputError(f"{path}: tensor {name!r} has the type {tensors[name].dtype}, not {expected[name].dtype}.")
        if not bool(torch.isfinite(tensors[name]).all()):
            raise InputError(f"{path}: tensor {name!r} holds NaN or infinity.")


def find_checkpoints(root: Path) -> list[Path]:
    """Folders under `root` that hold a card, by name."""
    return sorted(path.parent for path in root.glob(f"*/{CARD}"))
