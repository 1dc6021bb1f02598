"""The sixteen moments worth a picture in class: what is done to the app, what is in the frame, and what is said.

A caption has no figure of its own: each is read from the page at the moment of taking, so that it is true of the
checkpoint that made it. `python -m docs.screenshots` takes the pictures and writes docs/gallery.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import FloatRect, Locator, Page

from tests.browser.chromium import saved, wait_idle

WAIT = 120_000
MARGIN = 16
HERE = "http://localhost:8501"
Read = tuple[str, str]
"""A CSS selector, and what of its text is meant, as the first group of a regular expression."""
MAIN = "[data-testid=stMain]"
ROBUST, CLEAN = ".blend .readout.robust", ".blend .readout.clean"
VALUE, RANGE = r"([\d.]+%)", r"(95% interval .+?\))"
BLEND: Mapping[str, Read] = {
    "lam": (".blend .pill.lam", r"λ = ([\d.]+)"),
    "clean": (CLEAN, VALUE), "robust": (ROBUST, VALUE), "range": (ROBUST, RANGE),
    "attack": (ROBUST, r"under (.+?) 95%"),
}  # fmt: skip
FILM: Mapping[str, Read] = {
    "left": (".film .verdict >> nth=0", "(.+)"), "right": (".film .verdict >> nth=1", "(.+)"),
    "film": ("[data-testid=stCaptionContainer]:has-text('each side is attacked')", r"(The network is .+?)\."),
    "attack": ("[data-testid=stCaptionContainer]:has-text('each side is attacked')", r"(?:on|fooled)\. (.+?), step"),
}  # fmt: skip
CLAIM: Mapping[str, Read] = {
    "claim": ("h1", "(.+)"),
    "verdict": (MAIN, r"(holds|fails|undecided) shapes \(built in\)"),
    "sentence": (MAIN, r"shapes \(built in\) (.+?) n = "),
    "made": (MAIN, r"shapes \(built in\) .+? (n = .+? · seed \d+)"),
}
CLAIM_FRAME = ("h1", "[data-testid=stVegaLiteChart] >> nth=0", "[data-testid=stVegaLiteChart] >> nth=1")


def nothing(_: Page) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Moment:
    """link: opens it; act: what is done then, and what that alone can read; frame: selectors of what is in the picture.

    read: name in the caption -> where the page says it.
    """

    name: str
    title: str
    link: str
    frame: Sequence[str]
    caption: str
    read: Mapping[str, Read] = field(default_factory=dict[str, Read])
    act: Callable[[Page], dict[str, str]] = nothing
    size: tuple[int, int] = (1366, 2400)


def tell(page: Page) -> dict[str, str]:
    page.locator(".st-key-tell button").click()
    page.get_by_text("The answer:").wait_for(timeout=WAIT)
    return {"answer": text(page.get_by_text("The answer:").locator("xpath=following::p[1]"))}


def measured(page: Page) -> dict[str, str]:
    page.get_by_text("At equal AP there remains").wait_for(timeout=WAIT)
    page.wait_for_timeout(1200)  # the bars move to where they belong
    return {}


def compute(page: Page) -> dict[str, str]:
    """What a visitor who asks for the figure has computed, and the number that its "Check a number" names."""
    page.get_by_role("button", name=re.compile("Compute on")).click()
    check = page.get_by_role("button", name="Check a number")
    check.wait_for(timeout=WAIT)
    wait_idle(page, WAIT / 1000)
    check.click()
    said = text(page.locator("[data-testid=stPopoverBody] p").first)
    page.keyboard.press("Escape")
    page.locator("[data-testid=stPopoverBody]").wait_for(state="hidden")
    check.blur()
    return {"said": re.sub(r"[.:]? ?(The command draws.*)?$", "", said)}


def draw_bar(page: Page) -> dict[str, str]:
    """One stroke across the empty pad."""
    page.get_by_role("button", name="Clear").click()
    box = page.locator(".pad canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.62 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.38 * box["height"], steps=6)
    page.mouse.up()
    page.get_by_test_id("stMetricValue").filter(has_text="bar").first.wait_for(timeout=WAIT)
    return {}


def hand_out(page: Page) -> dict[str, str]:
    """The file, opened with the network off."""
    page.get_by_role("button", name="Take away").click()
    html = saved(page.get_by_role("button", name="Hand-out (HTML)"))
    page.context.set_offline(True)
    page.goto("about:blank")
    page.set_content(html.decode())
    page.locator(".blend .readout.robust .value").wait_for()
    return {}


MOMENTS: Sequence[Moment] = (
    Moment(
        "clean-end", "The puzzle: good, and defenceless", "/?lam=0", (".st-key-model", ".blend .stage"),
        "The slider at λ = {lam}, the clean branch: {clean} of the unchanged images are named rightly. Then every "
        "pixel is changed a little ({attack}), and {robust} are left ({range}). Compare the first row of pictures with "
        "the second: the eye sees nothing. The third row is the difference, enlarged.", BLEND,
    ),
    Moment(
        "adversarial-end", "The same network, other scales and shifts", "/?lam=1", (".st-key-model", ".blend .stage"),
        "The slider at λ = {lam}. No convolution has changed, only the scales and shifts of the batch-norm layers, and "
        "the attack is made anew against this very network: now {robust} withstand it ({range}). What was paid for it "
        "is the blue number, {clean}. So that is where this network keeps its robustness.", BLEND,
    ),
    Moment(
        "swap-statistics", "The wrong suspect", "/?slide=statistics&ap=clean&lam=1", (".st-key-model", ".blend .stage"),
        "Here the slider exchanges the other half of batch norm, the statistics; scales and shifts stay clean. At λ = "
        "{lam} the robust accuracy is {robust} ({range}), and the clean accuracy {clean}, without any attack: means "
        "and deviations that belong to other scales upstream fit nothing. Stored statistics are not the secret.", BLEND,
    ),
    Moment(
        "question", "The tour asks before it answers", "/tour?step=4", ("h1", ".st-key-next_step"),
        "Every step of the tour puts a question, and the figure shows only what is known by then: the slider stands at "
        "the clean end, {robust} robust, and waits. A guess that was written down is a guess that can be wrong; that "
        "is what makes the answer stay.", BLEND,
    ),
    Moment(
        "answer", "... and answers from this network's own numbers", "/tour?step=4", ("h1", ".st-key-next_step"),
        "The reveal of the same step: the adversarial branch's scales and shifts, with means and deviations measured "
        "anew on clean images only. “{answer}” The text is written from the results of whichever network is chosen, so "
        "it is true for each, also where a claim fails.", BLEND, tell,
    ),
    Moment(
        "half-way", "Half-way, for the last row", "/?lam=0.5&mode=lecture", ("[data-testid=stApp]",),
        "Lecture mode on a projector of {pixels} pixels: large type, no menu, no small print. At λ = {lam} stands a "
        "network that nobody has ever trained, and it works: {clean} of clean and {robust} of attacked images.", BLEND,
        lambda page: {"pixels": " x ".join(str(v) for v in (page.viewport_size or {}).values())}, (1280, 720),
    ),
    Moment(
        "gap-stored", "Two worlds?", "/layers?hold=false", (".st-key-hold", ".st-key-metric", ".net"),
        "Blue: what the clean branch has stored about a layer's channels; orange: the adversarial branch. Every bar "
        "differs ({stored}), as if clean and attacked images were two kinds of images. But each branch looked at its "
        "images through its own scales and shifts: two things differ at once.",
        {"stored": ("li:has-text('This layer')", r"stored, (.+?);")}, measured,
    ),
    Moment(
        "gap-held", "One thing held fixed", "/layers?hold=true", (".st-key-hold", ".st-key-metric", ".net"),
        "The same layer, with one switch turned: clean and attacked images now pass through the same scales and "
        "shifts. “{remains}” Most of what looked like two worlds was the two branches' own doing; the null says how "
        "much difference two sets of clean images show.",
        {"remains": ("h4:has-text('At equal AP')", "(.+)")}, measured,
    ),
    Moment(
        "film", "An attack, step by step", "/attack?picture=3", (".film",),
        "The last frame of {attack} on one image, against both ends of the same network at once. Left: {left}. Right: "
        "{right}. {film}. Beside each picture: the change enlarged, its sign, and its frequencies; below, how the "
        "answers, the loss and the margin moved.", FILM,
    ),
    Moment(
        "steps", "When may an attack be believed?", "/attack?look=Steps", ("[data-testid=stTabs]",),
        "Accuracy against the number of steps. {said}. Where a curve is flat, more steps find nothing more; where it "
        "still falls, the accuracy is too high because the attack is too weak. {made}.",
        {"made": ("[data-testid=stCaptionContainer]:has-text('95 % intervals')", "(.+?) · seed")}, compute,
    ),
    Moment(
        "transfer", "Who saw what: white-box and transfer", "/attack?look=Transfer", ("[data-testid=stTabs]",),
        "Attacks are made at the λ of a row and judged at the λ of a column. In the frames the attacker saw the very "
        "network that judges; everywhere else the attack was carried over. For instance: {said}. A network that "
        "withstands carried-over attacks only is not robust.", {}, compute,
    ),
    Moment(
        "compare", "Does the second branch pay?", "/compare?a_model=shapes-single&lam=1&b_model=shapes-dual-bn",
        ("h1", ".duel"),
        "One batch norm for all images (A) beside two (B), under one slider at {lam}. B is {clean} points from A on "
        "clean images ({clean_range}) and {robust} under attack ({robust_range}). An interval that holds zero decides "
        "nothing: the bar is grey then.",
        {
            "lam": (".duel output", "(.+)"), "clean": (".duel .panel >> nth=0 >> .readout.delta b", "(.+)"),
            "clean_range": (".duel .panel >> nth=0 >> .readout.delta > span >> nth=1", "(.+)"),
            "robust": (".duel .panel >> nth=1 >> .readout.delta b", "(.+)"),
            "robust_range": (".duel .panel >> nth=1 >> .readout.delta > span >> nth=1", "(.+)"),
        },
    ),
    Moment(
        "claim-holds", "A claim of the paper, tried", "/paper?claim=E3", CLAIM_FRAME,
        "“{claim}” On the built-in networks: **{verdict}**. {sentence} ({made}) A verdict is given only where the "
        "interval decides it, and the page offers to try to break it.", CLAIM,
    ),
    Moment(
        "claim-fails", "A claim that did not pass", "/paper?claim=E6", CLAIM_FRAME,
        "“{claim}” On the built-in networks: **{verdict}**. {sentence} ({made}) It is shown as plainly as one that "
        "holds: a tool that only confirms teaches nothing.", CLAIM,
    ),
    Moment(
        "drawing", "Your own drawing, fooled", "/image", (".pad", ".film"),
        "One stroke on the pad; the clean branch calls it “{first}”, the adversarial branch “{second}”. Then "
        "{attack} is made against both. Left, the clean branch: {left}. Right, the adversarial branch: {right}. It is "
        "one picture, so there is no interval; draw another.",
        {**FILM, "first": ("[data-testid=stMetricValue] >> nth=0", "(.+)"),
         "second": ("[data-testid=stMetricValue] >> nth=1", "(.+)")}, draw_bar,
    ),
    Moment(
        "hand-out", "A page to take home", "/?lam=0.7", ("h1", ".blend .stage"),
        "What “Take away”, “Hand-out (HTML)” on Explore saves: one file with the slider, its pictures and its numbers "
        "(here λ = {lam}, {robust} robust, {range}), where they come from and the command that makes them again. It "
        "was opened with the network switched off.", BLEND, hand_out, (1000, 2400),
    ),
)  # fmt: skip


def text(place: Locator) -> str:
    """As it stands on the page, on one line."""
    return " ".join(
        str(place.evaluate("e => e.innerText ?? e.textContent", timeout=WAIT)).replace("\u00a0", " ").split()
    )


def caption(of: Moment, page: Page, done: Mapping[str, str]) -> str:
    """The moment in words, with the page's figures; ValueError for what the page does not say."""
    found = dict(done)
    for name, (selector, pattern) in of.read.items():
        said = text(page.locator(selector).first) if ">>" not in selector else text(page.locator(selector))
        match = re.search(pattern, said)
        if match is None:
            raise ValueError(f"{of.name}: {name!r} is not in {said[:300]!r}")
        found[name] = match[1]
    return of.caption.format(**found)


def clip(of: Moment, page: Page) -> FloatRect:
    """The rectangle around all that is in the frame, within the window."""
    boxes = [box for one in of.frame if (box := page.locator(one).first.bounding_box()) is not None]
    assert len(boxes) == len(of.frame), f"{of.name}: part of {of.frame} is not on the page"
    left, top = (max(0.0, min(box[side] for box in boxes) - MARGIN) for side in ("x", "y"))
    right = min(of.size[0], max(box["x"] + box["width"] for box in boxes) + MARGIN)
    bottom = min(of.size[1], max(box["y"] + box["height"] for box in boxes) + MARGIN)
    return FloatRect(x=left, y=top, width=right - left, height=bottom - top)


def write(captions: Mapping[str, str], target: Path) -> None:
    """docs/gallery.md: a picture, its title, its caption and the link that opens it."""
    parts = [
        f"## {at}. {of.title}\n\n![{of.title}](screenshots/{of.name}.webp)\n\n{captions[of.name]}\n\n"
        f"Open it: [{of.link}]({HERE}{of.link})\n"
        for at, of in enumerate(MOMENTS, start=1)
    ]
    head = (
        "# Sixteen moments for class\n\nEach picture makes one point, on built-in data. `python -m docs.screenshots` "
        "makes pictures and captions and reads every\nfigure from the page. The links work while the app runs on this "
        "computer; what to do with them in a lesson is in the\n[teacher's guide](teaching.md).\n\n"
    )
    target.write_text(head + "\n".join(parts), encoding="utf-8")
