"""The words on screen, explained once: in the glossary and wherever the mouse rests on them.

Usage::

    st.slider("eps", help=word("eps"))
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

GLOSSARY = Path(__file__).resolve().parent / "text" / "glossary.md"


@cache
def glossary() -> dict[str, dict[str, str]]:
    """Chapter -> term as it is written -> its explanation, Markdown on one line."""
    chapters: dict[str, dict[str, str]] = {}
    for part in ("\n" + GLOSSARY.read_text(encoding="utf-8")).split("\n## ")[1:]:
        title, *entries = part.split("\n### ")
        split = (entry.split("\n", 1) for entry in entries)
        chapters[title.strip()] = {term.strip(): " ".join(text.split()) for term, text in split}
    return chapters


def word(*terms: str) -> str:
    """What the terms mean, for a help text; a term is known by its name, or by what stands in brackets behind it."""
    known = {name: text for chapter in glossary().values() for term, text in chapter.items() for name in names(term)}
    return "\n\n".join(f"**{term}**: {known[term]}" for term in terms)


def names(term: str) -> list[str]:
    """'Affine parameters (AP)' is known as itself, as 'Affine parameters' and as 'AP'."""
    return [term, *(part.strip() for part in term.rstrip(")").split("("))]
