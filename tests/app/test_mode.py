"""Local and demo mode: which limits hold, that a misspelt mode is the strict one, and that no path gets out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import mode
from tests.app.conftest import run
from tests.support import write_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("word", "name"), [("", "local"), ("local", "local"), (" Local", "local"), ("demo", "demo"), ("lcoal", "demo")]
)
def test_only_local_opens_what_a_demo_closes(word: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mode.VARIABLE, word)
    limits = mode.current()
    assert limits.name == name
    assert {limits.train, limits.load_models, limits.paths} == {name == "local"}
    assert math.isinf(limits.job_seconds) == (name == "local")


@pytest.mark.parametrize(("text", "seconds"), [("7.5", 7.5), ("abc", 120), ("nan", 120), ("-3", 120), ("", 120)])
def test_the_time_limit_can_be_set_and_nonsense_keeps_the_modes_own(
    text: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(mode.VARIABLE, "demo")
    monkeypatch.setenv(mode.SECONDS_VARIABLE, text)
    assert mode.current().job_seconds == seconds


def test_an_upload_is_bounded_in_size_pixels_and_rate() -> None:
    limits = mode.DEMO
    assert limits.upload_problem(5_000_000, 2000, 2000, [], 0.0) == ""
    assert "5.0 MB" in limits.upload_problem(5_000_001, 1, 1, [], 0.0)
    assert "2001 x 2000" in limits.upload_problem(1, 2001, 2000, [], 0.0)
    ten = [float(second) for second in range(10)]
    assert "in 50 s" in limits.upload_problem(1, 1, 1, ten, 10.0)
    assert limits.upload_problem(1, 1, 1, ten, 60.0) == ""  # the first one is a minute old


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (
            "/srv/checkpoints/a/card.json cannot be read; restore the file.",
            "card.json cannot be read; restore the file.",
        ),
        ("Not found in /home/me/.cache/data: x.bin.", "Not found in data: x.bin."),
        ("open '/srv/a b' ('/srv/c/d')", "open 'a b' ('d')"),
        ("eps 8/255, python -m engine data download cifar10", "eps 8/255, python -m engine data download cifar10"),
        ("see https://arxiv.org/abs/2403.19150", "see https://arxiv.org/abs/2403.19150"),
    ],
)
def test_paths_are_cut_down_in_a_demo_only(text: str, plain: str) -> None:
    assert mode.DEMO.plain(text) == plain
    assert mode.LOCAL.plain(text) == text


@pytest.mark.parametrize("name", ["local", "demo"])
def test_the_models_page_states_the_limits_and_a_broken_checkpoint_without_its_path(
    name: str, tmp_path: Path, use_checkpoints: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path, "shapes-dual-bn")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "card.json").write_text("{")
    monkeypatch.setenv(mode.VARIABLE, name)
    use_checkpoints(tmp_path)
    at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=100)
    at.run()
    at.switch_page("screens/models.py")
    run(at)
    shown = [element.value for element in (*at.markdown, *at.caption, *at.info, *at.warning)]
    assert any(mode.current().sentences()[0] in text for text in shown)
    (problem,) = [text for text in shown if "cannot be read" in text]
    assert (str(tmp_path) in problem) == (name == "local")


def test_a_page_that_cannot_open_its_checkpoint_says_so_without_the_path(
    tmp_path: Path, use_checkpoints: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path, "shapes-dual-bn")
    (folder / "weights.safetensors").write_bytes(b"cut")
    monkeypatch.setenv(mode.VARIABLE, "demo")
    use_checkpoints(tmp_path)
    at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=100)
    run(at)
    (said,) = [error.value for error in at.error]
    assert "weights.safetensors is not the file its card describes" in said
    assert str(tmp_path) not in said
