"""How computed results are written down, so that another process can take them up: JSON and npz, never a pickle.

Usage::

    content = TABLE.encode(frame);  frame = TABLE.decode(content)
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

from engine import api

Value = TypeVar("Value")
Curves = tuple[api.Curve, api.Curve | None]
"""Clean, and robust where there is an attack."""


@dataclass(frozen=True, slots=True)
class Form(Generic[Value]):
    """kind: the name of such results in the store; decode: of what encode gave, the same value again."""

    kind: str
    encode: Callable[[Value], bytes]
    decode: Callable[[bytes], Value]


def _curve_json(curve: api.Curve | None) -> Any:
    return curve and {"lams": curve.lams, "records": [record.as_json() for record in curve.records]}


def _curve(value: Any) -> api.Curve:
    return api.Curve(tuple(value["lams"]), tuple(api.EvalRecord.from_json(record) for record in value["records"]))


def _curves_bytes(curves: Curves) -> bytes:
    return json.dumps([_curve_json(curve) for curve in curves]).encode()


def _curves(content: bytes) -> Curves:
    clean, robust = json.loads(content)
    return _curve(clean), robust and _curve(robust)


def _table_bytes(table: pd.DataFrame) -> bytes:
    """Python's JSON keeps every digit of a float, and infinity, which pandas' own does not."""
    columns = [[str(name), str(column.dtype), column.tolist()] for name, column in table.items()]
    return json.dumps(columns).encode()


def _table(content: bytes) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype=dtype) for name, dtype, values in json.loads(content)})


def of_arrays(kind: str, value_type: Callable[..., Value]) -> Form[Value]:
    """The form of a frozen value that holds arrays only."""

    def encode(value: Any) -> bytes:
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **{f.name: getattr(value, f.name) for f in fields(value)})
        return content.getvalue()

    def decode(content: bytes) -> Value:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return value_type(**{name: file[name] for name in file.files})

    return Form(kind, encode, decode)


def _shares_bytes(found: list[api.Shares]) -> bytes:
    return json.dumps([one.as_json() for one in found]).encode()


def _shares(content: bytes) -> list[api.Shares]:
    return [api.Shares.from_json(one) for one in json.loads(content)]


CURVES: Form[Curves] = Form("curve", _curves_bytes, _curves)
TABLE: Form[pd.DataFrame] = Form("table", _table_bytes, _table)
STRIP: Form[api.Strip] = of_arrays("strip", api.Strip)
SHARES: Form[list[api.Shares]] = Form("shares", _shares_bytes, _shares)
