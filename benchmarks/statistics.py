"""What feature statistics cost beside a plain forward pass: the moments of every norm layer, image by image.

Usage::

    python -m benchmarks.statistics --images 1000          # one line; --json for an object

The two take turns and the least processor time of each counts, so that a busy machine does not change the ratio much.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from engine.checkpoint import dual_network
from engine.cli.output import show
from engine.evaluation import CPU_CHUNK
from engine.features import Recorder
from engine.norm import at
from engine.values import Branch, branch_setting

RUNS = 5


def seconds(network: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Processor time of one pass in chunks."""
    started = time.process_time()
    with torch.no_grad():
        for chunk in images.split(CPU_CHUNK):
            network(chunk)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="Feature statistics against a plain forward pass, on the CPU.")
    parser.add_argument("--architecture", default="resnet20")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    view = at(dual_network(arguments.architecture, 10, "dual-bn").eval(), branch_setting(Branch.ADV))
    images = torch.rand(arguments.images, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, recorded = [], []
    for _ in range(RUNS):
        recorder = Recorder(view)
        plain.append(seconds(view, images))
        recorded.append(seconds(recorder, images))
    value = {"plain": min(plain), "recorded": min(recorded), "ratio": min(recorded) / min(plain)}
    row = [f"{value['plain']:.2f} s", f"{value['recorded']:.2f} s", f"{value['ratio']:.2f}"]
    title = f"{arguments.architecture}, {arguments.images} images, {torch.get_num_threads()} threads"
    show(value, arguments.json, title, ["forward", "with statistics", "ratio"], [row])


if __name__ == "__main__":
    main()
