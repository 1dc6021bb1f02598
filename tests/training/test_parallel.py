"""Several processes train as one: two gloo processes against one on the same batches, and what torchrun starts."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file
from torch import Tensor

from engine.training.loop import Run
from engine.training.parallel import World, here
from engine.values import DUAL_BN, InputError
from tests.support import dual, generator, random_images
from tests.training.as_two import tensors_of
from tests.training.support import SOUND, coloured, config

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-4
RUNS: dict[str, dict[str, Any]] = {
    "dual-bn": {"augment": "crop-flip", "ema": 0.9, "epochs": 1, "n_train": 128},
    "dual-ap, joint": {"design": "dual-ap", "batch": "joint", "epochs": 1, "n_train": 128},
    "dual-ap, crossed": {"design": "dual-ap", "batch": "crossed", "epochs": 1, "n_train": 128},
    "adversarial AP only": {"only": "affine", "warm_start": "tiny", "alpha": 0.0, "epochs": 1, "n_train": 128},
}


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun would set."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return os.environ | {"OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in names.items()}


def in_two(out: Path, runs: dict[str, dict[str, Any]]) -> list[subprocess.Popen[bytes]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.training.as_two", str(out), json.dumps(runs)]
    return [subprocess.Popen(command, cwd=ROOT, env=environment(rank, 2, port)) for rank in range(2)]


def furthest(a: dict[str, Tensor], b: dict[str, Tensor], start: str = "") -> float:
    """The largest difference between two sets of the same tensors whose names begin alike; NaN equals NaN."""
    assert a.keys() == b.keys()
    names = [name for name in a if name.startswith(start) and a[name].is_floating_point()]
    assert names
    return max((a[name].double() - b[name].double()).nan_to_num().abs().max().item() for name in names)


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """Weights, NS of both branches and logged means, after 4 steps on the same global batches of 32."""
    out = tmp_path / "two.safetensors"
    children = in_two(out, RUNS)
    one = tensors_of(RUNS)
    assert [child.wait(60) for child in children] == [0, 0]
    two = load_file(out)
    apart = {name: furthest(one, two, f"{name}/") for name in RUNS}
    assert {name: value for name, value in apart.items() if value > TOLERANCE} == {}


def test_a_process_draws_the_numbers_of_its_own_images() -> None:
    images = random_images(12)
    whole = torch.rand(images.shape, generator=generator(5))
    for rank in range(3):
        world = World(rank, 3)
        own = images[world.own(12)]
        drawn = torch.rand(own.shape, generator=world.skip(generator(5), own))
        assert torch.equal(drawn, whole[world.own(12)])


def test_a_batch_that_does_not_divide_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="A batch of 32 images does not divide by 3 processes; change batch_size"):
        World(2, 3).own(32)
    assert [World(rank, 4).own(32) for rank in (0, 3)] == [slice(0, 8), slice(24, 32)]


def test_one_process_is_left_as_it_was() -> None:
    """No wrapper and no synced layer, whatever torchrun's variables would say: nothing was joined."""
    run = Run(dual(DUAL_BN).requires_grad_(True), config(), coloured())
    assert here() == World(0, 1)
    assert run.halves.__class__.__name__ == "Halves"
    assert not any(getattr(module, "synced", False) for module in run.model.modules())
    assert World().mean(0.1, 0.2) == (0.1, 0.2)


def torchrun(root: Path, size: int, *extra: str, **changes: object) -> list[str]:
    """The command that trains a small network on `shapes` in `size` processes."""
    root.mkdir(exist_ok=True)
    values = SOUND | {"n_train": 1024, "batch_size": 128, "epochs": 2, "augment": "crop-flip"} | changes
    (root / "tiny.toml").write_text("\n".join(f"{key} = {value!r}" for key, value in values.items()))
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    train = ["train", str(root / "tiny.toml"), "--root", str(root), "--n-headline", "4", "--device", "cpu", *extra]
    return [*start, "-m", "engine", *train]


def workers_of(pid: int) -> list[int]:
    """torchrun's workers, by the kernel's list of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ran(command: list[str]) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_torchrun_on_shapes(tmp_path: Path) -> None:
    """One step of a ResNet agrees to 5e-4; refused batches and files: one sentence, one writer."""
    for size in (1, 2):
        done = ran(torchrun(tmp_path / str(size), size, n_train=128, epochs=1, eps_hold=0.0, eps_full=0.0))
        assert done.returncode == 0, done.stderr
        names = {path.name for path in (tmp_path / str(size) / "tiny").iterdir()}
        assert names == {"card.json", "golden.npz", "log.csv", "train.toml", "weights.safetensors"}
    one, two = (load((tmp_path / size / "tiny" / "weights.safetensors").read_bytes()) for size in "12")
    assert 0 < furthest(one, two) < 5e-4
    refused = ran(torchrun(tmp_path / "odd", 2, batch_size=127))
    assert refused.returncode != 0
    assert refused.stderr.count("A batch of 127 images does not divide by 2 processes") == 1
    assert not (tmp_path / "odd" / "tiny").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_killed_processes_go_on_to_the_same_weights(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    log = killed / "tiny" / "log.csv"
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(torchrun(killed, 2, epochs=4), cwd=ROOT, env=env)
    while child.poll() is None and not log.exists():
        time.sleep(0.01)
    workers = workers_of(child.pid)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)  # torchrun then ends the other one
    assert child.wait(60) != 0
    assert not (killed / "tiny" / "card.json").exists()
    for command in (torchrun(killed, 2, "--resume", epochs=4), torchrun(whole, 2, epochs=4)):
        done = ran(command)
        assert done.returncode == 0, done.stderr
    weights = [(root / "tiny" / "weights.safetensors").read_bytes() for root in (killed, whole)]
    assert weights[0] == weights[1]
    logs = [(root / "tiny" / "log.csv").read_text().splitlines() for root in (killed, whole)]
    losses = [[row["loss"] for row in csv.DictReader(log)] for log in logs]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
