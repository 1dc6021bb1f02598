"""The image, built from the project's Dockerfile and started, on a machine without a Docker engine.

    sudo apt-get install buildah mmdebstrap
    make container                                             # as root
    make container ARGS="--torch-index= --volume /path/pip.conf:/etc/pip.conf:ro --storage /path/kept"

buildah builds on a Debian base that mmdebstrap makes. The process is then started as a container engine would: as the
image's user in its own mounts and process numbers, as process 1, without capabilities or a way to gain any, with the
root file system read-only and the two in-memory places of compose.yaml. buildah's own `run` cannot make the root
read-only without a runtime such as runc, therefore the kernel is asked directly (unshare, chroot). Then the server is
visited, looked at from outside, told to stop while it computes, and all of it is removed. Exit code 1 where a check
fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed

from benchmarks.buildah import BASE, IMAGE, Buildah, FailedError, Running, started, until
from tests.visitor import Visitor

TOOLS = ("buildah", "mmdebstrap", "unshare", "nsenter", "setpriv", "chroot", "mount")
DIFFERS = (
    "not the shipped image: the base is Debian bookworm's own Python instead of python:3.11-slim-bookworm",
    "the network is this machine's, and the server listens on 127.0.0.1 alone, on a port that is free",
    "no seccomp profile, no limit of memory or processors, and not the CUDA variant",
)
INDEX = "torch is from another index than the Dockerfile's"
PAGES = ("", "tour", "compare", "layers", "attack", "attribution", "image", "paper", "models", "words")
LONG = "attack=PGD-20&eps=2/255&ns=re-estimated"
WRITABLE = ("/tmp", "/home/explorer")
"""What compose.yaml keeps in memory; all else is read-only."""
START_SECONDS, STOP_SECONDS = 120.0, 15.0
TRY_TO_WRITE = """
import json, os, sys
found = {}
for path in sys.argv[1:]:
    name = os.path.join(path, ".tried") if os.path.isdir(path) else path
    try:
        open(name, "a").close()
        found[path] = "written"
    except OSError as error:
        found[path] = error.strerror
print(json.dumps(found))
"""


class Report:
    """What is printed, and whether all was as it should be."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def check(self, what: str, holds: bool, seen: object = "") -> None:
        print(f"{'ok    ' if holds else 'FAILED'}  {what}" + (f": {seen}" if seen != "" else ""), flush=True)
        if not holds:
            self.failed.append(what)


def writable(root: Path, user: int) -> list[str]:
    """Folders and files below `root` that this user, who is in no group but his own, could write if nothing else
    stood in the way; links, and what lies below such a folder, left out."""
    found: list[str] = []
    for place, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(place, name)
            about = path.lstat()
            owned = user in (about.st_uid, about.st_gid) and about.st_mode & (stat.S_IWUSR | stat.S_IWGRP)
            if not stat.S_ISLNK(about.st_mode) and (owned or about.st_mode & stat.S_IWOTH):
                found.append(f"/{path.relative_to(root)}")
                if name in folders:
                    folders.remove(name)
    return sorted(found)


def raising_itself(root: Path) -> list[str]:
    """Programs that run as their owner, whoever starts them."""
    every = (Path(place, name) for place, _, files in os.walk(root) for name in files)
    marked = [path for path in every if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID)]
    return [f"/{path.relative_to(root)}" for path in marked]


def megabytes(path: Path) -> int:
    return int(subprocess.run(["du", "-sxm", path], text=True, capture_output=True, check=True).stdout.split()[0])


def look_at_files(root: Path, report: Report) -> None:
    parts = {name: megabytes(root / name) for name in ("", "opt/venv", "srv", "usr")}
    print("MB on disk: " + ", ".join(f"/{name} {size}" for name, size in parts.items()))
    open_places = [path for path in writable(root, 10001) if not path.startswith("/dev/")]
    code = [path for path in open_places if path.startswith(("/srv", "/opt", "/usr", "/etc"))]
    report.check("its code, packages and system are not its own to write", not code, ", ".join(open_places))
    raising = raising_itself(root)
    report.check("no program in it runs as root whoever starts it", not raising, ", ".join(raising))


def look_at_process(running: Running, config: dict[str, Any], report: Report) -> None:
    status = running.status()
    users = set(status["Uid"].split() + status["Gid"].split())
    report.check("the process is the ordinary user", users == {"10001"}, f"uid and gid {', '.join(users)}")
    powers = [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")]
    report.check("it has no capability and cannot gain any", not any(powers) and status["NoNewPrivs"] == "1")
    code, data = "/srv/app/main.py", "/srv/checkpoints"
    tried = running.inside(config, ["python", "-c", TRY_TO_WRITE, code, data, "/opt/venv", "/", *WRITABLE])
    answers: dict[str, str] = json.loads(tried.stdout or "{}")
    where = {path for path, answer in answers.items() if answer == "written"}
    report.check("it can write where compose.yaml says, nowhere else", where == set(WRITABLE), answers or tried.stderr)
    port = running.url.rsplit(":", 1)[1]
    health = [part.replace("8501", port) for part in config["Healthcheck"]["Test"][1:]]
    report.check("the image's health check passes", running.inside(config, health).returncode == 0)


def get(url: str) -> tuple[int, bytes]:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status, answer.read()
    return 0, b""


def visit(running: Running, report: Report) -> None:
    began = time.monotonic()
    status, body = get(running.url)
    report.check("the first page comes over HTTP", status == 200 and b'<div id="root">' in body, f"{len(body)} bytes")
    failures: list[str] = []
    with Visitor(running.url) as visitor:
        for page in PAGES:
            visitor.open(page)
            failures += visitor.failures() + ([] if visitor.texts() else [f"/{page} is empty"])
            if not page:
                print(f"first page by WebSocket: {time.monotonic() - began:.1f} s")
    report.check(f"all {len(PAGES)} pages open without a failure", not failures, "; ".join(failures))


def stop(running: Running, report: Report) -> None:
    """While it computes for a visitor."""
    with Visitor(running.url) as visitor:
        visitor.open("", LONG)
        visitor.press("Compute it now")
        visitor.until("Attacking every stop")
        began = time.monotonic()
        os.kill(running.pid, signal.SIGTERM)
        with contextlib.suppress(ConnectionClosed):
            while True:
                visitor.step()
        told = any("The server is stopping" in text for text in visitor.texts())
    until(lambda: running.outer.poll() is not None, STOP_SECONDS, "SIGTERM did not end it in 15 s")
    report.check("on SIGTERM it tells its visitor and ends", told, f"after {time.monotonic() - began:.1f} s")
    log = running.log.read_text(errors="replace")
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    last = events[-1] if events else {}
    orderly = last.get("event") == "stopped" and last.get("unfinished") == 0 and "Traceback" not in log
    report.check("its log ends in order, without a traceback", orderly, last)


def examine(buildah: Buildah, report: Report, folder: Path) -> None:
    config = buildah.config()
    with buildah.mounted() as root:
        look_at_files(root, report)
        with started(root, config, folder) as running:
            try:
                healthy = until(lambda: get(f"{running.url}/_stcore/health")[1] == b"ok", START_SECONDS, "no health")
                ready = until(lambda: get(f"{running.url}/ready")[0] == 200, START_SECONDS, "it is never ready")
                print(f"healthy after {healthy:.1f} s, ready {ready:.1f} s later, {running.megabytes('VmRSS'):.0f} MB")
                look_at_process(running, config, report)
                visit(running, report)
                print(f"memory after all pages: {running.megabytes('VmRSS'):.0f} MB")
                stop(running, report)
            except (FailedError, OSError, TimeoutError) as error:
                log = running.log.read_text(errors="replace")[-3000:]
                report.check(f"{error or type(error).__name__}; its log", False, f"\n{log}")


def missing() -> str:
    """Why this cannot run here, in a sentence; empty where it can."""
    if os.geteuid() != 0:
        return "Building without a container engine needs root: run it with sudo."
    lacking = [name for name in TOOLS if shutil.which(name) is None]
    return f"Install {', '.join(lacking)} first: apt-get install buildah mmdebstrap." if lacking else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-index", help="instead of the Dockerfile's; '' for pip's default index")
    parser.add_argument(
        "--volume",
        action="append",
        default=[],
        help="HOST:IMAGE[:ro] while building, for wheels, a pip.conf or certificates",
    )
    parser.add_argument("--mirror", help="of Debian's packages, for the base")
    parser.add_argument("--storage", type=Path, help="folder that keeps the base and the layers for the next time")
    chosen = parser.parse_args()
    if problem := missing():
        print(problem)
        return 2
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        buildah = Buildah((chosen.storage or Path(folder, "storage")).resolve())
        buildah.storage.mkdir(parents=True, exist_ok=True)
        try:
            make(buildah, chosen)
            examine(buildah, report, Path(folder))
        except FailedError as error:
            report.check(str(error), False)
        finally:
            if chosen.storage is None:
                buildah.run("rmi", "--all", "--force")
    print("\n".join([*DIFFERS, *([INDEX] if chosen.torch_index is not None else [])]))
    return 1 if report.failed else 0


def make(buildah: Buildah, chosen: argparse.Namespace) -> None:
    index = [] if chosen.torch_index is None else ["--build-arg", f"TORCH_INDEX={chosen.torch_index}"]
    began = time.monotonic()
    if not buildah.has(BASE):
        buildah.make_base(chosen.mirror)
        print(f"base made in {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    buildah.build([*index, *(part for volume in chosen.volume for part in ("--volume", volume))])
    size = buildah.run("images", "--format", "{{.Size}}", IMAGE).strip()
    print(f"image built in {time.monotonic() - began:.0f} s, {size}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
