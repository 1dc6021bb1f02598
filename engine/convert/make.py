"""From a file of weights to a checkpoint folder that every page and command can use.

Usage::

    card = convert(Path("resnet20.pt"), root, Request(name="mine", architecture="resnet20", design="dual-bn", ...))

A network with one set of norms becomes a dual network both of whose branches are that network; one with two sets keeps
them. The card says what is known and that the training is not. The folder appears whole or not at all.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine import __version__
from engine.cards import ModelCard
from engine.checkpoint import save_checkpoint
from engine.convert.layout import Assigned, assigned, head_name, input_layers, sorted_out
from engine.convert.weights import MAX_BYTES, Weights, read_weights
from engine.data import classes_of
from engine.models import build
from engine.norm import DualBatchNorm2d, dual_layers, to_dual_bn
from engine.values import CHECKPOINT_NAME, DESIGNS, Branch, InputError, check_eps

MAX_CLASSES = 100_000
UNKNOWN = "The images it was trained on are not known here, nor for how long or with which command."


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to make of the file.

    data: the images it is to be judged on, '' for none yet; classes: their names in the order of the network's outputs
    (None: those of `data`, else numbers); n_classes: a check on their number; mean, std: per channel, for images in
    [0, 1], None where the network takes them as they are; adv_branch: see `layout.assigned`; eps: size of the attack
    that its accuracies are measured with.
    """

    name: str
    architecture: str
    design: str
    data: str = ""
    classes: tuple[str, ...] | None = None
    n_classes: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    adv_branch: int | None = None
    eps: float = 8 / 255
    max_bytes: int = MAX_BYTES
    data_dir: Path | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(CHECKPOINT_NAME, self.name):
            raise InputError(f"The name must consist of letters, digits, '.', '_' and '-', not {self.name!r}.")
        if self.design not in DESIGNS:
            raise InputError(f"The design must be one of {', '.join(DESIGNS)}, not {self.design!r}.")
        if self.n_classes is not None and not 2 <= self.n_classes <= MAX_CLASSES:
            raise InputError(
                f"A network tells at least 2 and at most {MAX_CLASSES:,} classes apart, not {self.n_classes}."
            )
        named = self.classes
        if named is not None and (
            len(set(named)) != len(named) or not all(n.strip() and n.isprintable() for n in named)
        ):
            raise InputError("The class names must be different, and none may be empty.")
        if (self.mean is None) != (self.std is None):
            raise InputError("--mean and --std go together: one number a channel each.")
        for values in (self.mean or (), self.std or ()):
            if len(values) not in (0, 3) or not all(math.isfinite(v) and 0 <= v <= 1 for v in values):
                raise InputError("--mean and --std take three numbers each, for pixels in [0, 1]; divide by 255.")
        if 0 in (self.std or ()):
            raise InputError("--std must be above 0.")
        check_eps(self.eps)


def convert(file: Path, root: Path, request: Request) -> ModelCard:
    """Reads, checks and writes root/name, and returns its card. InputError in one sentence, and nothing is left."""
    folder = root / request.name
    taken = f"There is {request.name!r} in {root} already; choose another --name, or remove that folder first."
    if folder.exists() or folder.is_symlink():
        raise InputError(taken)
    weights = read_weights(file, request.max_bytes)
    with torch.device("meta"):
        sketch = build(request.architecture, request.n_classes or 2)
    classes = _classes(request, weights, sketch)
    model, found, constants = _network(request, weights, len(classes))
    card = _card(request, weights, found, constants, classes)
    try:
        root.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=root, prefix=".convert-"))
    except OSError as error:
        raise InputError(f"Cannot write to {root}: {error.strerror}.") from None
    try:
        card = save_checkpoint(place / request.name, model, card)
        os.rename(place / request.name, folder)
    except OSError:
        raise InputError(taken) from None
    except RuntimeError as error:  # while the golden logits were made
        reason = str(error).splitlines()[0][:100]
        raise InputError(f"{request.architecture} cannot take images of 32 x 32 pixels ({reason}).") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return card


def _classes(request: Request, weights: Weights, sketch: nn.Module) -> tuple[str, ...]:
    """The names of the outputs; InputError where their number is not the head's."""
    of_data = classes_of(request.data, request.data_dir)
    named = request.classes or of_data
    if of_data and named and set(of_data) != set(named):
        raise InputError(
            f"{request.data} has other classes than those named ({', '.join(of_data[:3])} ...); name these."
        )
    n = len(named) if named else request.n_classes
    if named and request.n_classes not in (None, len(named)):
        raise InputError(f"{len(named)} classes are named, and --classes says {request.n_classes}; leave one out.")
    head = head_name(sketch)
    keys = sorted_out(weights.tensors, sketch, weights.file)
    if head is not None and (head, "") in keys and weights.tensors[keys[head, ""]].ndim == 2:
        rows = len(weights.tensors[keys[head, ""]])
        if n not in (None, rows):
            source = "" if request.classes or not named else f", as {request.data} has"
            raise InputError(f"{weights.file} tells {rows} classes apart, not {n}{source}; name {rows}, or other data.")
        n = rows
    if n is None:
        raise InputError(f"How many classes {weights.file} tells apart cannot be seen; add --classes.")
    return named or tuple(map(str, range(n)))


def _network(request: Request, weights: Weights, n_classes: int) -> tuple[nn.Module, Assigned, list[list[float]]]:
    """The dual network in eval mode, what went where, and the mean and std of its first layer."""
    with torch.device("meta"):
        plain = build(request.architecture, n_classes)
    found = assigned(weights.tensors, plain, request.adv_branch, weights.file)
    mean, std = _constants(request, found, bool(input_layers(plain)), weights.file)
    state = dict(found.clean)
    for name, expected in plain.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)
        elif name.startswith(input_layers(plain)):
            state[name] = (mean if name.endswith("mean") else std).view(expected.shape)
    plain.to_empty(device="cpu").load_state_dict(state)
    model = to_dual_bn(plain.eval(), DESIGNS[request.design]).eval().requires_grad_(False)
    if found.two:
        for name, layer in dual_layers(model):
            _write_adv(layer, name, found, request.design)
    return model, found, [mean.tolist(), std.tolist()]


def _constants(request: Request, found: Assigned, has_layer: bool, file: str) -> tuple[Tensor, Tensor]:
    """(mean, std), each (3,): as the file has them, as was said, or 0 and 1."""
    if found.normalize:
        if request.mean is not None:
            raise InputError(f"{file} brings the mean and std of its input along; leave out --mean and --std.")
        inside = [
            found.normalize.get(f"normalize.{leaf}", torch.empty(0)).float().flatten() for leaf in ("mean", "std")
        ]
        if any(len(t) != 3 or not bool(t.isfinite().all()) for t in inside) or not bool((inside[1] > 0).all()):
            raise InputError(f"{file}: the mean and std of its input are not three finite numbers each, std above 0.")
        return inside[0], inside[1]
    if request.mean is not None and not has_layer:
        raise InputError(f"{request.architecture} has no first layer for --mean and --std; leave them out.")
    return torch.tensor(request.mean or (0.0,) * 3), torch.tensor(request.std or (1.0,) * 3)


def _write_adv(layer: DualBatchNorm2d, name: str, found: Assigned, design: str) -> None:
    """The adversarial branch's tensors; what the design shares must be the same in both."""
    mean, var = layer.statistics_row(Branch.ADV)
    weight, bias = layer.affine_entry(Branch.ADV)
    halves = (
        (layer.design.share_statistics, "statistics", {"running_mean": mean, "running_var": var}),
        (layer.design.share_affine, "scales and shifts", {"weight": weight, "bias": bias}),
    )
    for shared, what, tensors in halves:
        for leaf, ours in tensors.items():
            theirs = found.adv[f"{name}.{leaf}"]
            if shared and not torch.equal(ours, theirs):
                raise InputError(
                    f"The file has two sets of {what}, and {design} has one; convert it with --design dual-bn."
                )
            if not shared:
                ours.copy_(theirs)


def _card(
    request: Request, weights: Weights, found: Assigned, constants: list[list[float]], classes: tuple[str, ...]
) -> ModelCard:
    converted: dict[str, Any] = {
        "file": weights.file,
        "sha256": weights.sha256,
        "tensors": len(weights.tensors),
        "branches": found.how,
        "mean": [round(value, 6) for value in constants[0]],
        "std": [round(value, 6) for value in constants[1]],
        "left_out": list(weights.left_out),
    }
    data = {"name": request.data, "split": "", "n": 0, "sha256": "", "note": UNKNOWN}
    card = ModelCard(
        name=request.name,
        architecture=request.architecture,
        classes=classes,
        design=request.design,
        data=data,
        config={"name": request.name, "eps": request.eps, "converted": converted},
        weights_sha256="",
        images_seen=0,
        wall_seconds=0,
        device="",
        torch_version=torch.__version__,
        engine_version=__version__,
        git_commit="",
        command=request.command,
    )
    return replace(card, licence="not known: that of the file it was converted from")
