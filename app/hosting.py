"""What a server on the public internet adds to the pages: headers, readiness, an orderly end (docs/hosting.md)."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import FrameType

import streamlit
import torch
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import jobs, journal
from engine import api

FRAME_VARIABLE = "DUAL_BN_FRAMED_BY"
"""Origins whose pages may show the app in a frame, such as "https://huggingface.co"; none but its own without it."""
ORIGIN = re.compile(r"https?://[A-Za-z0-9.*-]+(:\d+)?")
CLOSING_SECONDS, LAST_WORD_SECONDS = 5.0, 0.3
"""How long a stopping server waits for jobs to reach their next step, and then for the last messages to go out."""


def policy() -> str:
    """The content policy: nothing from other hosts.

    Streamlit's own pages need the exceptions: Vega compiles its expressions ('unsafe-eval'), components arrive as text
    and become blobs, styles are set inline.
    """
    origins = [word for word in os.environ.get(FRAME_VARIABLE, "").split() if ORIGIN.fullmatch(word)]
    rules = {
        "default-src": "'self'",
        "script-src": " ".join(["'self' 'unsafe-eval' blob:", *_own_inline_scripts()]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self' blob: data:",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": " ".join(["'self'", *origins]),
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _own_inline_scripts() -> list[str]:
    """Hashes of what Streamlit's page holds between script tags; any other inline script is refused."""
    page = Path(streamlit.__file__).parent / "static" / "index.html"
    found = re.findall(r"<script>(.*?)</script>", page.read_text(encoding="utf-8"), re.DOTALL)
    return [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in found]


class SecureHeaders:
    """ASGI middleware: the same headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.headers = {
            "Content-Security-Policy": policy(),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


@cache
def _answers(name: str, weights_sha256: str) -> bool:  # noqa: ARG001 (a key)
    """Whether a checkpoint loads and its clean branch answers a grey image; kept, because it will do so again."""
    model, _ = api.load_checkpoint(api.checkpoint_folder(name), api.pick_device("auto"))
    view = api.at(model, api.branch_setting(api.Branch.CLEAN))
    device = next(view.parameters()).device
    return bool(torch.isfinite(view(torch.full((1, 3, 32, 32), 0.5, device=device))).all())


def readiness() -> tuple[bool, dict[str, int]]:
    """Whether visitors can be sent here: a checkpoint is readable and a view of it answers, and it is not stopping."""
    cards, problems = api.list_cards()
    works = False
    for card in cards:
        try:
            works = _answers(card.name, card.weights_sha256)
            break
        except api.InputError:  # one that is damaged does not close the house
            continue
    return works and not jobs.LINE.closing, {"checkpoints": len(cards), "unreadable": len(problems)}


async def ready(_: Request) -> JSONResponse:
    """GET /ready: 200 or 503, with how many checkpoints there are."""
    fine, counts = await run_in_threadpool(readiness)
    return JSONResponse({"ready": fine, **counts}, 200 if fine else 503)


@asynccontextmanager
async def lifespan(_: object) -> AsyncGenerator[None]:
    """The beginning and the end of the process."""
    before = signal.getsignal(signal.SIGTERM)
    if callable(before) and threading.current_thread() is threading.main_thread():
        _tell_before(before, asyncio.get_running_loop())
    journal.told("started")
    yield
    journal.told("stopped", unfinished=float(len(jobs.LINE.tickets)))


Handler = Callable[[int, FrameType | None], object]


def _tell_before(stop: Handler, loop: asyncio.AbstractEventLoop) -> None:
    """On SIGTERM jobs end and their visitors read why; `stop` comes after, because it hangs up on visitors at once."""

    async def finish() -> None:
        jobs.LINE.close()
        until = loop.time() + CLOSING_SECONDS
        while jobs.LINE.tickets and loop.time() < until:
            await asyncio.sleep(0.05)
        await asyncio.sleep(LAST_WORD_SECONDS)
        stop(signal.SIGTERM, None)

    def on_signal(number: int, frame: FrameType | None) -> None:
        if jobs.LINE.closing:  # asked a second time: at once
            stop(number, frame)
        else:
            asyncio.run_coroutine_threadsafe(finish(), loop)

    signal.signal(signal.SIGTERM, on_signal)
