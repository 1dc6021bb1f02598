"""`make changes`: a control moves only to where it can be, and a busy server is told from an idle one."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.WidgetStates_pb2 import WidgetState

from benchmarks import changes
from tests.browser.server import Server
from tests.visitor import moved

N = 50


def control(kind: str, **fields: object) -> Element:
    element = Element()
    part = getattr(element, kind)
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(part, name).extend(value)
        else:
            setattr(part, name, value)
    return element


def places(element: Element) -> list[WidgetState]:
    rng = random.Random(0)
    return [state for _ in range(N) if (state := moved(element, rng)) is not None]


def test_a_control_goes_to_every_place_it_has_and_no_other() -> None:
    slider = places(control("slider", id="s", min=0.0, max=1.0, step=0.25, default=[0.5]))
    assert {tuple(state.double_array_value.data) for state in slider} == {(k / 4,) for k in range(5)}
    box = places(control("selectbox", id="b", options=["a", "b"]))
    assert {state.string_value for state in box} == {"a", "b"}
    number = places(control("number_input", id="n", min=1.0, max=3.0, step=1.0))
    assert {state.double_value for state in number} == {1, 2, 3}
    assert {state.bool_value for state in places(control("checkbox", id="c"))} == {True, False}
    assert {state.id for state in slider} == {"s"}
    assert not places(control("button", id="x"))


BURN = "import time\nprint(flush=True)\nwhile time.process_time() < {}: pass\ntime.sleep(60)"


@pytest.mark.parametrize(("seconds", "busy"), [(0.0, False), (1.0, True)])
def test_it_tells_a_busy_server_from_an_idle_one(
    seconds: float, busy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "WATCHED", 2.0)
    code = BURN.format(seconds)
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has started
        try:
            found = changes.busy_for(Server("", tmp_path, process))
        finally:
            process.kill()
    assert (found > 0.5) is busy
