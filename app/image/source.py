"""Where a visitor's picture comes from: the drawing pad, a file, the clipboard or the camera; kept in memory only.

Usage::

    taken = take("file", side=32)           # draws the controls; None until there is a picture

Names of files are never read: what a picture is, its bytes say.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import streamlit as st

from app import mode
from app.charts.pictures import framed
from app.components.pad import Drawing, PadPayload, drawn, pad
from app.components.paste import paste, pasted
from engine import api

Bytes = npt.NDArray[np.uint8]
DRAWING, FILE, CLIPBOARD, CAMERA = "drawing", "file", "clipboard", "camera"
WAYS = (DRAWING, FILE, CLIPBOARD, CAMERA)


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """pixels: uint8 (3, side, side), as the network sees them; name: what captions call the picture."""

    pixels: Bytes
    name: str


def take(way: str, side: int) -> Taken | None:
    """Draws what that way needs, crop included; None until there is a picture."""
    if way == DRAWING:
        return _drawing()
    data = _bytes(way)
    if data is None:
        return None
    try:
        picture = opened(data)
    except api.InputError as error:
        st.error(str(error), icon=":material/broken_image:")
        return None
    crop = _crop(picture)
    small = np.rint(255 * api.picture.at_size(picture, crop, side)).astype(np.uint8)
    return Taken(small, "your picture")


def _drawing() -> Taken | None:
    """The pad; it sends its first drawing by itself."""
    if "pad" not in st.session_state:  # a first visit, or the browser has forgotten the pad meanwhile
        held: Drawing | None = st.session_state.get("image_drawing")
        st.session_state["image_recipe"] = held.recipe if held else ""
    pad(PadPayload(st.session_state["image_recipe"]), key="pad", on_drawn_change=_take_drawing)
    st.caption(
        "Draw **one filled shape**, about half as wide as the pad; it may be turned. The network knows: "
        f"{', '.join(api.shapes.CLASSES)}."
    )
    held = st.session_state.get("image_drawing")
    return Taken(held.pixels, "your drawing") if held else None


def _take_drawing() -> None:
    drawing = drawn(st.session_state["pad"].get("drawn"))
    if drawing is not None:
        st.session_state["image_drawing"] = drawing


def _bytes(way: str) -> bytes | None:
    """What the visitor chose, pasted or photographed."""
    if way == CLIPBOARD:
        paste(key="paste", on_pasted_change=_take_pasted)
        return st.session_state.get("image_pasted")
    if way == CAMERA:
        shot = st.camera_input("Take a picture", key="camera")
        return None if shot is None else shot.getvalue()
    file = st.file_uploader(
        "A PNG, JPEG or WebP of at most 5 MB", ["png", "jpg", "jpeg", "webp"], key="upload",
        max_upload_size=api.picture.MAX_BYTES >> 20,
    )  # fmt: skip
    return None if file is None else file.getvalue()


def _take_pasted() -> None:
    content = pasted(st.session_state["paste"].get("pasted"))
    if content is not None:
        st.session_state["image_pasted"] = content


def opened(data: bytes) -> api.picture.Picture:
    """The decoded picture; one is kept for the session, so that moving the crop decodes nothing. InputError."""
    digest = hashlib.sha256(data).hexdigest()
    held: tuple[str, api.picture.Picture] | None = st.session_state.get("image_opened")
    if held is None or held[0] != digest:
        st.session_state.pop("image_opened", None)
        limits, now = mode.current(), time.monotonic()
        earlier: list[float] = st.session_state.setdefault("image_times", [])
        if problem := limits.upload_problem(len(data), 0, 0, earlier, now):
            raise api.InputError(problem)
        earlier[:] = [*(then for then in earlier if now - then < 60), now]
        held = digest, api.picture.open_picture(data, min(limits.upload_pixels, api.picture.MAX_PIXELS))
        st.session_state["image_opened"] = held
    return held[1]


def _crop(picture: api.picture.Picture) -> api.picture.Crop:
    """The picture with the square in it, and the sliders that place it."""
    height, width = picture.pixels.shape[:2]
    place = st.container()
    zoom = st.slider("Zoom", 1.0, api.picture.MAX_ZOOM, 1.0, 0.1, key="zoom", bind="query-params")
    across = st.slider(
        "Square, left to right", 0.0, 1.0, 0.5, 0.01, key="across", disabled=zoom == 1 and width <= height,
        bind="query-params",
    )  # fmt: skip
    down = st.slider(
        "Square, top to bottom", 0.0, 1.0, 0.5, 0.01, key="down", disabled=zoom == 1 and height <= width,
        bind="query-params",
    )  # fmt: skip
    crop = api.picture.Crop(zoom, across, down)
    place.image(
        framed(picture.pixels, crop.box(height, width)), alt="Your picture; the square that the network sees is framed",
        caption=" ".join([f"Your picture; the bright square is used. {width:,} × {height:,} pixels.", *picture.notes]),
    )  # fmt: skip
    return crop
