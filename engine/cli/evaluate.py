"""`evaluate`, and what other commands read from the same arguments."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch

from engine import api
from engine.cli import shards
from engine.cli.models import attack_json
from engine.cli.output import percent, progress, show

N_CHECK, N_QUERIES = 200, 500


def set_threads(arguments: argparse.Namespace) -> None:
    if arguments.threads is not None:
        if arguments.threads < 1:
            raise api.InputError(f"--threads must be at least 1, got {arguments.threads}.")
        torch.set_num_threads(arguments.threads)


def parse_statistics(text: str) -> api.Statistics:
    """'stored:LAMBDA', or the source that NS are re-estimated on, with the number of its images if not the usual."""
    kind, _, number = text.partition(":")
    if kind == "stored":
        return api.Stored(api.parse_fraction(number))
    wanted = api.Reestimated(kind)  # pyright: ignore[reportArgumentType]  # checked by the value itself
    return replace(wanted, n=int(api.parse_fraction(number))) if number else wanted


def parse_layers(texts: list[str]) -> tuple[tuple[str, api.LayerMix], ...]:
    """From 'blocks.2.bn1=0.3' each: layers whose AP are not those of the others."""
    pairs = [text.partition("=") for text in texts]
    return tuple((name, api.LayerMix(api.parse_fraction(lam))) for name, _, lam in pairs)


def parse_attack(arguments: argparse.Namespace) -> api.Attack | None:
    """The attack that the arguments name; where it is only counted it leaves fooled images alone."""
    if arguments.attack == "none":
        return None
    threat = api.ThreatModel(arguments.norm, api.parse_fraction(arguments.eps))
    steps, restarts = arguments.steps, arguments.restarts
    if arguments.attack == "pgd":
        step_size = threat.eps / 4 if arguments.step_size is None else api.parse_fraction(arguments.step_size)
        return api.PGD(threat, steps, step_size, restarts, stop="success", loss=arguments.loss or "ce")
    known: dict[str, Callable[[], api.Attack]] = {
        "fgsm": lambda: api.fgsm(threat),
        "apgd": lambda: api.APGD(threat, steps, loss=arguments.loss or "ce", n_restarts=restarts, stop="success"),
        "fab": lambda: api.FAB(threat, steps, n_restarts=restarts, stop="success"),
        "square": lambda: api.Square(threat, arguments.queries, n_restarts=restarts, stop="success"),
        "auto": lambda: api.AutoAttack(threat),
        "quick": lambda: api.quick_auto(threat),
    }
    return known[arguments.attack]()


def settings(arguments: argparse.Namespace) -> tuple[api.NormSetting, api.Crafting | None]:
    """The setting that is judged, and what is crafted at where that is something else."""
    setting = api.NormSetting(arguments.ap, parse_statistics(arguments.ns), parse_layers(arguments.layer))
    if arguments.craft_ap is None and arguments.craft_ns is None:
        return setting, None
    affine = [arguments.ap] if arguments.craft_ap is None else map(api.parse_fraction, arguments.craft_ap.split(","))
    statistics = [parse_statistics(text) for text in (arguments.craft_ns or arguments.ns).split(",")]
    affine = list(affine)
    count = max(len(affine), len(statistics))
    if {len(affine), len(statistics)} - {1, count}:
        raise api.InputError(
            f"--craft-ap names {len(affine)} settings and --craft-ns {len(statistics)}; name as many of each, or one."
        )
    pairs = zip(affine * (count // len(affine)), statistics * (count // len(statistics)), strict=True)
    several = [api.NormSetting(ap, ns) for ap, ns in pairs]
    return setting, tuple(several) if len(several) > 1 else several[0]


def elsewhere(attack: api.Attack | None) -> api.Attack | None:
    """The attack as it is crafted for other settings than the one judged: through all its steps, because images stopped
    at their first success have no margin there."""
    if isinstance(attack, api.AutoAttack):
        raise api.InputError(
            "auto and quick stop at success, which says little elsewhere: craft there with apgd or pgd."
        )
    return replace(attack, stop="never") if isinstance(attack, api.PGD | api.APGD | api.FAB | api.Square) else attack


def towards(attack: api.Attack | None, wanted: str | None, classes: tuple[str, ...]) -> api.Attack | None:
    """The attack with the class that --target names."""
    if wanted is None:
        return attack
    if not isinstance(attack, api.PGD | api.APGD):
        raise api.InputError("--target goes with fgsm, pgd and apgd.")
    if wanted not in classes:
        raise api.InputError(f"There is no class {wanted!r}; there are {', '.join(classes)}.")
    return replace(attack, target=classes.index(wanted))


def open_from(arguments: argparse.Namespace, n: int, far: bool = False) -> tuple[api.Bench, api.ModelCard]:
    """far: other machines compute, so that this one need not have the device."""
    return api.open_bench(
        arguments.name,
        api.pick_device("cpu" if far else arguments.device),
        data=arguments.data,
        split=arguments.split,
        n=n,
        data_dir=arguments.data_dir,
        allow_unofficial=arguments.unofficial,
        root=arguments.root,
    )


def counted(
    arguments: argparse.Namespace, bench: api.Bench, card: api.ModelCard, attack: api.Attack | None, trial: api.Trial
) -> api.EvalRecord:
    """The accuracy, computed here or on the cluster."""
    with progress("evaluate") as callback:
        if arguments.ray:
            found: list[api.EvalRecord] = []
            place = shards.opened(arguments, bench, card)
            shards.records(arguments.ray, place, [(trial, (attack,))], callback, found.extend)
            return found[0]
        if trial.half:
            return rough(bench, attack, trial, callback)
        return bench.evaluate(trial.setting, attack, trial.n, trial.seed, trial.attack_setting, callback)


def rough(bench: api.Bench, attack: api.Attack | None, trial: api.Trial, progress: api.Progress) -> api.EvalRecord:
    """A quick figure for the eye, by gradients in bfloat16. InputError where that would be slower."""
    if not api.half_supported(bench.device):
        raise api.InputError("This device has no bfloat16 units, so --bf16 would only be slower; leave it out.")
    correct = next(bench.correct(trial, [attack], progress))
    return api.EvalRecord(trial.setting, attack, attack and trial.setting, trial.n, int(correct.sum()), trial.seed)


def run(arguments: argparse.Namespace) -> None:
    """`evaluate`."""
    set_threads(arguments)
    setting, craft = settings(arguments)
    attack = parse_attack(arguments)
    if arguments.check and not (isinstance(attack, api.PGD) and craft is None):
        raise api.InputError("--check examines white-box PGD: add --attack pgd, without --craft-ap and --craft-ns.")
    if arguments.ray and (arguments.check or arguments.bf16):
        raise api.InputError("--check and --bf16 are for one machine; leave them out, or leave out --ray.")
    bench, card = open_from(arguments, arguments.n, far=bool(arguments.ray))
    attack = towards(attack if craft is None else elsewhere(attack), arguments.target, bench.test.classes)
    started = time.monotonic()
    trial = api.Trial(setting, arguments.n, arguments.seed, craft, half=arguments.bf16)
    record = counted(arguments, bench, card, attack, trial)
    flags: list[api.Flag] = []
    if arguments.check and isinstance(attack, api.PGD):
        others = [api.branch_setting(b) for b in api.Branch if api.branch_setting(b) != setting]
        with progress("check") as callback:
            n = min(N_CHECK, arguments.n)
            black_box = api.Square(attack.threat, N_QUERIES, stop="success")
            flags = list(api.suspicions(bench, setting, attack, n, arguments.seed, others, black_box, callback))
    interval = record.interval
    value: dict[str, Any] = {
        "checkpoint": card.name,
        "weights_sha256": card.weights_sha256,
        "data": bench.test.name,
        "split": bench.test.split,
        "data_sha256": bench.test.checksum,
        "data_note": bench.test.note,
        "n": record.n,
        "n_correct": record.n_correct,
        "accuracy": interval.value,
        "ci95": [interval.low, interval.high],
        "setting": setting.as_json(),
        "attack": attack_json(attack),
        "attack_setting": record.as_json()["attack_setting"],
        "access": record.access,
        "gradients": "bfloat16" if arguments.bf16 else "float32",
        "seed": record.seed,
        "device": shards.where(arguments).device if arguments.ray else str(bench.device),
        "seconds": round(time.monotonic() - started, 3),
    }
    if arguments.check:
        value["suspicions"] = [asdict(flag) for flag in flags]
    kind = "clean" if attack is None else f"{attack.label}, {record.access}{', bfloat16 gradients' * arguments.bf16}"
    checks = [["suspicious" if flag.fired else "fine", flag.sentence] for flag in flags]
    show(value, arguments.json, card.name, ["accuracy", "of"], [[percent(interval), kind], *checks])
