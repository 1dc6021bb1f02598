"""`train`: from a TOML file to a checkpoint folder."""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from engine import api
from engine.checkpoint import dual_network, load_checkpoint, save_card, save_checkpoint
from engine.cli.evaluate import set_threads
from engine.cli.headline import measured, table
from engine.cli.output import progress, show
from engine.data import shapes
from engine.files import write_atomic
from engine.norm import at, to_dual_bn
from engine.training import EpochLog, TrainConfig, load_config, snapshots, train
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


def run(arguments: argparse.Namespace) -> None:
    set_threads(arguments)
    config = load_config(arguments.config)
    device = api.pick_device(arguments.device)
    folder: Path = arguments.root / config.name
    state = folder / STATE
    if state.exists() and not arguments.resume:
        raise api.InputError(f"{state} holds an unfinished run; add --resume to go on, or delete it to start again.")
    where: dict[str, Any] = {"data_dir": arguments.data_dir, "allow_unofficial": arguments.unofficial}
    # What cannot be judged afterwards is refused before, not after, hours of training.
    api.load_data(config.data, api.evaluation_split(config.data), arguments.n_headline, **where)
    split: Any = config.split
    data = api.load_data(config.data, split, config.n_train, **where)
    model = initial_network(config, len(data.classes), arguments.root).to(device)
    started, rows = time.monotonic(), list[EpochLog]()
    with progress(f"train {config.name}") as callback:
        for row in train(model, config, data, state, callback):
            rows.append(row)
            write_log(folder / "log.csv", rows)
            if config.snapshots:
                snapshots.keep(folder / "snapshots.npz", row.epoch, model, data, config.eps)
    described = {"name": data.name, "split": data.split, "n": len(data), "sha256": data.checksum, "note": data.note}
    card = api.ModelCard(
        name=config.name,
        architecture=config.architecture,
        classes=data.classes,
        design=config.design,
        data=described | ({"generator": shapes.description()} if data.name == "shapes" else {}),
        config=config.as_json(),
        weights_sha256="",
        images_seen=config.total_steps * config.batch_size,
        wall_seconds=round(sum(row.seconds for row in rows)),
        device=str(device),
        torch_version=torch.__version__,
        engine_version=api.__version__,
        git_commit=git_commit(),
        command=f"python -m engine train checkpoints/{config.name}/train.toml"
        + (" --unofficial" if arguments.unofficial else ""),
    )
    card = save_checkpoint(folder, model.eval(), card)
    write_atomic(folder / "train.toml", arguments.config.read_bytes())
    card = measured(card, device, arguments, arguments.n_headline)
    save_card(folder, card)
    state.unlink(missing_ok=True)
    seconds = round(time.monotonic() - started)
    show(card.as_json(), arguments.json, f"{config.name}, {seconds} s", ["of", "accuracy"], table(card.records))
