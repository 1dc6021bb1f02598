"""The steps of the tour: what is told before the question, where to go and try, and what a teacher may want to know.

Usage::

    step = STEPS[2]
    step.before(results), step.link("shapes-dual-bn")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.layers.measures import Part
from app.tour import answers, conclusions
from app.tour.answers import Results
from app.tour.values import Answer


@dataclass(frozen=True, slots=True)
class Step:
    """title: a few words; figure: which one app/tour/figures.py draws; page, query, try_it: where "go and try" leads;

    words: terms that are explained where the mouse rests on the sign behind the text.

    answer: text and figures from a checkpoint's results; none for the last step, whose answer needs all others.
    """

    title: str
    heading: str
    before: Callable[[Results], str]
    figure: str
    page: str
    query: Mapping[str, str]
    try_it: str
    note: str
    answer: Callable[[Results, tuple[Part, ...] | None], Answer] | None
    words: tuple[str, ...]


def same(text: str) -> Callable[[Results], str]:
    return lambda _: text


def of_results(function: Callable[[Results], Answer]) -> Callable[[Results, tuple[Part, ...] | None], Answer]:
    return lambda results, _: function(results)


def puzzle_before(of: Results) -> str:
    return (
        "**Clean** images are untouched; in **attacked** ones every pixel was changed by up to 8/255, too "
        "little to see, so as to fool the network. This network has a **branch** for each kind. Both share every "
        f"convolution, and {OWN[of.card.design]} a branch's own."
    )


OWN = {
    "dual-bn": "only a few numbers in its batch-norm layers are",
    "dual-ap": "only the scales and shifts in its batch-norm layers are",
    "dual-ns": "only the statistics in its batch-norm layers are",
    "dual-linear": "only the last, linear layer is",
    "single": "nothing at all is",
}
"""What a branch owns, by design."""
STEPS: tuple[Step, ...] = (
    Step(
        "The puzzle", "One network, two branches: who is fooled?", puzzle_before, "branches", "/attack",
        {"ns": "clean", "left": "0", "right": "1"}, "Watch an attack step by step",
        "Ask before the click: **what changed in the picture?** Usual misconception: the attack adds noise. It does "
        "not; noise of the same size does almost nothing (the Paper page, E6).",
        of_results(answers.puzzle), ("Adversarial image", "Branch", "PGD", "White-box", "95 % interval"),
    ),
    Step(
        "What BN stores", "What does a batch-norm layer store?",
        same(
            "A batch-norm layer treats every channel alone:\n\n$$y = \\gamma\\,\\frac{x-\\mu}{\\sigma} + \\beta$$\n\n"
            "**Statistics** (NS): μ and σ, what the layer has *seen*, averages over images. **Affine parameters** "
            "(AP): γ and β, what it has *learned*. Every dot in the figure is a channel of one layer."
        ),
        "channels", "/", {"lam": "0.5"}, "Look into any layer",
        "Let them say which two of the four numbers training changes by gradient, and which two are only averages. "
        "Usual misconception: that μ and σ are learned too.",
        of_results(answers.storage), ("BN", "Channel", "NS", "AP"),
    ),
    Step(
        "Swap the statistics", "Are the statistics what makes it robust?",
        same(
            "First suspect: the statistics. Attacked images are normalized with μ and σ of attacked images, so perhaps "
            "**that** is the whole secret. We take the clean branch and give it the adversarial branch's μ and σ; γ "
            "and β stay clean. The attack is made anew, against the very network that is judged."
        ),
        "ns@0", "/", {"slide": "statistics", "ap": "clean", "attack": "PGD-10", "eps": "8/255", "lam": "1"},
        "Slide the statistics", "Let everybody write a guess down. Then ask about the **blue** number: why should "
        "*unattacked* images suffer? Usual misconception: because clean and attacked images look different. Keep it "
        "open until the sixth step.",
        of_results(answers.swap_statistics), ("Stored NS", "Robust accuracy"),
    ),
    Step(
        "Swap the scales and shifts", "Or is it the scales and shifts?",
        same(
            "Second suspect: γ and β. We put in the adversarial branch's scales and shifts, and so that the statistics "
            "fit them, we **measure μ and σ anew, on clean images only**. Nothing in this network's statistics has "
            "ever seen an attack."
        ),
        "ap@clean", "/", {"slide": "affine", "ns": "re-estimated", "attack": "PGD-10", "eps": "8/255", "lam": "1"},
        "Slide the scales and shifts", "Ask what was held fixed here and what was not, and compare with the step "
        "before: one change at a time is the whole method. What was **paid** (the blue number)?",
        of_results(answers.swap_affine), ("AP", "Re-estimated NS"),
    ),
    Step(
        "Blend", "What lies between the two branches?",
        same(
            "So far it was a switch. Now a slider: γ and β are mixed in a straight line, "
            "$\\gamma(\\lambda) = (1-\\lambda)\\,\\gamma_\\mathrm{clean} + \\lambda\\,\\gamma_\\mathrm{adv}$, and μ "
            "and σ are measured anew at every stop. In between, nobody has ever trained this network."
        ),
        "blend", "/", {"slide": "affine", "ns": "re-estimated", "attack": "PGD-10", "eps": "8/255", "lam": "0.5"},
        "Drag it yourself", "Let them draw the orange curve into the empty axes before the click. Most draw a straight "
        "line or a cliff. Mixing the weights of two networks usually gives neither network: ask why it does here.",
        of_results(answers.halfway), ("λ", "Re-estimated NS"),
    ),
    Step(
        "Is it a domain gap?", "Do clean and attacked images really look so different?",
        same(
            "The two branches' μ and σ lie far apart (the figure, layer by layer). The usual reading: clean and "
            "attacked images come from two *domains*. But each branch collected them behind **its own** γ and β, so "
            "two things differ at once: $\\mathrm{NS}_\\mathrm{clean}^\\mathrm{clean}$ and "
            "$\\mathrm{NS}_\\mathrm{adv}^\\mathrm{adv}$ have two letters each."
        ),
        "gap", "/layers", {"hold": "true"}, "Hold AP fixed yourself",
        "Write $\\mathrm{NS}_x^y$ on the board and ask which letter is held. Usual misconception: a distance that is "
        "not 0 is a difference. Two sets of clean images are not at 0 either; that null is in the figure.",
        conclusions.domain_gap, ("Domain gap", "NS_x^y", "Null", "In deviations"),
    ),
    Step(
        "Two tasks", "If not two domains, what then?",
        same(
            "The paper's other reading: being right and resisting attacks are two **tasks** on nearly the same images, "
            "and a set of numbers for each lets one network do both. In the figure: right on clean images (to the "
            "right) against right under attack (up)."
        ),
        "tasks", "/models", {}, "See how each was trained",
        "Ask where a perfect network would stand, and which points no other beats in both. Usual misconception: that "
        "robust networks are simply better. Let them read the price off the figure.",
        of_results(conclusions.two_tasks), ("Two tasks", "Madry training", "Clean accuracy", "Robust accuracy"),
    ),
    Step(
        "What it means", "What is left of it?",
        same(
            "You have swapped, blended and held things fixed: that is how a difference becomes a cause. Every claim of "
            "the paper was put to such a test on these networks. How many passed?"
        ),
        "claims", "/paper", {}, "Try to break a claim",
        "Ask for the finding that surprised them most and what would change their mind. Small networks, one seed "
        "each: the intervals cover other images, not other seeds.",
        None, ("95 % interval", "n", "Seed"),
    ),
)  # fmt: skip
