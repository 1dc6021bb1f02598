"""A cache with a bound in entries and in bytes, shared by all visitors' threads.

Usage::

    kept = Kept(max_entries=256, max_bytes=300_000_000)
    kept.put(key, value)
    found = kept.get(key)        # None where it was never there or has gone
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch


@dataclass(slots=True)
class Counts:
    """What a cache has lived through."""

    hits: int = 0
    misses: int = 0
    evicted: int = 0


class Kept:
    """Key -> result; the entry that was asked for longest ago goes first. What was put last always stays.

    A value may go at any moment, for another visitor's: read it once, by `get`. Values are never None.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self.counts = Counts()
        self.bytes = 0
        self._entries: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Any]:
        """All keys as they are now, the one that would go first at the front."""
        with self._lock:
            return iter(list(self._entries))

    def get(self, key: Any, default: Any = None) -> Any:
        """The value, counted as a hit, or `default`."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                self.counts.misses += 1
                return default
            self.counts.hits += 1
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: Any, value: Any) -> None:
        """Keeps a value, and lets others go until both bounds hold."""
        size = size_of(value)
        with self._lock:
            self.bytes += size - self._entries.pop(key, (None, 0))[1]
            self._entries[key] = (value, size)
            while len(self._entries) > 1 and (len(self._entries) > self.max_entries or self.bytes > self.max_bytes):
                self.bytes -= self._entries.popitem(last=False)[1][1]
                self.counts.evicted += 1

    def pop(self, key: Any) -> None:
        """Forgets one key, if it is there."""
        with self._lock:
            self.bytes -= self._entries.pop(key, (None, 0))[1]

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0


def size_of(value: object) -> int:
    """Bytes that a value holds, approximately: arrays, tensors, tables and texts whole, each object once.

    Python's own overhead counts as far as `sys.getsizeof` sees it; a tensor that is a part of a larger one counts as
    the part. What a value computes and stores later is not seen.
    """
    total, seen, left = 0, set[int](), [value]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        total += _own_size(one)
        left.extend(_parts(one))
    return total


def _own_size(value: object) -> int:
    match value:
        case torch.Tensor():
            return value.nelement() * value.element_size()
        case np.ndarray():
            return value.nbytes
        case pd.DataFrame() | pd.Series():
            return int(np.sum(value.memory_usage(deep=True)))
        case _:
            return sys.getsizeof(value)


def _parts(value: object) -> Iterable[object]:
    """What a value refers to and should be counted with it."""
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    return ()
