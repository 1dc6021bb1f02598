"""AutoAttack here and elsewhere: robust accuracy and time on the same network and the same images.

Usage::

    python -m benchmarks.auto --images 100                              # shapes-dual-bn, adversarial branch
    python -m benchmarks.auto --checkpoint cifar10-resnet20-dual-bn --images 1000 --markdown >> benchmarks/results.md

All run the standard sequence APGD-CE, APGD-T, FAB-T (100 steps, 9 targets) and Square (5,000 queries) in the same
batches; only images that are still right go on. torchattacks' own `AutoAttack` leaves its three gradient attacks at 10
steps, which is not the standard, so its four attacks are called one by one with the standard's budgets. pyautoattack is
the authors' code as a package. The libraries get the plain eval-mode network without parameter gradients, ours folds it
first (counted). The ratio compares processor time, which a busy machine distorts less than the clock.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.attacks import Batch, batched, guarded, machine, output, parser_for, synchronise
from benchmarks.peers import Crafter, globally_seeded, missing
from engine import api
from engine.attacks.half import half_first
from engine.cli.output import percent, progress
from engine.evaluation import judged
from engine.norm import fold, half

PEERS = ("torchattacks", "pyautoattack")
COLUMNS = ["attack", "robust accuracy", "seconds", "processor seconds", "share of torchattacks' time"]


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    robust: api.Interval
    seconds: float
    processor_seconds: float


def ours(view: nn.Module, threat: api.ThreatModel) -> Crafter:
    craft, attack = api.crafting_network(view), api.AutoAttack(threat)
    return lambda images, labels, generator: attack(craft, images, labels, generator=generator)


def ours_half(view: nn.Module, threat: api.ThreatModel) -> Crafter:
    """Gradients in bfloat16; verdicts, and a last APGD on what is left, in float32 (`engine.attacks.half`)."""
    craft, attack, rough = api.crafting_network(view), api.AutoAttack(threat), half(fold(view))
    return lambda images, labels, generator: half_first(attack, rough, craft, images, labels, generator=generator)


def torchattacks(view: nn.Module, threat: api.ThreatModel) -> Crafter:
    library: Any = importlib.import_module("torchattacks")
    n_classes = _classes(view)
    shared: dict[str, Any] = {"eps": threat.eps, "norm": threat.norm}
    parts = [
        library.APGD(view, steps=100, loss="ce", **shared),
        library.APGDT(view, steps=100, n_classes=n_classes, **shared),
        library.FAB(view, steps=100, multi_targeted=True, n_classes=n_classes, **shared),
        library.Square(view, n_queries=5000, **shared),
    ]

    def sequence(images: Tensor, labels: Tensor) -> Tensor:
        found = images.clone()
        for part in parts:
            where = judged(view, found, labels).nonzero()[:, 0].to(images.device)
            if len(where):
                found[where] = part(images[where], labels[where])
        return found

    return globally_seeded(sequence)


def pyautoattack(view: nn.Module, threat: api.ThreatModel) -> Crafter:
    library: Any = importlib.import_module("pyautoattack")
    device = next(view.parameters()).device
    attack = library.AutoAttack(view, norm=threat.norm, eps=threat.eps, device=device, version="standard")

    def sequence(images: Tensor, labels: Tensor) -> Tensor:
        return attack.run_standard_evaluation(images, labels, batch_size=len(images))[0]

    return globally_seeded(sequence)


def _classes(view: nn.Module) -> int:
    heads = [module for module in view.modules() if isinstance(module, nn.Linear)]
    return heads[-1].out_features


MAKERS: dict[str, Callable[[nn.Module, api.ThreatModel], Crafter]] = {
    "torchattacks": torchattacks,
    "pyautoattack": pyautoattack,
}


def measure(
    name: str, make: Callable[[], Crafter], view: nn.Module, batches: list[Batch], tick: Callable[[], None]
) -> Result:
    """One pass over the batches; verdicts, not counted, are the plain network's."""
    device, kept, n = batches[0][1].device, 0, sum(len(labels) for _, _, labels in batches)
    synchronise(device)
    started, busy = time.perf_counter(), time.process_time()
    craft, found = make(), list[Tensor]()
    for start, images, labels in batches:
        found.append(craft(images, labels, api.seeded(api.SEED, start)))
        tick()
    synchronise(device)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    for (_, images, labels), adversarial in zip(batches, found, strict=True):
        kept += int((judged(view, images, labels) & judged(view, adversarial, labels)).sum())
    return Result(name, api.wilson(kept, n), seconds, busy)


def run(arguments: argparse.Namespace) -> None:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device, n = api.pick_device(arguments.device), arguments.images
    bench, card = api.open_bench(
        arguments.checkpoint, device, n=n, data_dir=arguments.data_dir, allow_unofficial=arguments.unofficial
    )
    view = bench.view(api.branch_setting(api.Branch.ADV))
    threat = api.ThreatModel("Linf", float(card.config["eps"]))
    batches = batched(bench.test, n, arguments.batch, device)
    contenders: dict[str, Callable[[], Crafter]] = {"this engine": lambda: ours(view, threat)}
    if api.half_supported(device):
        contenders["this engine, bfloat16"] = lambda: ours_half(view, threat)
    for name in PEERS:
        if find_spec(name):
            contenders[name] = lambda make=MAKERS[name]: make(view, threat)
    unknown = sorted({*arguments.only} - {*contenders})
    if unknown:
        raise api.InputError(f"--only takes {', '.join(contenders)}, got {', '.join(unknown)}.")
    contenders = {name: make for name, make in contenders.items() if name in (arguments.only or contenders)}
    results: list[Result] = []
    with progress("auto") as told:
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            told(done, len(batches) * len(contenders))

        for name, make in contenders.items():
            results.append(measure(name, make, view, batches, tick))
    peer = next((r.processor_seconds for r in results if r.name == "torchattacks"), None)
    rows = [
        [r.name, percent(r.robust), f"{r.seconds:.0f}", f"{r.processor_seconds:.0f}",
         f"{r.processor_seconds / peer:.2f}" if peer else "-"]
        for r in results
    ]  # fmt: skip
    value: dict[str, Any] = {
        "command": f"python -m benchmarks.auto --checkpoint {card.name} --images {n} --batch {arguments.batch} "
        f"--device {arguments.device}" + "".join(f' --only "{name}"' for name in arguments.only),
        "machine": machine(device),
        "network": f"{card.name} ({card.weights_sha256[:8]}), adversarial branch",
        "images": f"{n} {bench.test.name} {bench.test.split} images in batches of {arguments.batch}",
        "attack": api.AutoAttack(threat).label,
        "seed": api.SEED,
        "notes": [*([bench.test.note] if bench.test.note else []), *arguments.note, *missing(*PEERS)],
        "results": [asdict(result) for result in results],
    }
    output(arguments, value, COLUMNS, rows)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = parser_for("auto", "AutoAttack's strength and time, beside libraries.", 100)
    parser.add_argument("--checkpoint", default="shapes-dual-bn")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a row of the table; repeatable")
    arguments = parser.parse_args(argv)
    if min(arguments.images, arguments.batch, arguments.threads or 1) < 1:
        parser.error("--images, --batch and --threads must be at least 1")
    return arguments


def main(argv: list[str] | None = None) -> int:
    return guarded(run, parse(argv))


if __name__ == "__main__":
    sys.exit(main())
