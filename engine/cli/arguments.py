"""Every command's arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import api
from engine.cli import attribute, convert, data, evaluate, headline, models, paper, shards, store, sweep, train

ATTACKS = ("none", "fgsm", "pgd", "apgd", "fab", "square", "auto", "quick")


def parse(argv: list[str]) -> argparse.Namespace:
    """The parsed command; `run` is the function to call with it. Exits with code 2 on bad arguments."""
    parser = argparse.ArgumentParser(prog="python -m engine", description="Dual batch normalization under attack.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "list", models.run_list, "checkpoints with design, data, clean and robust accuracy")
    _add(commands, "show", models.run_show, "one card, whole").add_argument("name")
    _data(_group(commands, "data", "image sets: what is here, download, check"))
    convert.add_arguments(_add(commands, "convert", convert.run, "a checkpoint from weights of your own"))
    _store(_group(commands, "store", "results the app computed and kept: list, verify, clear"))
    train_parser = _add(commands, "train", train.run, "train a checkpoint from a TOML configuration")
    train_parser.add_argument("config", type=Path)
    train_parser.add_argument(
        "--warm-start", metavar="NAME", help="go on from this checkpoint, on its data, not the recipe's"
    )
    train_parser.add_argument(
        "--name", dest="called", help="with --warm-start: the new one's name; default: NAME-tuned"
    )
    train_parser.add_argument("--resume", action="store_true", help="go on from an interrupted run")
    train_parser.add_argument("--n-headline", type=int, default=2000, help="images behind the card's accuracies")
    _threads(train_parser)
    headline_parser = _add(commands, "headline", headline.run, "measure a card's accuracies again and write them there")
    headline_parser.add_argument("name")
    headline_parser.add_argument("--n", type=int, default=2000, help="number of held-out images")
    headline_parser.add_argument(
        "--auto", type=int, metavar="N", help="instead, add AutoAttack on N held-out images; the rest stays as it is"
    )
    _threads(headline_parser)
    evaluate_parser = _add(commands, "evaluate", evaluate.run, "one accuracy")
    evaluate_parser.add_argument("name")
    evaluate_parser.add_argument("--n", type=int, required=True, help="number of images")
    evaluate_parser.add_argument("--ap", type=float, required=True, help="affine parameters' lambda")
    evaluate_parser.add_argument("--ns", required=True, help="stored:LAMBDA, clean, adv, noise or mix; clean:96: on 96")
    evaluate_parser.add_argument("--layer", action="append", default=[], help="NAME=LAMBDA: its own AP; repeatable")
    evaluate_parser.add_argument("--craft-ap", help="craft at this AP instead, or at several at once: 0,0.5,1")
    evaluate_parser.add_argument("--craft-ns", help="craft at these NS instead; several go with several AP one by one")
    _attack(evaluate_parser)
    evaluate_parser.add_argument("--target", metavar="CLASS", help="fgsm, pgd and apgd: the class to be taken for")
    evaluate_parser.add_argument(
        "--bf16", action="store_true", help="white-box pgd, auto or quick: gradients in bfloat16"
    )
    evaluate_parser.add_argument("--check", action="store_true", help="look for signs that the attack is too weak")
    shards.add_argument(evaluate_parser)
    _threads(evaluate_parser)
    _attribute(_add(commands, "attribute", attribute.run, "what it looks at on shapes: the shape, or the grating?"))
    sweep_parser = _add(commands, "sweep", sweep.run, "every curve the app shows of a checkpoint; resumable")
    sweep_parser.add_argument("name")
    sweep_parser.add_argument("--n", type=int, default=1000, help="images a point")
    sweep_parser.add_argument("--n-plane", type=int, default=500, help="images a point of the NS x AP plane")
    sweep_parser.add_argument("--n-gaps", type=int, default=256, help="images behind the gaps of the layers")
    shards.add_argument(sweep_parser)
    _threads(sweep_parser)
    paper_parser = _add(commands, "paper", paper.run, "the paper's claims, tried on every family of checkpoints")
    paper.add_arguments(paper_parser)
    shards.add_argument(paper_parser)
    _threads(paper_parser)
    return parser.parse_args(argv)


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--device", default="cpu" if name in ("list", "show") else "auto", help="auto, cpu, cuda ...")
    parser.add_argument("--root", type=Path, default=api.CHECKPOINTS, help="folder of the checkpoints")
    parser.add_argument("--data", help="shapes, cifar10, or a folder or .npz of yours; default: the checkpoint's own")
    parser.add_argument("--split", choices=api.SPLITS, help="default: the held-out images")
    parser.add_argument("--data-dir", type=Path, help="where CIFAR-10 lies")
    parser.add_argument("--unofficial", action="store_true", help="accept files that are not the published ones")
    return parser


def _group(commands: Any, name: str, text: str) -> Any:
    return commands.add_parser(name, help=text, description=text).add_subparsers(required=True, metavar="COMMAND")


def _data(commands: Any) -> None:
    _add(commands, "list", data.run_list, "image sets and whether they are here")
    _add(commands, "download", data.run_download, "fetch the official archive, resumable").add_argument(
        "name", choices=["cifar10"]
    )
    _add(commands, "check", data.run_check, "what a folder or archive holds").add_argument("path", type=Path)


def _store(commands: Any) -> None:
    _add(commands, "list", store.run_list, "every result, the newest use first")
    _add(commands, "verify", store.run_verify, "compare every result with its checksum and drop what is damaged")
    _add(commands, "clear", store.run_clear, "drop every result; all can be computed again")


def _attack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--attack", choices=ATTACKS, required=True, help="auto: the AutoAttack standard sequence; quick: a shorter one"
    )
    parser.add_argument("--loss", help="what pgd and apgd ascend: ce (default), margin, kl, dlr ...")
    parser.add_argument("--queries", type=int, default=5000, help="of square")
    parser.add_argument("--norm", choices=("Linf", "L2"), default="Linf")
    parser.add_argument("--eps", default="8/255", help="size of the perturbation, pixels in [0, 1]")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--step-size", help="default: eps/4")
    parser.add_argument("--restarts", type=int, default=1)
    parser.add_argument("--seed", type=int, default=api.SEED)


def _attribute(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name")
    parser.add_argument("--method", choices=api.METHODS, required=True)
    parser.add_argument("--n", type=int, required=True, help="number of images")
    parser.add_argument("--ap", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0], help="lambdas of the AP")
    parser.add_argument("--ns", required=True, help="own (stored, at the AP's lambda), stored:LAMBDA, clean, adv ...")
    parser.add_argument(
        "--explain", choices=("answer", "label"), default="answer", help="the network's answer or the right class"
    )
    parser.add_argument(
        "--baseline", choices=("mean", "black"), default="mean", help="nothing to see: the mean colour, or black"
    )
    _attack(parser)
    _threads(parser)


def _threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, help="processor threads torch may use")
