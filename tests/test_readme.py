"""The README and its neighbours: the table is the cards', commands work, links lead somewhere, no machine is named."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import attacks, auto, ceiling
from docs.readme import updated
from engine import __version__, api
from engine.cli.arguments import parse
from engine.models import ARCHITECTURES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = ("README.md", "runs/README.md", "benchmarks/results.md", "docs/your_model.md")
RUN = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/streamlit run app/main.py"
PYTEST = ".venv/bin/python -m pytest -n auto --dist loadfile"
TEST = f"python3 -m venv .venv && .venv/bin/pip install -r requirements-dev.txt && {PYTEST}"

MACHINE = re.compile(r"(?<![\w.~$}])/(?:work|root|tmp/bash_jobs|opt/(?:wheels|pypi))\b")
REGISTRY = re.compile(
    r"py[p]i\.org|python[h]osted|npm[j]s|ana[c]onda\.(?:org|com)|-index(?:-url)?[ =]+[\"']?(?:https?|file):"
    r"|https?://[^\s\"')]*(?:/simple\b|/py[p]i\b|artifact[o]ry|/nex[u]s)"
)
TORCH_INDEX = re.compile(r"download\.pyt[o]rch\.org")
"""PyTorch's own index: the Dockerfile's build argument may name it, nothing else."""


def command_lines() -> Iterator[str]:
    """Every line in the pages' sh blocks, comments cut off."""
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL):
            yield from (line.split(" #")[0].strip() for line in block.splitlines())


def tracked_texts() -> Iterator[tuple[str, str]]:
    """(path, text) of every text file that git tracks or would add."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is not a git checkout")
    for name in filter(None, done.stdout.split("\0")):
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue


def named(texts: Iterator[tuple[str, str]]) -> list[str]:
    """One line for each machine path or package registry that is named."""
    found: list[str] = []
    for name, text in texts:
        patterns = [MACHINE, REGISTRY, *([] if name == "Dockerfile" else [TORCH_INDEX])]
        found += [f"{name}: {match[0]}" for pattern in patterns for match in pattern.finditer(text)]
    return found


def remade(text: str) -> str:
    """The README as the cards and findings say."""
    cards, problems = api.list_cards()
    findings, unreadable = api.load_findings(api.CHECKPOINTS / api.FINDINGS, cards)
    assert not problems + unreadable
    return updated(text, cards, findings)


def test_the_tables_are_what_cards_and_findings_say() -> None:
    assert remade(README) == README, "bring it up to date: python -m docs.readme"


def test_an_altered_verdict_is_noticed() -> None:
    altered = re.sub(r"\| (holds|fails|undecided) \|\n", "| maybe |\n", README, count=1)
    assert remade(altered) == remade(README) != altered


def test_an_altered_figure_is_noticed() -> None:
    digit = re.search(r"\| (\d+\.\d) \[", README)
    assert digit
    altered = README.replace(digit[0], "| 12.3 [", 1)
    assert remade(altered) == remade(README) != altered


def test_both_commands_stand_there_word_for_word() -> None:
    assert f"```sh\n{RUN}\n```" in README
    assert f"```sh\n{TEST}\n```" in README


def test_ci_runs_the_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "\n" + "\n".join(TEST.split(" && ")) + "\n" in script


@pytest.mark.parametrize("line", sorted({line for line in command_lines() if " -m engine " in line}))
def test_engine_commands_are_understood(line: str) -> None:
    program, *words = shlex.split(line)
    assert program == ".venv/bin/python"
    arguments = vars(parse(words[2:]))
    if "config" in arguments:
        assert (ROOT / arguments["config"]).is_file()
    elif "called" in arguments:
        assert arguments["arch"] in ARCHITECTURES
    elif arguments.get("name", "cifar10") not in ("cifar10", "mine", "mine-tuned"):  # these a reader has made
        assert (api.CHECKPOINTS / arguments["name"] / "card.json").is_file()


def test_every_group_of_commands_has_an_example() -> None:
    words = [shlex.split(line)[3] for line in command_lines() if " -m engine " in line]
    known = {"list", "show", "evaluate", "attribute", "headline", "sweep", "train", "data", "paper", "convert", "store"}
    assert set(words) == known


def test_other_commands_are_understood() -> None:
    lines = list(command_lines())
    queues = [shlex.split(line) for line in lines if "runs/queue.sh" in line]
    default = re.search(r"set -- (.*)", (ROOT / "runs" / "queue.sh").read_text())
    assert default
    names = {name for words in queues for name in words[words.index("runs/queue.sh") + 1 :]} | set(default[1].split())
    assert [name for name in sorted(names) if not (api.CHECKPOINTS / name / "train.toml").is_file()] == []
    shown = [shlex.split(line.split(" >> ")[0]) for line in lines if " -m benchmarks." in line]
    modules = {"benchmarks.attacks": attacks, "benchmarks.auto": auto, "benchmarks.ceiling": ceiling}
    assert {words[2] for words in shown} == set(modules)
    assert all(modules[words[2]].parse(words[3:]).markdown for words in shown)


def test_container_commands_are_the_dockerfiles() -> None:
    header = (ROOT / "Dockerfile").read_text().split("\nARG ")[0]
    lines = [line for line in command_lines() if line.startswith("docker ")]
    assert len(lines) == 3
    assert [line for line in lines[:2] if f"#   {line}" not in header] == []


@pytest.mark.parametrize("document", PAGES)
def test_links_and_pictures_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / document).read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not ((ROOT / document).parent / link.split("#")[0]).exists()] == []


def test_the_readme_shows_the_explore_page_and_leads_on() -> None:
    assert "](docs/screenshots/explore-desktop-light.webp)" in README.split("## ")[0]
    assert [link for link in ("runs/README.md", "LICENSE", "CITATION.cff") if f"]({link})" not in README] == []


def test_paths_in_the_layout_exist() -> None:
    layout = README.split("## Layout")[1].split("```")[1]
    folders = [line.split()[0] for line in layout.strip().splitlines()]
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_the_torch_version_is_the_required_one() -> None:
    required = next(line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("torch=="))
    assert set(re.findall(r"torch==[\d.]+\d", README)) == {required}


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_shapes_recipes_differ_only_in_design_and_loss() -> None:
    """What runs/README.md says of them; those that only go on from another have a recipe of their own."""
    recipes = [tomllib.loads(path.read_text()) for path in api.CHECKPOINTS.glob("shapes-*/train.toml")]
    free = ("name", "design", "batch", "alpha")
    kept = [{k: v for k, v in r.items() if k not in free} for r in recipes if "only" not in r]
    assert len(kept) > 1
    assert [recipe for recipe in kept if recipe != kept[0]] == []


def test_no_machine_and_no_registry_is_named() -> None:
    assert named(tracked_texts()) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "cd /" + "work/main"),
        ("a.json", '"/' + 'root/.cache"'),
        ("a.sh", "pip install --index-url " + "https://mirror.example/whl"),
        ("requirements.txt", "--extra-index-url " + "file:///srv/wheels"),
        ("a.md", "see py" + "pi.org/project/torch"),
        ("a.toml", 'url = "https' + '://mirror.example/root/simple/"'),
        ("README.md", "https://download.pyt" + "orch.org/whl/cpu"),
    ],
)
def test_a_named_machine_or_registry_is_reported(name: str, text: str) -> None:
    (problem,) = named(iter([(name, text)]))
    assert problem.startswith(f"{name}: ")


def test_the_dockerfile_may_name_the_torch_index() -> None:
    index = "ARG TORCH_INDEX=https://download.pyt" + "orch.org/whl/cpu"
    assert named(iter([("Dockerfile", index)])) == []
    assert len(named(iter([("engine/Dockerfile.py", index)]))) == 1
