"""Kill -9 at random moments: what was confirmed is there, nothing damaged is shown, and the end is the same.

    python -m benchmarks.chaos --kills 100 --seed 0 --seconds 900

Four kinds of work, tiny but by the real code: a sweep, a training, writes to the result store, a download. Each runs in
a process of its own that says what is done; it is killed at a moment drawn from the seed, what it left is examined, and
the next process goes on from there. Whenever one comes to its end, the result must be an undisturbed run's, bit for
bit. Exit code 1 where anything was lost, damaged or different. How far a process gets by a moment depends on the
machine, so a seed repeats the moments, not the places in the code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import select
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engine.attacks import PGD
from engine.data import download
from engine.store import Store
from engine.sweep import Point, load_sweep, run_sweep
from engine.training.state import load_state
from engine.values import InputError, NormSetting, Stored, ThreatModel
from tests.data.file_server import Server
from tests.store.support import content, key
from tests.support import linear_bench
from tests.training.support import config, trained

Confirm = Callable[[int], object]
FORK = multiprocessing.get_context("fork")
"""Processes begin with torch loaded: a hundred starts would else take longer than all the work."""


@dataclass(frozen=True, slots=True)
class Kind:
    """work(folder, confirm) goes on from what is in the folder; kept(folder) is how much of it is there, and whole:
    InputError if not; result(folder) is what it came to."""

    name: str
    work: Callable[[Path, Confirm], None]
    kept: Callable[[Path], int]
    result: Callable[[Path], bytes]


BENCH = linear_bench(n=40, n_calibration=20)
ATTACK = PGD(ThreatModel("Linf", 0.02), 5, 0.005)
POINTS = [
    Point(NormSetting(i / 10, Stored(float(j))), a, 40) for i in range(10) for j in range(2) for a in (None, ATTACK)
]
HEAD = {"seed": 0}
TRAINING = config(epochs=1, ema=0.9)
N_PUT = 40
BODY = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


def sweep(folder: Path, confirm: Confirm) -> None:
    for done, _ in run_sweep(folder / "sweep.jsonl", BENCH, HEAD, POINTS):
        confirm(done)


def swept(folder: Path) -> int:
    path = folder / "sweep.jsonl"
    return len(load_sweep(path, HEAD)) if path.exists() else 0


def training(folder: Path, confirm: Confirm) -> None:
    """A step counts as confirmed when the next one is made: its state is on disk by then."""
    steps = iter(range(10**9))
    path = folder / "state.safetensors"
    first = load_state(path, TRAINING.as_json())[0] if path.exists() else 0

    def step(_: nn.Module) -> None:
        confirm(first + next(steps))

    model, rows = trained(TRAINING, path, after_step=step)
    digest = hashlib.sha256(str([(row.epoch, row.loss) for row in rows]).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    (folder / "result").write_bytes(digest.digest())


def trained_to(folder: Path) -> int:
    path = folder / "state.safetensors"
    return load_state(path, TRAINING.as_json())[0] if path.exists() else 0


def putting(folder: Path, confirm: Confirm) -> None:
    store = Store(folder / "results.sqlite")
    for i in range(put(folder), N_PUT):
        store.put(key(i), content(i))
        confirm(i + 1)


def put(folder: Path) -> int:
    """How many are there from the first on; InputError where one is not as it was put."""
    store = Store(folder / "results.sqlite")
    if not all(entry.sound for entry in store.entries()) or store.path.with_suffix(".damaged").exists():
        raise InputError("The store is damaged.")
    return next((i for i in range(N_PUT) if store.get(key(i), bytes) != content(i)), N_PUT)


def downloading(folder: Path, confirm: Confirm, url: str) -> None:
    def progress(done: int, _: int) -> None:
        confirm(done)
        time.sleep(0.0005)

    download.download(url, folder / "file", md5=MD5, size=len(BODY), progress=progress)


def downloaded(folder: Path) -> int:
    """Bytes; InputError where they are not the file's first ones, or a file with the final name is not whole."""
    path, part = folder / "file", folder / "file.part"
    there = path if path.exists() else part
    bytes_ = there.read_bytes() if there.exists() else b""
    if not BODY.startswith(bytes_) or (there is path and bytes_ != BODY):
        raise InputError(f"{there.name} is damaged.")
    return len(bytes_)


def kinds(url: str) -> list[Kind]:
    return [
        Kind("sweep", sweep, swept, lambda folder: (folder / "sweep.jsonl").read_bytes()),
        Kind("training", training, trained_to, lambda folder: (folder / "result").read_bytes()),
        Kind("store", putting, put, lambda folder: str(put(folder)).encode()),
        Kind("download", lambda folder, confirm: downloading(folder, confirm, url), downloaded,
             lambda folder: (folder / "file").read_bytes()),
    ]  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What came of one kind of work; confirmed: pieces that a killed process had confirmed, and all were looked for."""

    kills: int = 0
    confirmed: int = 0
    finished: int = 0
    left_over: int = 0
    problems: list[str] = field(default_factory=list[str])


def begun(kind: Kind, folder: Path) -> tuple[BaseProcess, int]:
    """A process at work, and the end of the pipe that its confirmations come out of."""
    reading, writing = os.pipe()

    def work() -> None:
        os.close(reading)
        torch.set_num_threads(1)
        kind.work(folder, lambda done: os.write(writing, struct.pack("q", done)))

    process = FORK.Process(target=work)
    process.start()
    os.close(writing)
    return process, reading


def confirmations(reading: int) -> list[int]:
    """All that came out of the pipe, to its end."""
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    return [value for (value,) in struct.iter_unpack("q", said[: len(said) // 8 * 8])]


def undisturbed(kind: Kind, folder: Path) -> tuple[bytes, float, float]:
    """The result, and seconds to the first confirmation and from there to the end."""
    started = time.monotonic()
    process, reading = begun(kind, folder)
    select.select([reading], [], [])
    first = time.monotonic()
    confirmations(reading)
    process.join()
    assert process.exitcode == 0, f"{kind.name} does not even run undisturbed"
    return kind.result(folder), first - started, time.monotonic() - first


def tormented(kind: Kind, root: Path, kills: int, rng: np.random.Generator, seconds: float) -> Tally:
    """Kills until there were enough, or the time is up, and examines after each; then lets the last one end."""
    whole, to_begin, at_work = undisturbed(kind, root)
    deadline = time.monotonic() + seconds
    tally, home = Tally(), tempfile.mkdtemp(dir=root)
    while True:
        folder = Path(home)
        last = tally.kills >= kills or time.monotonic() > deadline
        process, reading = begun(kind, folder)
        if not last:
            begins = rng.random() < 0.3  # the others are at work already
            if not begins:
                select.select([reading], [], [])
            process.join(rng.uniform(0, to_begin if begins else at_work / 3))
            process.kill()
        said = confirmations(reading)
        process.join()
        tally.confirmed += len(said)
        try:
            kept, finished = kind.kept(folder), process.exitcode == 0
            if kept < max(said, default=0):
                tally.problems.append(f"{kind.name}: {max(said)} was confirmed and {kept} is there")
            if finished and kind.result(folder) != whole:
                tally.problems.append(f"{kind.name}: after kills the result is another one")
        except InputError as error:
            tally.problems.append(f"{kind.name}: damaged after a kill ({error})")
            return tally
        if process.exitcode not in (0, -9):
            tally.problems.append(f"{kind.name}: could not go on after a kill (exit code {process.exitcode})")
            return tally
        tally.kills += process.exitcode == -9
        if finished:
            tally.finished += 1
            tally.left_over += sum(file.name.startswith(".") for file in folder.iterdir())
            home = tempfile.mkdtemp(dir=root)
        if last:
            return tally


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill -9 at random moments, and look what is left.")
    parser.add_argument("--kills", type=int, default=100, help="in all, over four kinds of work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=900, help="no more kills after that time")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["no_proxy"] = "*"
    download.CHUNK, started = 1000, time.monotonic()
    rng = np.random.default_rng(arguments.seed)
    tallies: dict[str, Tally] = {}
    with Server(BODY) as server, tempfile.TemporaryDirectory() as folder:
        serving = FORK.Process(target=server.serve_forever, daemon=True)
        serving.start()
        for index, kind in enumerate(kinds(server.url)):
            share = (arguments.kills + 3 - index) // 4
            root = Path(folder) / kind.name
            root.mkdir()
            tallies[kind.name] = tormented(kind, root, share, rng, arguments.seconds / 4)
        serving.kill()
        serving.join()
    problems = [problem for tally in tallies.values() for problem in tally.problems]
    report(tallies, problems, time.monotonic() - started, arguments)
    return 1 if problems else 0


def report(tallies: dict[str, Tally], problems: list[str], seconds: float, arguments: argparse.Namespace) -> None:
    rows = {name: {f: getattr(tally, f) for f in Tally.__slots__} for name, tally in tallies.items()}
    if arguments.json:
        print(json.dumps({"work": rows, "problems": problems, "seconds": round(seconds, 1), "seed": arguments.seed}))
        return
    print(
        "| work | kills | pieces confirmed and looked for | ended the same | files left over |\n|---|---|---|---|---|"
    )
    for name, row in rows.items():
        print(f"| {name} | {row['kills']} | {row['confirmed']:,} | {row['finished']} | {row['left_over']} |")
    kills = sum(tally.kills for tally in tallies.values())
    print(f"\n{kills} kills, seed {arguments.seed}, {seconds:.0f} s. " + ("\n".join(problems) or "Nothing was lost."))


if __name__ == "__main__":
    sys.exit(main())
