"""The hosted server as strangers meet it: headers, readiness, who is let in, who leaves, and how it stops."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app import hosting, jobs
from engine import api
from tests.browser.server import Server, free_port, serve
from tests.support import write_checkpoint
from tests.visitor import Visitor

ROOT = Path(__file__).parents[2]
LONG = "attack=PGD-20&eps=2/255&ns=re-estimated"
"""A curve of Explore that no sweep holds: half a minute of work."""
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, metrics_port: int) -> Iterator[Server]:
    variables = {
        "DUAL_BN_MODE": "demo",
        "DUAL_BN_METRICS": str(metrics_port),
        "STREAMLIT_SERVER_ALLOWED_HOSTS": "127.0.0.1",
        hosting.FRAME_VARIABLE: "https://huggingface.co nonsense;script-src",
    }
    with serve(ROOT / "app" / "server.py", tmp_path_factory.mktemp("hosted"), variables) as running:
        yield running


def get(url: str, method: str = "GET") -> tuple[int, Message, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def running_jobs(port: int) -> float:
    text = get(f"http://127.0.0.1:{port}/metrics")[2].decode()
    (value,) = re.findall(r'^dual_bn_jobs\{of="running"\} (.*)$', text, re.MULTILINE)
    return float(value)


def begin_long_work(visitor: Visitor) -> None:
    """Until the first stop of a curve is done."""
    visitor.open("", LONG)
    visitor.press("Compute it now")
    visitor.until("Attacking every stop")


def read_on(visitor: Visitor) -> None:
    while True:
        visitor.step()


def wait_for(condition: Callable[[], bool], seconds: float) -> float:
    """Seconds until it holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/ready", "/app/static/logo.svg", "/nothing-here.js"])
def test_every_answer_has_the_headers(server: Server, path: str) -> None:
    _, headers, _ = get(server.url + path)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    rules = dict(rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";"))
    assert rules["default-src"] == "'self'"
    assert rules["frame-ancestors"] == "'self' https://huggingface.co"
    assert not any(source in rules["script-src"] for source in ("*", "http", "'unsafe-inline'"))


def test_it_is_ready_and_says_how_many_checkpoints_it_reads(server: Server) -> None:
    status, _, body = get(f"{server.url}/ready")
    assert (status, json.loads(body)) == (
        200,
        {"ready": True, "checkpoints": len(api.list_cards()[0]), "unreadable": 0},
    )


def test_one_damaged_checkpoint_does_not_close_the_house_but_all_of_them_do(
    tmp_path: Path, use_checkpoints: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_checkpoints(tmp_path)
    assert hosting.readiness() == (False, {"checkpoints": 0, "unreadable": 0})
    (write_checkpoint(tmp_path, "a") / "weights.safetensors").write_bytes(b"cut")
    assert hosting.readiness() == (False, {"checkpoints": 1, "unreadable": 0})
    write_checkpoint(tmp_path, "b")
    assert hosting.readiness()[0]
    monkeypatch.setattr(jobs, "LINE", jobs.Line(closing=True))
    assert not hosting.readiness()[0]


def test_strange_hosts_and_origins_get_no_session(server: Server) -> None:
    Visitor(server.url).close()
    Visitor(server.url, origin=server.url).close()
    for options in (
        {"additional_headers": {"Host": "evil.example"}, "origin": "http://evil.example"},
        {"origin": "http://evil.example"},
    ):
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            Visitor(server.url, **options).open()


def test_an_upload_without_the_token_is_refused(server: Server) -> None:
    status, _, _ = get(f"{server.url}/_stcore/upload_file/some-session/some-file", "PUT")
    assert status in (400, 403)


def test_a_visitor_who_leaves_frees_the_slot_within_a_second(server: Server, metrics_port: int) -> None:
    """Within the step of the work that is under way, which on a loaded machine takes the longest."""
    visitor = Visitor(server.url)
    begin_long_work(visitor)
    assert running_jobs(metrics_port) == 1
    visitor.close()
    wait_for(lambda: running_jobs(metrics_port) == 0, 15)
    (line,) = [text for text in server.log().splitlines() if '"kind": "curve"' in text]
    assert json.loads(line)["outcome"] == "cancelled"


def test_the_log_holds_nothing_of_a_visitors(server: Server) -> None:
    with Visitor(server.url) as visitor:
        visitor.open("attack", "steps=7&towards=SECRETWORD&model=ANOTHERSECRET")
        assert visitor.failures() == []
    log = server.log()
    assert '"kind": "film"' in log
    assert "SECRET" not in log
    assert "steps=7" not in log


def test_on_sigterm_the_visitor_reads_why_and_nothing_is_left_half_written(tmp_path: Path) -> None:
    before = sorted(ROOT.glob("checkpoints/**/*"))
    with serve(ROOT / "app" / "server.py", tmp_path, {"DUAL_BN_MODE": "demo"}) as server:
        with Visitor(server.url) as visitor:
            begin_long_work(visitor)
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                read_on(visitor)
            assert any("The server is stopping" in text for text in visitor.texts())
        server.process.wait(20)
        lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    assert server.process.returncode == -signal.SIGTERM
    assert [line["outcome"] for line in lines if line.get("kind") == "curve"] == ["server stopped"]
    assert lines[-1]["event"] == "stopped"
    assert lines[-1]["unfinished"] == 0
    assert "Traceback" not in server.log()
    assert sorted(ROOT.glob("checkpoints/**/*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]
