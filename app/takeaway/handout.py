"""A page of one's own, to hand out: the drag component, its numbers and where they come from in one file, offline.

Usage::

    html = page(Handout(title, question, setting, figures, caption, source, link, images_note, payload))

The file asks for nothing: code, style, typeface and payload stand in it, and its own policy forbids any request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from app.components.blend import BlendPayload, inlined
from app.takeaway.figure import font_faces

TEMPLATE = Path(__file__).with_name("handout.html")


@dataclass(frozen=True, slots=True)
class Handout:
    """figures: name, value, and n with interval; link "" and images_note "" where there is nothing to say."""

    title: str
    question: str
    setting: str
    figures: Sequence[tuple[str, str, str]]
    caption: str
    source: str
    link: str
    images_note: str
    payload: BlendPayload


def page(of: Handout) -> str:
    """The file's HTML."""
    html, css, js, payload = inlined(of.payload)
    figures = "".join(
        f"<div><dt>{escape(name)}</dt><dd><b>{escape(value)}</b> {escape(more)}</dd></div>"
        for name, value, more in of.figures
    )
    link = f'<p>Go on from here: <a href="{escape(of.link)}">{escape(of.link)}</a></p>' if of.link else ""
    note = f"<p><strong>{escape(of.images_note)}</strong></p>" if of.images_note else ""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(of.title), question=escape(of.question), setting=escape(of.setting), figures=figures,
        caption=escape(of.caption), source=escape(of.source), link=link, note=note, fonts=font_faces(),
        html=html, css=css, js=js.replace("</script", "<\\/script"),
        payload=payload.replace("<", "\\u003c"),
    )  # fmt: skip
