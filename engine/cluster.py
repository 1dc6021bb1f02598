"""Work spread over a Ray cluster: many jobs, each one call of one function, given back as they are done.

Usage::

    for index, result in spread("local", evaluated, jobs, threads=1): ...   # evaluated(jobs[index]), on some machine

Ray is imported only here, only when asked for; it is no requirement of the project (requirements-cluster.txt). A job
whose worker dies is done again elsewhere. Jobs and results travel as pickles between machines that trust one another.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from engine.values import InputError

Job = TypeVar("Job")
Result = TypeVar("Result")
LOCAL, RETRIES, PROBE_SECONDS = "local", 3, 5
ROOT = Path(__file__).resolve().parents[1]


def spread(
    address: str, work: Callable[[Job], Result], jobs: Sequence[Job], *, threads: int = 1, gpus: int = 0
) -> Iterator[tuple[int, Result]]:
    """(index, work(jobs[index])) in the order in which they are done, each on `threads` processors and `gpus` GPUs.

    address: "local" for this machine alone, "auto", or that of a cluster's head. `work` must be importable. InputError
    where Ray is missing or no cluster answers, where a job raised one, and where a job's worker died four times.
    """
    if not jobs:
        return
    ray = _ray()
    with _connected(ray, address):
        _check_room(ray, threads, gpus)
        remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)(work)
        waiting = {remote.remote(job): index for index, job in enumerate(jobs)}
        while waiting:
            (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(ready), _result(ray, ready)


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]  # an optional requirement
    except ImportError:
        raise InputError("Ray is not installed here: pip install -r requirements-cluster.txt.") from None
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Generator[None]:
    """A connection that ends with the block; a cluster started for it ends too, and its files go."""
    search_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    wanted: dict[str, Any] = {
        "address": address,
        "logging_level": "ERROR",
        "log_to_driver": False,
        "runtime_env": {"env_vars": {"PYTHONPATH": search_path}},
    }
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        if address == LOCAL:
            wanted |= {"num_cpus": os.cpu_count(), "include_dashboard": False, "_temp_dir": folder}
        try:
            _probe(address)
            ray.init(**wanted)
        except (OSError, RuntimeError, ValueError) as error:
            why = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            raise InputError(
                f"No Ray cluster answers at {address!r} ({why}); start one with `ray start --head`, or use --ray local."
            ) from None
        try:
            yield
        finally:
            ray.shutdown()


def _probe(address: str) -> None:
    """OSError where nothing listens at host:port, which Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), PROBE_SECONDS).close()


def _check_room(ray: Any, threads: int, gpus: int) -> None:
    """InputError where no machine of the cluster could ever take a job: Ray would wait for one for good."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(machine.get("CPU", 0) >= threads and machine.get("GPU", 0) >= gpus for machine in machines):
        wanted = f"{threads} processors" + (f" and {gpus} GPU" if gpus else "")
        raise InputError(f"No machine of the cluster has {wanted} for a job; change --threads or --device.")


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause)) from None
        raise
    except ray.exceptions.RayError as error:
        what = str(error).splitlines()[0]
        raise InputError(f"A job could not be done on the cluster ({what}); run the command again to go on.") from None
