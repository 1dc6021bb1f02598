"""Every parser of files and links, with good input to damage and what the pages do with whatever is accepted.

Usage::

    parser = PARSERS["card"](folder)          # folder: for its files
    parser.read(case)                         # returns, or raises InputError; anything else is a bug
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import save

from app.charts import models
from app.layers.mixing import parse_mix
from app.selection import EPS, HELD, SLIDES, Selection, parse_lam, stale_values
from engine import api
from engine.cards import ModelCard
from engine.checkpoint import load_card, load_checkpoint
from engine.experiments.store import load_finding
from engine.gaps import load_tracks
from engine.strip import Strip, load_strips
from engine.sweep import LINES, curve, load_sweep, sweep_header
from engine.training.config import load_config
from engine.training.snapshots import load_snapshots
from engine.training.state import load_state
from engine.values import DUAL_BN, Branch, NormSetting, Stored, branch_setting, parse_fraction
from tests.fuzz.damage import as_text, cases, of_arrays, of_bytes, of_json, of_tree, zipped
from tests.fuzz.images import cifar_archive, cifar_binary, cifar_python, pictures
from tests.fuzz.parser import Parser, on_file
from tests.support import card_for, dual_resnet

CPU = torch.device("cpu")
ATTACK = api.PGD(api.ThreatModel("Linf", 8 / 255), 10, 2 / 255)


def record(setting: NormSetting) -> dict[str, Any]:
    return api.EvalRecord(setting, ATTACK, setting, 100, 60, 0).as_json()


def good_card() -> dict[str, Any]:
    records = [record(branch_setting(branch)) for branch in Branch]
    value = card_for("toy", DUAL_BN).as_json() | {"records": records}
    setting = branch_setting(Branch.ADV)
    value["breakdowns"] = [
        {"setting": setting.as_json(), "attack": None, "class_n": [10] * 10, "class_correct": [5] * 10, "ece": 0.1}
    ]
    return json.loads(json.dumps(value))


def look_at_card(card: ModelCard) -> object:
    """What the Models page asks of a card."""
    rows = models.branch_rows([card])
    return rows, models.class_rows(card, Branch.ADV), card.learned_from, json.dumps(card.as_json())


def cards(folder: Path) -> Parser:
    good = good_card()

    def load(path: Path) -> object:
        return look_at_card(load_card(path.parent))

    return Parser(cases(*of_json(good)), as_text(good), on_file(folder / "card.json", load))


def weights(folder: Path) -> Parser:
    tensors = {name: tensor.contiguous() for name, tensor in dual_resnet().state_dict().items()}
    good = save(tensors)
    size = int.from_bytes(good[:8], "little")
    head, body = json.loads(good[8 : 8 + size]), good[8 + size :]
    card = card_for("toy", DUAL_BN).as_json()

    def joined(tree: Any) -> bytes:
        text = json.dumps(tree).encode()
        return len(text).to_bytes(8, "little") + text + body

    def read(content: bytes) -> object:
        (folder / "weights.safetensors").write_bytes(content)
        (folder / "card.json").write_text(json.dumps(card | {"weights_sha256": sha256(content).hexdigest()}))
        return load_checkpoint(folder, CPU)

    return Parser(cases(of_tree(head, joined), of_tree(head, joined), *of_bytes(good)), good, read)


def states(folder: Path) -> Parser:
    meta = {"step": "3", "log": "[[1.0, 2.0]]", "config": "{}"}
    good = save({"model.a": torch.zeros(3)}, metadata=meta)
    size = int.from_bytes(good[:8], "little")
    head, body = json.loads(good[8 : 8 + size]), good[8 + size :]

    def joined(tree: Any) -> bytes:
        text = json.dumps(tree).encode()
        return len(text).to_bytes(8, "little") + text + body

    kinds = (of_tree(head, joined), of_tree(head, joined), *of_bytes(good))
    return Parser(cases(*kinds), good, on_file(folder / "state.pt", lambda path: load_state(path, {})))


def sweeps(folder: Path) -> Parser:
    lines = [{"schema": 1, "n": 100}, *(record(NormSetting(lam, Stored(0.0))) for lam in (0.0, 0.5, 1.0))]

    def joined(tree: Any) -> bytes:
        rows = tree if isinstance(tree, list) else [tree]
        return "\n".join([*map(json.dumps, rows), ""]).encode()

    def load(path: Path) -> object:
        sweep_header(path)
        found = curve(load_sweep(path, {}), DUAL_BN, LINES["ap@stored:0"], ATTACK)
        return None if found is None else [one.interval for one in found.records]

    kinds = (*[of_tree(lines, joined)] * 4, *of_bytes(joined(lines)))
    return Parser(cases(*kinds), joined(lines), on_file(folder / "sweep.jsonl", load))


def findings(folder: Path) -> Parser:
    good = json.loads((api.CHECKPOINTS / api.FINDINGS / "shapes" / "E2.json").read_text())
    return Parser(cases(*of_json(good)), as_text(good), on_file(folder / "E2.json", load_finding))


def tracks(folder: Path) -> Parser:
    gap = {"layer": "bn1", "mean": 0.1, "sigma": 0.2, "weight": 0.0, "bias": 0.0}
    names = [field.name for field in fields(api.Track)]
    gap = {f.name: gap.get(f.name, 0.1) for f in _gap_fields()}
    track = dict(zip(names, ([0.0, 1.0], "PGD-10", 8, 0, [[gap], [gap]]), strict=True))
    good = {"weights_sha256": "x", "tracks": {"ap@clean": track}}

    def load(path: Path) -> object:
        return [track.layers for track in load_tracks(path, "x").values()]

    return Parser(cases(*of_json(good)), as_text(good), on_file(folder / "gaps.json", load))


def _gap_fields() -> tuple[Any, ...]:
    from engine.features import LayerGap

    return fields(LayerGap)


def strips(folder: Path) -> Parser:
    s, m = 2, 1
    verdicts = [np.zeros((s, m), np.int8), np.zeros((s, m), np.float32)] * 2
    columns = [np.arange(m), np.linspace(0, 1, s), np.zeros((s, m, 3, 4, 4), np.int8), *verdicts]
    good = {f"line|{f.name}": column for f, column in zip(fields(Strip), columns, strict=True)}
    good["weights_sha256"] = np.array("x")
    read = on_file(folder / "strip.npz", lambda path: load_strips(path, "x"))
    return Parser(cases(*of_arrays(good)), zipped(good), read)


def snapshots(folder: Path) -> Parser:
    good = {"epochs": np.arange(2), "bn1": np.zeros((2, 4, 3), np.float32)}
    return Parser(cases(*of_arrays(good)), zipped(good), on_file(folder / "snapshots.npz", load_snapshots))


def configs(folder: Path) -> Parser:
    text = (api.CHECKPOINTS / "shapes-dual-bn" / "train.toml").read_bytes()
    tree = of_tree(tomllib.loads(text.decode()), as_toml)
    return Parser(cases(tree, tree, *of_bytes(text)), text, on_file(folder / "train.toml", load_config))


def as_toml(tree: Any) -> bytes:
    """Not TOML where a value has no place in it."""
    rows = tree.items() if isinstance(tree, dict) else [("name", tree)]
    return "".join(f"{json.dumps(name)} = {json.dumps(value)}\n" for name, value in rows).encode()


def fractions(_: Path) -> Parser:
    text = st.one_of(st.text(max_size=12), st.from_regex(r"[-+]?[0-9.e]{0,6}/[-+]?[0-9.e_]{0,6}", fullmatch=True))
    return Parser(text, "8/255", parse_fraction)


KEYS = ("model", "slide", "ns", "ap", "attack", "eps", "lam", "left", "right", "mix", "zzz")
KNOWN = (
    *SLIDES,
    *EPS,
    *HELD["ap"],
    *HELD["ns"],
    "shapes-dual-bn",
    "PGD-10",
    "FGSM",
    "none",
    "0.5",
    "3:0.5,7:0",
    "1e309",
)


def links(_: Path) -> Parser:
    value = st.one_of(st.sampled_from(KNOWN), st.text(max_size=20), st.text("0123456789:,.-e", max_size=30))

    def read(query: dict[str, str]) -> object:
        """What the pages make of a link: no error at all but for `mix`, whose page says what is wrong."""
        stale = stale_values(query, ["shapes-dual-bn"])
        lam = parse_lam(query.get("lam"))
        assert lam is None or 0 <= lam <= 1
        if not stale:
            slide = SLIDES[query.get("slide", "affine")]
            held = HELD[slide][query.get("ns", "clean") if slide == "ap" else query.get("ap", "clean")]
            chosen = Selection(
                "shapes-dual-bn", slide, held, query.get("attack", "none"), EPS[query.get("eps", "8/255")]
            )
            assert chosen.line in LINES
            assert (chosen.engine_attack is None) == (chosen.attack == "none")
        return parse_mix(query.get("mix", ""), 19)

    return Parser(st.dictionaries(st.sampled_from(KEYS), value, max_size=6), {"lam": "0.5", "mix": "3:0.5"}, read)


PARSERS: dict[str, Callable[[Path], Parser]] = {
    "weights (safetensors)": weights,
    "card": cards,
    "sweep": sweeps,
    "finding": findings,
    "tracks of gaps": tracks,
    "strips (npz)": strips,
    "snapshots (npz)": snapshots,
    "training recipe (TOML)": configs,
    "training state": states,
    "CIFAR-10, binary": cifar_binary,
    "CIFAR-10, Python": cifar_python,
    "CIFAR-10, archive": cifar_archive,
    "picture (PNG, JPEG, WebP)": pictures,
    "number in the command line": fractions,
    "link": links,
}
