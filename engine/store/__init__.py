"""Computed results that outlive the process, in a file that several processes share; see `engine.store.file`."""

from engine.store.file import VARIABLE, Entry, Store, default_store
from engine.store.keys import StoreKey, as_question, code_version

__all__ = ["VARIABLE", "Entry", "Store", "StoreKey", "as_question", "code_version", "default_store"]
