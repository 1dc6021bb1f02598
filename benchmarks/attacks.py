"""How fast PGD is here and in attack libraries: same network, same images, same starts.

Usage::

    python -m benchmarks.attacks                                        # PGD-20, Linf 8/255, ResNet-20, 256 images
    python -m benchmarks.attacks --markdown >> benchmarks/results.md    # the same as a section to keep

The engine attacks the folded, channels-last network (folding is part of its time), once with every image going through
all steps and once with stop="success". The libraries are given the plain eval-mode network as it comes from a file, its
parameters ready for gradients; rows of their own give them frozen parameters, or our folded network. All get the same
batches: one of 256 images, and with --batch 64, where the libraries are at their best, the chunks of `evaluate`. The
attacks take turns in every run. Speed is the median over the runs, the ratio the median of each run's ratio to
torchattacks. On a CPU all draw the same random start from the seed, but for captum and ART, which draw theirs in their
own way. Robust accuracy: images right both clean and attacked, judged by the plain network.

torchattacks pins an old `requests`, so it is not among our requirements: `pip install --no-deps torchattacks==3.5.1`.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import DISTRIBUTIONS, HOW_TO_GET, LIBRARIES, Contender, halved, missing, ours
from engine import api
from engine.checkpoint import dual_network, load_checkpoint
from engine.cli.output import percent, progress, show
from engine.evaluation import judged
from engine.models import ARCHITECTURES

Batch = tuple[int, Tensor, Tensor]
"""Index of the first image, images (m, 3, h, w), labels (m,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is attacked. `meaningful`: the network was trained on these images, so its accuracies say something."""

    name: str
    view: nn.Module
    images: api.ImageSet
    meaningful: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """Medians over the runs (images a second; ratio to torchattacks, None without it), the fastest and slowest run."""

    name: str
    images_per_second: float
    slowest: float
    fastest: float
    ratio: float | None
    robust: api.Interval


def choose(architecture: str, n: int, device: torch.device, where: dict[str, Any]) -> Subject:
    """The adversarial branch of a shipped checkpoint of this architecture, CIFAR-10 first, else a fresh network."""
    setting = api.branch_setting(api.Branch.ADV)
    cards = [card for card in api.list_cards()[0] if card.architecture == architecture]
    if not cards:
        with torch.random.fork_rng():
            torch.manual_seed(api.SEED)  # noqa: TID251  # initialisation only; restored by fork_rng
            model = dual_network(architecture, 10, "single").to(device).requires_grad_(False)
        note = "No checkpoint of this architecture is here: the network is as initialised, its accuracies mean nothing."
        name = f"{architecture}, untrained (seed {api.SEED})"
        return Subject(name, api.at(model, setting), api.load_data("shapes", "test", n), False, (note,))
    card = min(cards, key=lambda card: (card.data["name"] != "cifar10", not card.name.endswith("dual-bn"), card.name))
    try:
        bench, _ = api.open_bench(card.name, device, n=n, **where)
    except api.InputError as error:
        model, _ = load_checkpoint(api.checkpoint_folder(card.name), device)
        note = f"{error} Built-in images instead: speeds are the same, accuracies mean nothing."
        return Subject(card.name, api.at(model, setting), api.load_data("shapes", "test", n), False, (note,))
    notes = (bench.test.note,) if bench.test.note else ()
    return Subject(card.name, bench.view(setting), bench.test, True, notes)


def synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


def contenders(subject: Subject, attack: api.PGD) -> tuple[list[Contender], list[str]]:
    """Those that can be measured, and a sentence for each that cannot."""
    found, notes = [ours(subject.view, attack)], list[str]()
    if subject.meaningful:
        early = replace(attack, stop="success")
        found.append(ours(subject.view, early))
        if api.half_supported(next(subject.view.parameters()).device):
            found.append(halved(subject.view, early))
    else:
        notes.append('stop="success" is left out: nearly all images are misclassified from the start and cost nothing.')
    for name, makes in LIBRARIES.items():
        if find_spec(name):
            found += [make(subject.view, attack) for make in makes]
    return found, notes + missing(*LIBRARIES)


def batched(images: api.ImageSet, n: int, size: int, device: torch.device) -> list[Batch]:
    """The first n images, `size` a batch."""
    chunks = ((start, images.tensors(start, min(n, start + size))) for start in range(0, n, size))
    return [(start, pixels.to(device), labels.to(device)) for start, (pixels, labels) in chunks]


def one_run(contender: Contender, batches: Sequence[Batch]) -> tuple[float, list[Tensor]]:
    """Seconds, and the adversarial images of each batch."""
    device = batches[0][1].device
    synchronise(device)
    started = time.perf_counter()
    craft = contender.prepare()
    adversarial = [craft(images, labels, api.seeded(api.SEED, start)) for start, images, labels in batches]
    synchronise(device)
    return time.perf_counter() - started, adversarial


def measure(
    subject: Subject, found: Sequence[Contender], batches: Sequence[Batch], runs: int, tick: Callable[[int, int], None]
) -> list[Result]:
    """Every contender `runs` times, taking turns, after one chunk each to warm up."""
    n, clean = sum(len(labels) for _, _, labels in batches), [judged(subject.view, x, y) for _, x, y in batches]
    seconds: dict[str, list[float]] = {contender.name: [] for contender in found}
    right: dict[str, int] = {}
    for contender in found:
        one_run(contender, batches[:1])
    for run in range(runs):
        for index, contender in enumerate(found):
            taken, adversarial = one_run(contender, batches)
            seconds[contender.name].append(taken)
            kept = zip(clean, adversarial, batches, strict=True)
            right[contender.name] = sum(int((c & judged(subject.view, x, y)).sum()) for c, x, (_, _, y) in kept)
            tick(run * len(found) + index + 1, runs * len(found))

    def result(name: str) -> Result:
        mine, theirs = seconds[name], seconds.get("torchattacks")
        ratio = median(b / a for a, b in zip(mine, theirs, strict=True)) if theirs else None
        speeds = [n / taken for taken in mine]
        return Result(name, median(speeds), min(speeds), max(speeds), ratio, api.wilson(right[name], n))

    return [result(contender.name) for contender in found]


def machine(device: torch.device) -> str:
    """Processor or GPU, threads and versions, in one line."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.exists() else []
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
        name = f"{model or platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"
    versions = [f"{peer} {version(DISTRIBUTIONS.get(peer, peer))}" for peer in HOW_TO_GET if find_spec(peer)]
    return ", ".join([name, f"Python {platform.python_version()}", f"torch {torch.__version__}", *versions])


def cells(result: Result) -> list[str]:
    speed = f"{result.images_per_second:.0f} ({result.slowest:.0f} to {result.fastest:.0f})"
    ratio = "-" if result.ratio is None else f"{result.ratio:.2f}"
    return [result.name, speed, ratio, percent(result.robust)]


COLUMNS = ["attack", "images a second: median (slowest to fastest)", "ratio to torchattacks", "robust accuracy"]


def markdown(value: dict[str, Any], columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A section for results.md."""
    table = [columns, ["---"] * len(columns), *rows]
    lines = [f"\n### {value['attack']}, {value['network']}, {value['images']}\n", f"{value['machine']}.\n"]
    lines += [f"{note}\n" for note in (f"Command: `{value['command']}`.", *value["notes"])]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in table)])


def parser_for(name: str, text: str, images: int) -> argparse.ArgumentParser:
    """What all benchmarks of attacks are asked."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=text)
    parser.add_argument("--images", type=int, default=images)
    parser.add_argument("--batch", type=int, default=256, help="images a call, for all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="processor threads torch may use")
    parser.add_argument("--data-dir", type=Path, help="where CIFAR-10 lies")
    parser.add_argument("--unofficial", action="store_true", help="accept files that are not the published ones")
    parser.add_argument("--note", action="append", default=[], help="a sentence to keep with the figures")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--markdown", action="store_true", help="print a section for results.md")
    return parser


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = parser_for("attacks", "PGD's speed, beside libraries.", 256)
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="resnet20")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args(argv)
    if min(arguments.images, arguments.steps, arguments.runs, arguments.threads or 1, arguments.batch) < 1:
        parser.error("--images, --steps, --runs, --threads and --batch must be at least 1")
    return arguments


def run(arguments: argparse.Namespace) -> None:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = api.pick_device(arguments.device)
    where = {"data_dir": arguments.data_dir, "allow_unofficial": arguments.unofficial}
    subject = choose(arguments.architecture, arguments.images, device, where)
    attack = replace(api.pgd(arguments.steps, api.MAIN_EPS), stop="never")
    found, notes = contenders(subject, attack)
    batches = batched(subject.images, arguments.images, arguments.batch, device)
    with progress("attacks") as tick:
        results = measure(subject, found, batches, arguments.runs, tick)
    images = f"{arguments.images} {subject.images.name} {subject.images.split} images"
    value: dict[str, Any] = {
        "command": f"python -m benchmarks.attacks --architecture {arguments.architecture} --images {arguments.images} "
        f"--steps {arguments.steps} --runs {arguments.runs} --batch {arguments.batch} --device {arguments.device}",
        "machine": machine(device),
        "network": subject.name,
        "images": f"{images} in batches of {arguments.batch}",
        "attack": attack.label,
        "runs": arguments.runs,
        "notes": [*subject.notes, *arguments.note, *notes],
        "results": [asdict(result) for result in results],
    }
    output(arguments, value, COLUMNS, [cells(result) for result in results])


def output(
    arguments: argparse.Namespace, value: dict[str, Any], columns: list[str], rows: Sequence[Sequence[str]]
) -> None:
    """The result as a section, as JSON or as a table."""
    if arguments.markdown:
        print(markdown(value, columns, rows))
        return
    show(value, arguments.json, f"{value['attack']}, {value['network']}, {value['images']}", columns, rows)
    if not arguments.json:
        print("\n".join([value["machine"], *value["notes"]]))


def guarded(run: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Runs it and returns the exit code: 2 with one sentence where something asked for is not here."""
    try:
        run(arguments)
    except api.InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def main(argv: list[str] | None = None) -> int:
    return guarded(run, parse(argv))


if __name__ == "__main__":
    sys.exit(main())
