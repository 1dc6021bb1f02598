"""The Python side of the drag component: payloads are checked, pixels survive the journey, browsers are not trusted."""

from __future__ import annotations

import base64
import json
import math
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from app.components.blend import (
    Axis,
    BlendPayload,
    BlendState,
    Curve,
    Curves,
    Gap,
    Images,
    Layers,
    Predictions,
    Start,
    _plain,
    encode,
    validated,
)

STOPS = [0.0, 0.5, 1.0]
CURVE = Curve([0.9, 0.8, 0.7], [0.8, 0.7, 0.6], [0.95, 0.85, 0.75], n=100)
PREDICTIONS = Predictions([[0, 1], [1, 1], [1, 0]], [[0.5, 0.6], [0.7, 0.8], [0.9, 1.0]])
IMAGES = Images(
    side=2, count=2, pixels="", labels=[0, 1], classes=("a", "b"), delta_stops=STOPS, clean=PREDICTIONS
)  # fmt: skip
LAYERS = Layers(["bn1", "bn2"], Gap(STOPS, [[1, 2]] * 3), Gap([0.0, 1.0], [[0, 0], [3, 4]]), [5, 6])
PAYLOAD = BlendPayload(
    stops=STOPS,
    curves=Curves(CURVE, CURVE),
    attack="PGD-10 at 8/255",
    statistics="stored clean NS",
    provenance="",
    images=IMAGES,
    layers=LAYERS,
    start=Start(lam=0.5, pinned=1, layer="bn2", token=3),
)
START = BlendState(lam=0.5, pinned=1, layer="bn2")


# --- pixels -----------------------------------------------------------------------------------------------------------


def decode(text: str, dtype: str) -> npt.NDArray[Any]:
    """As the browser unpacks it."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_every_value_survives_encoding(dtype: str) -> None:
    info = np.iinfo(dtype)
    values = np.arange(info.min, info.max + 1).astype(dtype)
    np.testing.assert_array_equal(decode(encode(values), dtype), values)


def test_encoding_follows_index_order_not_memory_order() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for view in (array, array.transpose(2, 0, 1), array[:, ::-1], np.asfortranarray(array)):
        np.testing.assert_array_equal(decode(encode(view), "uint8").reshape(view.shape), view)


@pytest.mark.parametrize("dtype", ["float32", "int16", "bool", "int64"])
def test_only_bytes_are_encoded(dtype: str) -> None:
    with pytest.raises(TypeError, match=f"not {dtype}"):
        encode(np.zeros(3, dtype))  # pyright: ignore[reportArgumentType]


# --- payloads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [[], [0.0, 0.0, 1.0], [0.0, 1.0, 0.5]], ids=str)
def test_stops_must_ascend(stops: list[float]) -> None:
    curve = Curve(stops, stops, stops, n=1)
    with pytest.raises(ValueError, match="^stops must be ascending"):
        replace(PAYLOAD, stops=stops, curves=Curves(curve))


@pytest.mark.parametrize("name", ["clean", "robust"])
@pytest.mark.parametrize("part", ["value", "low", "high"])
def test_curves_must_have_a_value_at_every_stop(name: str, part: str) -> None:
    short = replace(CURVE, **{part: [0.5, 0.5]})
    with pytest.raises(ValueError, match=rf"curves\.{name}\.{part} has 2 entries, expected 3"):
        replace(PAYLOAD, curves=Curves(**({"clean": CURVE} | {name: short})))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": replace(IMAGES, delta_stops=[1.0, 0.0])}, r"images\.delta_stops must be ascending"),
        ({"images": replace(IMAGES, labels=[0])}, r"images\.labels has 1 entries, expected 2"),
        ({"layers": replace(LAYERS, statistics_gap=Gap([0.5, 0.5], [[1, 1]] * 2))}, r"statistics_gap\.stops must be"),
        ({"layers": replace(LAYERS, affine_gap=Gap(STOPS, [[1, 1]]))}, r"affine_gap\.values has 1 entries, expected 3"),
    ],
    ids=["delta_stops", "labels", "gap stops", "gap values"],
)
def test_images_and_layers_must_fit_together(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PAYLOAD, **change)


def test_what_is_sent_is_json_with_gaps_where_nothing_is_known() -> None:
    curve = replace(
        CURVE, value=np.array([0.123456789, math.nan, math.inf]), low=(0, 0, 0), high=[np.float32(0.25)] * 3
    )
    plain = _plain(replace(PAYLOAD, curves=Curves(curve), axis=Axis()))
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    clean = {"value": [0.12346, None, None], "low": [0, 0, 0], "high": [0.25] * 3, "n": 100}
    assert plain["curves"] == {"clean": clean, "robust": None}
    assert plain["images"]["classes"] == ["a", "b"]
    assert plain["start"] == {"lam": 0.5, "pinned": 1, "layer": "bn2", "token": 3}
    assert _plain(np.array([[1, 2]])) == [[1, 2]]


# --- what the browser sends back --------------------------------------------------------------------------------------


def choice(**change: object) -> dict[str, object]:
    return {"lam": 1.0, "pinned": 0, "layer": "bn1", "token": 3} | change


def test_a_plausible_choice_is_taken() -> None:
    assert validated(choice(), PAYLOAD) == BlendState(1.0, 0, "bn1")
    assert validated(choice(layer=None), PAYLOAD) == BlendState(1.0, 0, None)
    assert validated(choice(lam=0), PAYLOAD).lam == 0.0


@pytest.mark.parametrize("lam", [0.7, 0.3, 0.5000001, 0.74])
def test_lambda_is_the_nearest_stop(lam: float) -> None:
    assert validated(choice(lam=lam), PAYLOAD).lam == 0.5


@pytest.mark.parametrize("lam", [-9, -0.2, 1.2, 5])
def test_lambda_outside_is_the_nearer_end(lam: float) -> None:
    assert validated(choice(lam=lam), PAYLOAD).lam == (0.0 if lam < 0 else 1.0)


@pytest.mark.parametrize("lam", [None, "1", "<script>", math.nan, math.inf, -math.inf, True, [1.0], {"lam": 1}])
def test_a_lambda_that_is_no_number_is_the_start(lam: object) -> None:
    assert validated(choice(lam=lam), PAYLOAD).lam == START.lam


@pytest.mark.parametrize("pinned", [-1, 2, 10**30, 1.0, "0", None, True, [0]])
def test_an_image_that_is_not_there_is_the_start(pinned: object) -> None:
    assert validated(choice(pinned=pinned), PAYLOAD).pinned == START.pinned


@pytest.mark.parametrize("layer", ["", "bn9", "<img src=x>", 0, ["bn1"], {"a": 1}, True])
def test_a_layer_that_is_not_there_is_none(layer: object) -> None:
    assert validated(choice(layer=layer), PAYLOAD).layer is None


@pytest.mark.parametrize("whole", [None, 3, "x", [], {}, [choice()], {"lam": 1.0}, choice(token=2), choice(token="3")])
def test_without_a_choice_of_this_token_all_is_the_start(whole: object) -> None:
    assert validated(whole, PAYLOAD) == START


def test_a_start_that_is_not_there_is_mended() -> None:
    payload = replace(PAYLOAD, start=Start(lam=0.26, pinned=7, layer="gone"))
    assert validated(None, payload) == BlendState(0.5, 0, None)
    assert validated(None, replace(payload, images=None, layers=None)) == BlendState(0.5, 0, None)
