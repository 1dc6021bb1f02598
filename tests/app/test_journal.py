"""What the server tells its owner: metrics that count right, one line a job, and nothing of a visitor's in either."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import jobs, journal
from app.jobs import slot
from engine import api
from tests.support import in_threads

ROOT = Path(__file__).parents[2]


def count(name: str, **labels: str) -> float:
    return journal.REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(journal.LOG, "propagate", True)
    caplog.set_level(logging.INFO, "dual_bn")
    return caplog


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "done"),
        (KeyboardInterrupt, "cancelled"),
        (api.InputError, "refused"),
        (ValueError, "failed"),
        (jobs.TooLongError, "too long"),
        (jobs.ClosingError, "server stopped"),
    ],
)
def test_a_job_is_counted_and_logged_by_how_it_ended(
    error: type[BaseException] | None, outcome: str, lines: pytest.LogCaptureFixture
) -> None:
    before = count("dual_bn_jobs_total", kind="test", outcome=outcome)
    with nullcontext() if error is None else pytest.raises(error), slot(lambda _: None, "test"):
        assert count("dual_bn_jobs", of="running") == 1
        if error is not None:
            raise error()
    assert count("dual_bn_jobs_total", kind="test", outcome=outcome) == before + 1
    assert count("dual_bn_jobs", of="running") == 0
    (record,) = lines.records
    line = json.loads(journal._Line().format(record))
    assert line.keys() == {"time", "level", "event", "kind", "outcome", "seconds", "waited"}
    assert (line["event"], line["kind"], line["outcome"]) == ("job", "test", outcome)


def test_computing_and_waiting_are_told_apart(lines: pytest.LogCaptureFixture) -> None:
    both = threading.Barrier(2)

    def work() -> None:
        both.wait(10)
        with slot(lambda _: None, "test"):
            threading.Event().wait(0.3)

    in_threads([work, work])
    said: list[dict[str, Any]] = [json.loads(journal._Line().format(record)) for record in lines.records]
    assert all(0.3 <= line["seconds"] < 0.55 for line in said)
    waits = sorted(line["waited"] for line in said)
    assert waits[0] < 0.1
    assert waits[1] > 0.2


def test_a_server_that_stops_tells_who_computes_and_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    line, running = jobs.Line(), threading.Event()
    monkeypatch.setattr(jobs, "LINE", line)

    def compute() -> None:
        with slot(lambda _: None):
            running.set()
            while not line.closing:
                threading.Event().wait(0.01)
            raise jobs.ClosingError

    def wait() -> None:
        running.wait(10)
        with slot(lambda _: line.close()):
            pytest.fail("a stopping server began new work")

    for error in in_threads([lambda work=work: outcome(work) for work in (compute, wait)]):
        assert isinstance(error, api.InputError)
        assert "server is stopping" in str(error)
    assert not line.tickets


def outcome(work: Any) -> BaseException | None:
    try:
        work()
    except api.InputError as error:
        return error
    return None


def test_progress_ends_with_a_sentence_when_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LINE", jobs.Line(closing=True))

    def script() -> None:
        import streamlit as st

        from app.jobs import working

        with working("Computing ...") as progress:
            progress(1, 2)
        st.markdown("done")

    at = AppTest.from_function(script, default_timeout=30).run()
    assert "server is stopping" in at.warning[0].value
    assert not at.markdown


def test_the_port_opens_once_a_process_on_this_machine_only() -> None:
    """In a process of its own, started from eight threads at once, as thirty visitors' first runs would."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"""
import threading, urllib.request
from app import journal
threads = [threading.Thread(target=journal.start) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
text = urllib.request.urlopen("http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
assert "process_resident_memory_bytes" in text and "dual_bn_jobs_total" in text, text
import subprocess
print(sum(1 for line in open("/proc/net/tcp") if "0100007F:{port:04X}" in line.split()[1] and line.split()[3] == "0A"))
print(sum(1 for line in open("/proc/net/tcp") if "00000000:{port:04X}" in line.split()[1]))
journal.told("hello", x=1.0)
"""
    environment = os.environ | {journal.VARIABLE: str(port), "DUAL_BN_MODE": "demo"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["1", "0"]), done.stderr
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["event"] == "hello"


@pytest.mark.parametrize("where", ["nonsense", "1:2:3:x", "127.0.0.1:99999"])
def test_a_port_that_cannot_be_is_one_line_and_no_crash(where: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from app import journal; journal.start(); print('on')"],
        cwd=ROOT, env=os.environ | {journal.VARIABLE: where}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "on\n")
    (line,) = done.stderr.splitlines()
    assert "must be PORT or ADDRESS:PORT" in json.loads(line)["event"]
