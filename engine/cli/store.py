"""`store list`, `store verify`, `store clear`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from engine import api
from engine.cli.output import show

COLUMNS = ("kind", "weights_sha256", "n", "seed", "version", "question")


def the_store() -> api.store.Store:
    """InputError where it is switched off."""
    store = api.store.default_store()
    if store is None:
        raise api.InputError(f"The store is switched off ({api.store.VARIABLE}); name a folder there.")
    return store


def _described(entry: api.store.Entry) -> dict[str, Any]:
    """Its key, where that can be read."""
    try:
        key = json.loads(entry.key)
    except ValueError:
        key = None
    return (key if isinstance(key, dict) else {}) | {"bytes": entry.n_bytes, "sound": entry.sound}


def run_list(arguments: argparse.Namespace) -> None:
    store = the_store()
    entries = [_described(entry) for entry in store.entries()]
    rows = [[str(e.get(name, "?"))[:40] for name in COLUMNS] + [f"{e['bytes']:,}"] for e in entries]
    value = {"path": str(store.path), "entries": entries}
    show(value, arguments.json, str(store.path), [*COLUMNS, "bytes"], rows)


def run_verify(arguments: argparse.Namespace) -> None:
    store = the_store()
    sound, dropped = store.verify()
    value = {"path": str(store.path), "sound": sound, "dropped": dropped}
    show(value, arguments.json, str(store.path), ["sound", "damaged and dropped"], [[str(sound), str(dropped)]])


def run_clear(arguments: argparse.Namespace) -> None:
    store = the_store()
    count = store.clear()
    show({"path": str(store.path), "cleared": count}, arguments.json, str(store.path), ["cleared"], [[str(count)]])
