"""A visitor without a browser: speaks Streamlit's WebSocket protocol to a real server.

Usage::

    with Visitor(server.url) as visitor:
        visitor.open("attack", "picture=3&steps=10")      # waits until the page's run has ended
        visitor.payload("dual_bn_film")                   # what a component was given
        visitor.press("Compute it now")                   # returns at once; visitor.wait() waits for the run's end
"""

from __future__ import annotations

import json
import random
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.BidiComponent_pb2 import BidiComponent
from streamlit.proto.Common_pb2 import DoubleArray, StringArray
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

SECONDS = 60.0
MAX_MESSAGE = 60_000_000


class Visitor:
    """One session. `elements` is all that the page's last run sent, by place on the page."""

    def __init__(self, url: str, **options: Any) -> None:
        address = url.replace("http", "ws", 1) + "/_stcore/stream"
        self._open = ExitStack()
        self._socket: ClientConnection = self._open.enter_context(
            connect(
                address, subprotocols=[Subprotocol("streamlit")], max_size=MAX_MESSAGE, open_timeout=SECONDS, **options
            )
        )
        self.elements: dict[tuple[int, ...], Element] = {}
        self._known: dict[str, ForwardMsg] = {}
        self._values: dict[str, WidgetState] = {}
        self._where = ("", "")
        self.first_element = 0.0
        """Seconds from asking for the page to its first element."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leaves, as a closed tab does."""
        self._open.close()

    def open(self, page: str = "", query: str = "") -> None:
        """Asks for a page ('' is the first one) and waits until its run has ended."""
        self.ask(page, query)
        self.wait()

    def ask(self, page: str | None = None, query: str | None = None) -> None:
        """Asks for a page and returns at once."""
        self._where = (self._where[0] if page is None else page, self._where[1] if query is None else query)
        self._values.clear()
        self._send()

    def press(self, label: str) -> None:
        """Presses a button and returns at once."""
        buttons = [e.button for e in self.elements.values() if e.WhichOneof("type") == "button"]
        (found,) = [button for button in buttons if button.label == label]
        self._send(WidgetState(id=found.id, trigger_value=True))

    def change(self, value: WidgetState) -> None:
        """Moves a control and returns at once; it stays there until another page is asked for."""
        self._values[value.id] = value
        self._send()

    def wait(self, seconds: float = SECONDS) -> None:
        """Receives until the run has ended; TimeoutError where it does not."""
        while not self.step(seconds):
            pass

    def until(self, text: str) -> None:
        """Receives until a text of the page contains this; TimeoutError where nothing comes any more."""
        while not any(text in one for one in self.texts()):
            self.step()

    def step(self, seconds: float = SECONDS) -> bool:
        """Receives one message; True if it says that a run has ended (not one that gives way to the next)."""
        received = self._socket.recv(timeout=seconds)
        assert isinstance(received, bytes)
        message = ForwardMsg.FromString(received)
        if message.WhichOneof("type") == "ref_hash":
            known, path = self._known[message.ref_hash], list(message.metadata.delta_path)
            message = ForwardMsg.FromString(known.SerializeToString())
            message.metadata.delta_path[:] = path
        elif message.hash:
            self._known[message.hash] = message
        match message.WhichOneof("type"):
            case "new_session":
                self.elements.clear()
            case "delta" if message.delta.WhichOneof("type") == "new_element":
                self.first_element = self.first_element or time.monotonic() - self._asked
                self.elements[tuple(message.metadata.delta_path)] = message.delta.new_element
            case "script_finished":
                ended = message.script_finished
                return ended in (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_WITH_COMPILE_ERROR)
            case _:
                pass
        return False

    def texts(self) -> list[str]:
        """All Markdown, captions, alerts, headings and progress texts of the page."""
        found: list[str] = []
        for element in self.elements.values():
            kind = element.WhichOneof("type")
            if kind in ("markdown", "alert", "heading"):
                found.append(getattr(element, kind).body)
            elif kind == "progress":
                found.append(element.progress.text)
        return found

    def payload(self, component: str) -> Any:
        """The data of the component whose name ends so."""
        mounted = [e.bidi_component for e in self.elements.values() if e.WhichOneof("type") == "bidi_component"]
        (found,) = [one for one in mounted if one.component_name.endswith(component)]
        return _data(found)

    def failures(self) -> list[str]:
        """Messages of uncaught errors on the page."""
        return [e.exception.message for e in self.elements.values() if e.WhichOneof("type") == "exception"]

    def _send(self, *pressed: WidgetState) -> None:
        message = BackMsg()
        message.rerun_script.page_name, message.rerun_script.query_string = self._where
        message.rerun_script.widget_states.widgets.extend([*self._values.values(), *pressed])
        self.first_element, self._asked = 0.0, time.monotonic()
        self._socket.send(message.SerializeToString())


def moved(element: Element, rng: random.Random) -> WidgetState | None:
    """A control at another place, drawn at random from all it offers; None for what is no such control."""
    match element.WhichOneof("type"):
        case "slider":
            of = element.slider
            stops = round((of.max - of.min) / of.step)
            at = DoubleArray(data=[of.min + of.step * rng.randint(0, stops) for _ in of.default])
            return WidgetState(id=of.id, double_array_value=at)
        case "selectbox":
            return WidgetState(id=element.selectbox.id, string_value=rng.choice(element.selectbox.options))
        case "button_group":
            chosen = StringArray(data=[rng.choice(element.button_group.options).content])
            return WidgetState(id=element.button_group.id, string_array_value=chosen)
        case "checkbox":
            return WidgetState(id=element.checkbox.id, bool_value=rng.random() < 0.5)
        case "number_input":
            of = element.number_input
            return WidgetState(id=of.id, double_value=min(of.max, of.min + of.step * rng.randint(0, 20)))
        case _:
            return None


def _data(found: BidiComponent) -> Any:
    match found.WhichOneof("data"):
        case "json":
            return json.loads(found.json)
        case "mixed":
            return json.loads(found.mixed.json)
        case other:
            return getattr(found, str(other), None)
