"""What a server on the public internet adds to the pages: headers, readiness, an orderly end (docs/hosting.md)."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache

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
CLOSING_SECONDS = 2.0


def policy() -> str:
    """The content policy: nothing from other hosts.

    Streamlit's own pages need the exceptions: Vega compiles its expressions ('unsafe-eval'), components arrive as text
    and become blobs, styles are set inline.
    """
    origins = [word for word in os.environ.get(FRAME_VARIABLE, "").split() if ORIGIN.fullmatch(word)]
    rules = {
        "default-src": "'self'",
        "script-src": "'self' 'unsafe-eval' blob:",
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
    """The beginning and the end of the process: at the end jobs are told, and their visitors read a sentence."""
    journal.told("started")
    yield
    jobs.LINE.close()
    until = asyncio.get_running_loop().time() + CLOSING_SECONDS
    while jobs.LINE.tickets and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.05)
    journal.told("stopped", unfinished=float(len(jobs.LINE.tickets)))
