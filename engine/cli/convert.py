"""`convert`: from a file of foreign weights to a checkpoint folder."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from engine import api
from engine.cli.output import show
from engine.convert import MAX_BYTES, Request, convert

AS_THEY_ARE = ([0.0] * 3, [1.0] * 3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", type=Path, help=".safetensors, or .pt, .pth, .th with tensors only")
    parser.add_argument("--arch", required=True, help="resnet20, resnet20-pad, resnet18, wrn-16-4 ...")
    parser.add_argument("--design", choices=api.DESIGNS, default="dual-bn", help="default: dual-bn")
    parser.add_argument("--name", dest="called", required=True, help="what the checkpoint is to be called")
    parser.add_argument("--classes", type=int, metavar="N", help="their number, to be checked against the weights")
    parser.add_argument("--class-names", metavar="A,B,C", help="in the order of the outputs; default: those of --data")
    parser.add_argument("--mean", nargs=3, metavar=("R", "G", "B"), help="of the input normalization, pixels in [0, 1]")
    parser.add_argument("--std", nargs=3, metavar=("R", "G", "B"), help="of the input normalization")
    parser.add_argument("--adv-branch", type=int, choices=(0, 1), help="which of two counted sets of norms it is")
    parser.add_argument("--eps", default="8/255", help="size of the attack that its accuracies are measured with")
    parser.add_argument("--max-mb", type=int, default=MAX_BYTES // 1_000_000, help="largest file that is read")


def command(arguments: argparse.Namespace) -> str:
    """The command, as the card keeps it."""
    words = ["python", "-m", "engine", "convert", str(arguments.weights), "--arch", arguments.arch]
    words += ["--design", arguments.design, "--name", arguments.called]
    for option in ("data", "classes", "class_names", "adv_branch"):
        value = getattr(arguments, option)
        words += [] if value is None else [f"--{option.replace('_', '-')}", str(value)]
    for option in ("mean", "std"):
        words += [f"--{option}", *getattr(arguments, option)] if getattr(arguments, option) else []
    return shlex.join([*words, *(["--eps", arguments.eps] if arguments.eps != "8/255" else [])])


def run(arguments: argparse.Namespace) -> None:
    names = arguments.class_names
    mean, std = (
        tuple(map(api.parse_fraction, values)) if values else None for values in (arguments.mean, arguments.std)
    )
    if arguments.max_mb < 1:
        raise api.InputError(f"--max-mb must be at least 1, got {arguments.max_mb}.")
    request = Request(
        name=arguments.called,
        architecture=arguments.arch,
        design=arguments.design,
        data=arguments.data or "",
        classes=None if names is None else tuple(name.strip() for name in names.split(",")),
        n_classes=arguments.classes,
        mean=mean,
        std=std,
        adv_branch=arguments.adv_branch,
        eps=api.parse_fraction(arguments.eps),
        max_bytes=arguments.max_mb * 1_000_000,
        data_dir=arguments.data_dir,
        command=command(arguments),
    )
    card = convert(arguments.weights, arguments.root, request)
    show(card.as_json(), arguments.json, f"{card.name}, a checkpoint now", ["what", "is"], told(card))


def told(card: api.ModelCard) -> list[list[str]]:
    """What was made of the file, what was taken for granted, and what to do next."""
    made = card.config["converted"]
    enters = f"(image - {made['mean']}) / {made['std']}"
    if (made["mean"], made["std"]) == AS_THEY_ARE:
        enters = "as it is, in [0, 1]; if it was trained on normalized images, convert it again with --mean and --std"
    rows = [
        ["tensors", f"{made['tensors']}, every one in its place"],
        ["branches", made["branches"]],
        ["an image enters", enters],
        ["classes", f"{len(card.classes)}: {', '.join(card.classes[:10])}{' ...' if len(card.classes) > 10 else ''}"],
        ["judged on", str(card.data["name"]) or "nothing yet; name images by --data"],
    ]
    if made["left_out"]:
        rows.append(["left out", ", ".join(made["left_out"])])
    return [*rows, ["next", f"python -m engine headline {card.name}: is its clean accuracy the one you know?"]]
