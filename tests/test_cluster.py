"""`--ray`: shards add up to the one-machine record, and a real Ray gives the one-machine files byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine import api
from engine.__main__ import main
from engine.cli import shards
from engine.sweep import append, header, in_order, load_sweep, missing_points, pgd, plan, run_sweep
from engine.values import DUAL_BN, SINGLE, NormSetting, Reestimated, Stored
from tests.support import card_for, linear_bench, write_checkpoint

ROOT = Path(__file__).parents[1]
SETTINGS = (NormSetting(0.5, Stored(1.0)), NormSetting(1.0, Reestimated("clean", 64)))
needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed: pip install -r requirements-cluster.txt"
)


def place_of(root: Path, name: str, n: int) -> shards.Where:
    card = api.load_card(api.checkpoint_folder(name, root))
    images = api.load_data("shapes", "test", n)
    fixed = {"weights_sha256": card.weights_sha256, "data_sha256": images.checksum}
    return shards.Where(root, "cpu", 1, None, False, name=name, n=n, **fixed)


@pytest.mark.parametrize("setting", SETTINGS, ids=["stored", "re-estimated"])
def test_shards_add_up_to_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: NormSetting) -> None:
    write_checkpoint(tmp_path, "toy")
    attacks = (None, pgd(1, 1 / 255))
    monkeypatch.setattr(shards, "IMAGES", 64)
    trial, place = api.Trial(setting, 150, 3), place_of(tmp_path, "toy", 150)
    pieces = shards.parts(trial)
    assert [(piece.first, piece.n) for piece in pieces] == [(0, 64), (64, 64), (128, 22)]
    counts = [shards.counted(shards.Shard(place, piece, attacks)) for piece in pieces]
    bench = api.open_bench("toy", api.pick_device("cpu"), n=150, root=tmp_path)[0]
    whole = bench.evaluate_many(setting, attacks, 150, 3)
    assert [sum(count) for count in zip(*counts, strict=True)] == [record.n_correct for record in whole]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"weights_sha256": "0"}, "has other weights or images of toy; share one folder"),
        ({"data_sha256": "0"}, "has other weights or images of toy; share one folder"),
        ({"version": "0.0"}, "not 0.0; update it"),
    ],
    ids=str,
)
def test_a_worker_that_has_something_else_says_so(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    write_checkpoint(tmp_path, "toy")
    with pytest.raises(api.InputError, match=sentence):
        shards.open_there(replace(place_of(tmp_path, "toy", 4), **changes))


def test_records_in_any_order_become_the_file_that_one_machine_writes(tmp_path: Path) -> None:
    bench, points = linear_bench(), [p for p in plan(DUAL_BN, 64, 64) if isinstance(p.setting.statistics, Stored)][:9]
    head = header(card_for("toy", DUAL_BN), bench.test, 0)
    list(run_sweep(tmp_path / "one.jsonl", bench, head, points))
    assert missing_points(tmp_path / "far.jsonl", head, points) == points
    for record in reversed(load_sweep(tmp_path / "one.jsonl", head)):
        append(tmp_path / "far.jsonl", record)
    assert missing_points(tmp_path / "far.jsonl", head, points) == []
    in_order(tmp_path / "far.jsonl", head, points)
    assert (tmp_path / "far.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


EVALUATE = ("evaluate", "toy", "--n", "8", "--ap", "1", "--ns", "stored:1", "--attack", "none", "--device", "cpu")


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_a_sentence_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path, "toy")
    assert main([*EVALUATE, "--root", str(tmp_path), "--ray", "local"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "Ray is not installed here: pip install -r requirements-cluster.txt."
    )


def test_what_one_machine_must_do_is_not_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path, "toy")
    assert main([*EVALUATE, "--root", str(tmp_path), "--ray", "local", "--bf16"]) == 2
    assert "--check and --bf16 are for one machine" in capsys.readouterr().err


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: Ray changes the process it is started in."""
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=550
    )


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_jobs_of_a_killed_worker_are_done_again(tmp_path: Path) -> None:
    """Two of six jobs kill -9 their worker once; and an InputError in a job arrives as one."""
    jobs = [(number, str(tmp_path / str(number)) if number in (1, 4) else "") for number in range(6)]
    code = f"""
        from engine.cluster import spread
        from engine.values import InputError
        from tests.jobs import refused, squared
        found = dict(spread("local", squared, {jobs!r}))
        assert [found[n][0] for n in range(6)] == [0, 1, 4, 9, 16, 25], found
        killed = {{int(open(path).read()) for _, path in {jobs!r} if path}}
        assert killed and not killed & {{found[n][1] for n in (1, 4)}}, (killed, found)
        try:
            list(spread("local", refused, [7]))
        except InputError as error:
            assert str(error) == "7 is not wanted.", error
        else:
            raise AssertionError
        try:
            list(spread("local", squared, jobs, threads=10_000))
        except InputError as error:
            assert "No machine of the cluster has 10000 processors" in str(error), error
        else:
            raise AssertionError
        try:
            list(spread("127.0.0.1:1", squared, [7]))
        except InputError as error:
            assert "No Ray cluster answers at '127.0.0.1:1'" in str(error), error
        else:
            raise AssertionError
    """.replace("\n        ", "\n").replace("squared, jobs, threads", f"squared, {jobs!r}, threads")
    done = ran("-c", code)
    assert done.returncode == 0, done.stderr


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_on_ray_the_files_and_figures_are_those_of_one_machine(tmp_path: Path) -> None:
    """Of a sweep whose file was begun, and of one accuracy."""
    sweep = ("sweep", "toy", "--n", "32", "--n-plane", "16", "--n-gaps", "16", "--device", "cpu", "--threads", "1")
    attacked = (*EVALUATE[:-3], "pgd", "--steps", "2", "--device", "cpu", "--threads", "1", "--json")
    records: list[str] = []
    for where, extra in (("one", ()), ("far", ("--ray", "local"))):
        folder = write_checkpoint(tmp_path / where, "toy", SINGLE)
        if extra:
            whole = (tmp_path / "one" / "toy" / "sweep.jsonl").read_text().splitlines(keepends=True)
            (folder / "sweep.jsonl").write_text("".join(whole[:5]) + whole[5][:20])
        for words in (sweep, attacked):
            done = ran("-m", "engine", *words, "--root", str(tmp_path / where), *extra)
            assert done.returncode == 0, done.stderr
        records.append(done.stdout.split('"seconds"')[0])
    assert records[0] == records[1]
    for name in ("sweep.jsonl", "gaps.json", "strip.npz"):
        assert (tmp_path / "one" / "toy" / name).read_bytes() == (tmp_path / "far" / "toy" / name).read_bytes(), name
