"""The same pages for the public internet: `streamlit run app/server.py`, which the container does."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:  # streamlit puts app/ on the path, not the folder above it
    sys.path.insert(0, str(HERE.parent))

from app import start  # noqa: E402

start.once()

import streamlit as st  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.routing import Route  # noqa: E402

from app import hosting  # noqa: E402

app = st.App(
    HERE / "main.py",
    routes=[Route("/ready", hosting.ready)],
    middleware=[Middleware(hosting.SecureHeaders)],
    lifespan=hosting.lifespan,
)
