"""What share of the machine PGD makes use of: its arithmetic against measured matrix products and convolutions.

Usage::

    python -m benchmarks.ceiling                                        # ResNet-20, PGD-20, 256 images

A step costs one forward and one backward pass to the image: two multiply-adds a weight and position each, 4 FLOP for
each of the network's multiply-accumulates (MAC), and one more forward pass at the end. The ceilings are the fastest of
several runs, taken in turn with PGD: a square matrix product, and a 3x3 convolution with 64 channels of 64 images in
channels-last order, forward and backward. PGD runs all images through all steps on the folded network.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.attacks import choose, guarded, machine, output, parser_for, synchronise
from engine import api
from engine.cli.output import progress
from engine.evaluation import chunk_size
from engine.models import ARCHITECTURES
from engine.norm import channels_last, fold

SIDE, CHANNELS, POSITIONS, BATCH, REPEATS = 1024, 64, 16, 64, 8
COLUMNS = ["what", "GFLOP a second (fastest run)", "share of the matrix product", "share of the convolution"]
Work = tuple[float, Callable[[], object]]
"""FLOP of one call, and the call."""


def macs(network: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image (1, c, h, w)."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += result[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += result[0].numel() * inputs[0].shape[-1]

    handles = [module.register_forward_hook(count) for module in network.modules()]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return total


def product(device: torch.device) -> Work:
    a, b = (torch.rand(SIDE, SIDE, device=device) for _ in range(2))
    return 2.0 * SIDE**3 * REPEATS, lambda: [torch.nn.functional.linear(a, b) for _ in range(REPEATS)]


def convolution(device: torch.device) -> Work:
    """Forward and the gradient of the input."""
    x = channels_last(torch.rand(BATCH, CHANNELS, POSITIONS, POSITIONS, device=device)).requires_grad_()
    conv: nn.Module = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False).to(device).requires_grad_(False)
    conv = conv.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    above = torch.ones_like(x)

    def once() -> list[tuple[Tensor, ...]]:
        return [torch.autograd.grad(conv(x), x, above) for _ in range(REPEATS)]

    return 4.0 * BATCH * CHANNELS**2 * 9 * POSITIONS**2 * REPEATS, once


def seconds(work: Work, device: torch.device) -> float:
    synchronise(device)
    started = time.perf_counter()
    work[1]()
    synchronise(device)
    return time.perf_counter() - started


def run(arguments: argparse.Namespace) -> None:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device, n = api.pick_device(arguments.device), arguments.images
    where = {"data_dir": arguments.data_dir, "allow_unofficial": arguments.unofficial}
    subject = choose(arguments.architecture, n, device, where)
    attack = replace(api.pgd(arguments.steps, api.MAIN_EPS), stop="never")
    craft, size = api.crafting_network(subject.view), chunk_size(device)
    chunks = [subject.images.tensors(start, min(n, start + size)) for start in range(0, n, size)]
    chunks = [(images.to(device), labels.to(device)) for images, labels in chunks]
    each = macs(fold(subject.view), chunks[0][0][:1])

    def crafted() -> list[Tensor]:
        return [attack(craft, *chunk, generator=api.seeded(api.SEED, i)) for i, chunk in enumerate(chunks)]

    with torch.random.fork_rng():
        works: dict[str, Work] = {
            "matrix product": product(device),
            "convolution, forward and backward": convolution(device),
            attack.label: (n * each * (4.0 * attack.steps + 2), crafted),
        }
    best = dict.fromkeys(works, float("inf"))
    with progress("ceiling") as told:
        for turn in range(arguments.runs):
            for name, work in works.items():
                best[name] = min(best[name], seconds(work, device))
            told(turn + 1, arguments.runs)
    rates = {name: work[0] / best[name] / 1e9 for name, work in works.items()}
    first, second, _ = rates.values()
    rows = [[name, f"{rate:.0f}", f"{rate / first:.0%}", f"{rate / second:.0%}"] for name, rate in rates.items()]
    value: dict[str, Any] = {
        "command": f"python -m benchmarks.ceiling --architecture {arguments.architecture} --images {n} "
        f"--steps {arguments.steps} --runs {arguments.runs} --device {arguments.device}",
        "machine": machine(device),
        "network": subject.name,
        "images": f"{n} images in chunks of {size}",
        "attack": f"Share of the machine's ceiling, {attack.label}",
        "mac_per_image": each,
        "notes": [f"The network takes {each / 1e6:.1f} million MAC an image.", *arguments.note],
        "results": [{"name": name, "gflop_per_second": rate} for name, rate in rates.items()],
    }
    output(arguments, value, COLUMNS, rows)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = parser_for("ceiling", "What share of the machine's arithmetic PGD reaches.", 256)
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="resnet20")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args(argv)
    if min(arguments.images, arguments.steps, arguments.runs, arguments.threads or 1) < 1:
        parser.error("--images, --steps, --runs and --threads must be at least 1")
    return arguments


def main(argv: list[str] | None = None) -> int:
    return guarded(run, parse(argv))


if __name__ == "__main__":
    sys.exit(main())
