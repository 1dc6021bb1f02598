"""`train`: from a TOML file to a checkpoint folder."""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from engine import api
from engine.checkpoint import CARD, dual_network, load_checkpoint, save_card, save_checkpoint
from engine.cli.evaluate import set_threads
from engine.cli.headline import measured, table
from engine.cli.output import progress, show
from engine.data import shapes
from engine.files import write_atomic
from engine.norm import at, to_dual_bn
from engine.training import EpochLog, TrainConfig, as_toml, load_config, snapshots, train
from engine.training.parallel import here, processes
from engine.values import DESIGNS, Branch, branch_setting

STATE = ".state.safetensors"


def initial_network(config: TrainConfig, n_classes: int, root: Path) -> torch.nn.Module:
    """A fresh network drawn from the seed, or the weights of the checkpoint that `warm_start` names.

    A single-BN checkpoint may start any design: both branches begin as it is.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)  # noqa: TID251  # initialisation only; restored by fork_rng
        model = dual_network(config.architecture, n_classes, config.design)
    if config.warm_start:
        source, card = load_checkpoint(api.checkpoint_folder(config.warm_start, root), torch.device("cpu"))
        same_design = card.design in (config.design, "single")
        if (card.architecture, len(card.classes)) != (config.architecture, n_classes) or not same_design:
            raise api.InputError(f"warm_start {config.warm_start!r} has another architecture, design or classes.")
        if card.design != config.design:
            source = to_dual_bn(at(source, branch_setting(Branch.ADV)), DESIGNS[config.design])
        model.load_state_dict(source.state_dict())
    return model


def configured(arguments: argparse.Namespace) -> TrainConfig:
    """The recipe; with --warm-start, of that checkpoint's architecture, on its images, and for its design."""
    config = load_config(arguments.config)
    if arguments.warm_start is None:
        if arguments.called is not None:
            raise api.InputError("--name goes with --warm-start; a recipe has its own name.")
        return config
    card = api.load_card(api.checkpoint_folder(arguments.warm_start, arguments.root))
    data = arguments.data or str(card.data["name"])
    if not data:
        raise api.InputError(f"The card of {card.name} names no images; add --data cifar10, or the path of your own.")
    return replace(
        config,
        name=arguments.called or f"{card.name}-tuned",
        data=data,
        split=api.calibration_split(data),
        architecture=card.architecture,
        design=config.design if card.design == "single" else card.design,
        warm_start=card.name,
    )


def training_images(config: TrainConfig, arguments: argparse.Namespace) -> tuple[TrainConfig, api.ImageSet]:
    """The images trained on, their labels counted as the network's outputs where it goes on from a checkpoint.

    With --warm-start a recipe's n_train is a limit, and follows the images. InputError also where the result could not
    be judged or written afterwards: that is refused before, not after, hours of training.
    """
    where: dict[str, Any] = {"data_dir": arguments.data_dir, "allow_unofficial": arguments.unofficial}
    if config.warm_start:
        where["classes"] = api.load_card(api.checkpoint_folder(config.warm_start, arguments.root)).classes
    api.load_data(config.data, api.evaluation_split(config.data), arguments.n_headline, **where)
    split: Any = config.split
    named = arguments.warm_start is not None
    data = api.load_data(config.data, split, config.n_train, at_most=named, **where)
    if named and (arguments.root / config.name / CARD).exists() and not arguments.resume:
        raise api.InputError(f"There is a checkpoint {config.name!r} already; choose another --name.")
    return replace(config, n_train=len(data)) if named else config, data


def git_commit() -> str:
    """The commit this runs from, or '' outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def write_log(path: Path, rows: list[EpochLog]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(asdict(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_atomic(path, text.getvalue().encode())


def card_of(config: TrainConfig, data: api.ImageSet, wall_seconds: int, device: str, unofficial: bool) -> api.ModelCard:
    """What was trained on what, without weights and accuracies yet."""
    described = {"name": data.name, "split": data.split, "n": len(data), "sha256": data.checksum, "note": data.note}
    return api.ModelCard(
        name=config.name,
        architecture=config.architecture,
        classes=data.classes,
        design=config.design,
        data=described | ({"generator": shapes.description()} if data.name == "shapes" else {}),
        config=config.as_json(),
        weights_sha256="",
        images_seen=config.total_steps * config.batch_size,
        wall_seconds=wall_seconds,
        device=device,
        torch_version=torch.__version__,
        engine_version=api.__version__,
        git_commit=git_commit(),
        command=f"python -m engine train checkpoints/{config.name}/train.toml"
        + (" --unofficial" if unofficial else ""),
    )


def run(arguments: argparse.Namespace) -> None:
    """`train`, alone or as one of torchrun's processes; the first of those writes all files."""
    set_threads(arguments)
    config = configured(arguments)
    device = api.pick_device(arguments.device)
    folder: Path = arguments.root / config.name
    state = folder / STATE
    if state.exists() and not arguments.resume:
        raise api.InputError(f"{state} holds an unfinished run; add --resume to go on, or delete it to start again.")
    config, data = training_images(config, arguments)
    model = initial_network(config, len(data.classes), arguments.root)
    with processes(device) as device:
        started, rows = time.monotonic(), trained(model.to(device), config, data, folder)
        if not here().first:
            return
    seconds = round(sum(row.seconds for row in rows))
    card = save_checkpoint(folder, model.eval(), card_of(config, data, seconds, str(device), arguments.unofficial))
    recipe = arguments.config.read_bytes() if arguments.warm_start is None else as_toml(config).encode()
    write_atomic(folder / "train.toml", recipe)
    arguments.data = config.data  # whoever runs this named it, so it may be anywhere
    card = measured(card, device, arguments, arguments.n_headline)
    save_card(folder, card)
    state.unlink(missing_ok=True)
    seconds = round(time.monotonic() - started)
    show(card.as_json(), arguments.json, f"{config.name}, {seconds} s", ["of", "accuracy"], table(card.records))


def trained(model: torch.nn.Module, config: TrainConfig, data: api.ImageSet, folder: Path) -> list[EpochLog]:
    """The rows of the training of `model`, in place; what is kept of each epoch lies in `folder`."""
    if not here().first:
        return list(train(model, config, data, folder / STATE))
    rows = list[EpochLog]()
    with progress(f"train {config.name}") as callback:
        for row in train(model, config, data, folder / STATE, callback):
            rows.append(row)
            write_log(folder / "log.csv", rows)
            if config.snapshots:
                snapshots.keep(folder / "snapshots.npz", row.epoch, model, data, config.eps)
    return rows
