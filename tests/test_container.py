"""`make container`: its checks see what is wrong; the whole of it where buildah is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import container

ROOT = Path(__file__).parents[1]
VARIABLE = "CONTAINER_ARGS"


def test_it_finds_what_the_user_could_write(tmp_path: Path) -> None:
    for name, mode in {"opt": 0o755, "srv": 0o755, "tmp": 0o1777}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    for name, mode in {"opt/safe": 0o644, "opt/open": 0o646, "tmp/below": 0o666, "srv/link": 0o644}.items():
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "srv" / "pointing").symlink_to(tmp_path / "opt" / "open")
    stranger = os.getuid() + 1234
    assert container.writable(tmp_path, stranger) == ["/opt/open", "/tmp"]
    assert "/opt" in container.writable(tmp_path, os.getuid())


def test_it_finds_programs_that_run_as_their_owner(tmp_path: Path) -> None:
    for name, mode in {"plain": 0o755, "as-owner": 0o4755, "as-group": 0o2755}.items():
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    assert sorted(container.raising_itself(tmp_path)) == ["/as-group", "/as-owner"]


def test_without_its_tools_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "apt-get install buildah mmdebstrap" in container.missing()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "needs root" in container.missing()


def test_a_space_is_given_the_containers_port() -> None:
    front = (ROOT / "docs" / "space.md").read_text().split("---")[1]
    settings = dict(re.findall(r"^(\w+): (.+)$", front, re.MULTILINE))
    assert settings["sdk"] == "docker"
    assert f"EXPOSE {settings['app_port']}" in (ROOT / "Dockerfile").read_text().splitlines()
    assert (ROOT / "LICENSE").read_text().lower().startswith(settings["license"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_image_builds_starts_and_stops() -> None:
    """What is a machine's own, such as where torch comes from, it is told: `CONTAINER_ARGS="--torch-index="`."""
    if problem := container.missing():
        pytest.skip(problem)
    if VARIABLE not in os.environ:
        pytest.skip(f"Set {VARIABLE} to make container's arguments, or to nothing, to build the image.")
    command = [sys.executable, "-m", "benchmarks.container", *shlex.split(os.environ[VARIABLE])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
