"""The real server in a process of its own, as a visitor meets it.

Usage::

    with serve(ROOT / "app" / "main.py", workdir) as server:
        page.goto(server.url)
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 10
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class ServerError(RuntimeError):
    """The server ended or never became healthy; the message holds its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """`url` has no slash at its end; `log_file` holds what the server printed."""

    url: str
    log_file: Path
    process: subprocess.Popen[bytes]

    def log(self) -> str:
        """What was printed so far, without the colours that Streamlit gives tracebacks even when writing to a file."""
        return COLOUR.sub("", self.log_file.read_text(errors="replace"))


@contextmanager
def serve(script: Path, workdir: Path, variables: Mapping[str, str] | None = None) -> Generator[Server, None, None]:
    """Runs `script` under `streamlit run` from `workdir` until the block ends. Raises ServerError.

    variables: of its environment, beside those of this process. From another directory and without PYTHONPATH, because
    that is how imports that only work inside pytest are found.
    """
    port = free_port()
    log_file = workdir / "server.log"
    options = {
        "server.port": port,
        "server.address": "127.0.0.1",
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | dict(variables or {})
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=workdir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", log_file, process)
    try:
        _wait_healthy(server)
        yield server
    finally:
        _stop(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_healthy(server: Server) -> None:
    process, deadline = server.process, time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    ended = process.poll()
    what = f"was not healthy after {START_SECONDS} s" if ended is None else f"ended with exit code {ended}"
    raise ServerError(f"The server {what}; its log:\n{server.log()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole group, so that no helper process of the server is left behind."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(STOP_SECONDS)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()
