"""Images and containers without a container engine: built by buildah, started by the kernel's own means. As root.

Usage::

    buildah = Buildah(folder)
    buildah.make_base(None)
    buildah.build([])
    with buildah.mounted() as root, started(root, buildah.config(), folder) as running:
        urlopen(f"{running.url}/_stcore/health")
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.browser.server import free_port

ROOT = Path(__file__).parent.parent
BASE, IMAGE = "localhost/dual-bn-base", "localhost/dual-bn-explorer"
BASE_FILE = "FROM scratch\nADD base.tar /\n"
SETUP = """
set -e
root=$1; shift
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o mode=1777,size=256m,nosuid,nodev tmpfs "$root/tmp"
mount -t tmpfs -o uid=10001,gid=10001,mode=0700,size=16m,nosuid,nodev tmpfs "$root/home/explorer"
mount -t tmpfs -o mode=755,size=1m tmpfs "$root/dev"
for one in null zero random urandom; do touch "$root/dev/$one"; mount --bind "/dev/$one" "$root/dev/$one"; done
cd /
exec setpriv --no-new-privs chroot --userspec=10001:10001 --groups= "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$@"
"""
"""Run as root in new mounts and process numbers: root, working directory and command are its arguments."""


class FailedError(RuntimeError):
    """A step that the rest needs did not work; the message says which."""


@dataclass(frozen=True, slots=True)
class Buildah:
    """buildah with images of its own in a folder, which no other use of it sees."""

    storage: Path

    def run(self, *arguments: str) -> str:
        places = ("--root", str(self.storage / "images"), "--runroot", str(self.storage / "run"))
        done = subprocess.run(
            ["buildah", *places, "--storage-driver", "overlay", *arguments],
            cwd=ROOT, text=True, check=False, stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
        if done.returncode:
            raise FailedError(f"buildah {arguments[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")
        return done.stdout

    def has(self, image: str) -> bool:
        return bool(self.run("images", "--quiet", "--filter", f"reference={image}").strip())

    def make_base(self, mirror: str | None) -> None:
        """Debian with Python and nothing else: what stands in for the official Python image."""
        with tempfile.TemporaryDirectory(dir=self.storage) as folder:
            tar = Path(folder, "base.tar")
            options = ("--variant=minbase", "--include=python3,python3-venv", "bookworm", str(tar))
            made = subprocess.run(
                ["mmdebstrap", "--quiet", *options, *([mirror] if mirror else [])],
                text=True, check=False, stdin=subprocess.DEVNULL, capture_output=True,
            )  # fmt: skip
            if made.returncode:
                raise FailedError(f"mmdebstrap failed:\n{made.stderr[-4000:]}")
            Path(folder, "Dockerfile").write_text(BASE_FILE)
            self.run("bud", "--format", "docker", "--tag", BASE, folder)

    def build(self, options: Sequence[str]) -> None:
        """The project's image; options: more of `buildah bud`'s."""
        fixed = ("--isolation", "chroot", "--network", "host", "--format", "docker", "--layers")
        self.run("bud", *fixed, "--build-arg", f"BASE={BASE}", *options, "--tag", IMAGE, str(ROOT))

    def config(self) -> dict[str, Any]:
        """What the Dockerfile says of the process: Env, Cmd, WorkingDir, Healthcheck ..."""
        return json.loads(self.run("inspect", "--type", "image", IMAGE))["Docker"]["config"]

    @contextlib.contextmanager
    def mounted(self) -> Generator[Path]:
        """The image's files, as a container made from it has them."""
        name = self.run("from", IMAGE).strip()
        try:
            yield Path(self.run("mount", name).strip())
        finally:
            self.run("umount", name)
            self.run("rm", name)


@dataclass(frozen=True, slots=True)
class Running:
    """The started container. pid: of its process 1, as seen from outside."""

    url: str
    pid: int
    outer: subprocess.Popen[bytes]
    log: Path

    def status(self) -> dict[str, str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}

    def megabytes(self, name: str) -> float:
        return int(self.status()[name].split()[0]) * 1024 / 1e6

    def inside(self, config: dict[str, Any], command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command beside the server, as the same user, in the same places."""
        enter = ["nsenter", "-t", str(self.pid), "--mount", "--pid", "--root", "--wd", "-S", "10001", "-G", "10001"]
        return subprocess.run(
            [shutil.which(enter[0]) or enter[0], *enter[1:], *command],
            env=variables(config), text=True, capture_output=True, check=False, timeout=60,
        )  # fmt: skip


def variables(config: dict[str, Any]) -> dict[str, str]:
    return dict(one.split("=", 1) for one in config["Env"])


@contextlib.contextmanager
def started(root: Path, config: dict[str, Any], folder: Path) -> Generator[Running]:
    """The image's own command as its own user; ended by force where the block does not end it."""
    port, log = free_port(), folder / "container.log"
    changed = {"STREAMLIT_SERVER_PORT": str(port), "STREAMLIT_SERVER_ADDRESS": "127.0.0.1", "HOME": "/home/explorer"}
    unshare = shutil.which("unshare") or "unshare"
    command = [unshare, "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", SETUP, "container", str(root)]
    with log.open("wb") as told:
        outer = subprocess.Popen(
            [*command, config["WorkingDir"], *config["Entrypoint"], *config["Cmd"]],
            env=variables(config) | changed, stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        until(lambda: bool(children.read_text().split()), 10, "the container did not start")
        yield Running(f"http://127.0.0.1:{port}", int(children.read_text().split()[0]), outer, log)
    finally:
        outer.kill()
        outer.wait()


def until(holds: Callable[[], bool], seconds: float, otherwise: str) -> float:
    """Seconds until `holds()`; FailedError where it does not in time."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise FailedError(otherwise)
        time.sleep(0.05)
    return time.monotonic() - began
