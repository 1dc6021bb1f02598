"""An answer of the tour, and how figures are written in it: each with its interval, whatever it turns out to be.

Usage::

    Answer(question, ("Falls", "Stays"), chosen(estimate, (0.0,)), text="...", short="...")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine import api

JUST_TELL = -1
"""The guess of somebody who would rather be told."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a network says to a step's question.

    options: empty where this network has nothing to guess, and text then says why; right: the options that the 95 %
    interval leaves open; text: Markdown; short: the finding in one line, for the last step; evidence: n, attack, seed
    and hash; commands: what makes the figures again.
    """

    question: str
    options: tuple[str, ...]
    right: frozenset[int]
    text: str
    short: str
    evidence: str = ""
    commands: tuple[str, ...] = ()


def nothing(text: str) -> Answer:
    """A step at which this network has nothing to show."""
    return Answer("", (), frozenset(), text, "")


def chosen(estimate: api.Estimate, bounds: Sequence[float]) -> frozenset[int]:
    """Which of the ranges between ascending bounds the interval touches; option 0 lies below the first bound."""
    edges = [float("-inf"), *bounds, float("inf")]
    return frozenset(
        option
        for option in range(len(edges) - 1)
        if estimate.high >= edges[option] and estimate.low < edges[option + 1]
    )


def reply(answer: Answer, guess: int) -> str:
    """What the tour says to a guess; an option that the interval leaves open counts as right."""
    names = [f"“{answer.options[option]}”" for option in sorted(answer.right)]
    if guess == JUST_TELL:
        return "The answer: " + " or ".join(names) + "."
    if guess not in answer.right:
        return "A fair guess, but this network says " + " or ".join(names) + "."
    if len(names) > 1:
        return f"Your guess fits; so many images leave {' and '.join(names)} open."
    return "You guessed it."


def percent(record: api.EvalRecord) -> str:
    """'63.8 % (61.7 to 65.9)'."""
    i = record.interval
    return f"**{100 * i.value:.1f} %** ({100 * i.low:.1f} to {100 * i.high:.1f})"


def points(estimate: api.Estimate) -> str:
    """'+62.2 points (+60.0 to +64.3)'."""
    value, low, high = (100 * part for part in estimate.cells)
    return f"**{value:+.1f} points** ({low:+.1f} to {high:+.1f})"


def exact(value: float) -> api.Estimate:
    """A number that was counted, not estimated."""
    return api.Estimate(value, value, value)


def price(estimate: api.Estimate) -> str:
    """'2.0 points (1.4 to 2.7)', of what is paid."""
    value, low, high = (100 * part for part in estimate.cells)
    return f"**{value:.1f} points** ({low:.1f} to {high:.1f})"
