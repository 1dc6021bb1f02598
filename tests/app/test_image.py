"""The Your image page: what it says of a picture is what the network says, and bad input is one sentence."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import cache
from app.attack import films
from app.charts.answers import answer_rows
from app.charts.pictures import framed
from app.components.pad import COLOURS, FINE, SIDE, START, Drawing, drawn, ready_shapes
from app.components.paste import MOST, pasted
from app.image import source
from app.image.asked import STOPS, answers, shown_with, table
from app.shown import Shown
from engine import api
from tests.app.conftest import ATTACK, PAIR, ROOT, Explorer, run
from tests.app.test_attack import captions, charts
from tests.app.world import write_cifar

Page = Callable[..., AppTest]


def random_pixels(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)


def png(pixels: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def image_page(_: Explorer, drawing: Any = None, **query: str) -> AppTest:
    """A first visit that starts here; there is no browser that could draw, so the drawing is there already."""
    at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=100).switch_page("screens/image.py")
    if drawing is not None:
        at.session_state["image_drawing"] = Drawing(drawing, "")
    for key, value in query.items():
        at.query_params[{"way": "from"}.get(key, key)] = value
    return run(at)


def expected(shown: Shown, pixels: Any, lam: float) -> Any:
    """Softmax (classes,) of both branches' blend, by nothing of the app."""
    view = api.at(shown.model, api.NormSetting(lam, api.Stored(lam)))
    with torch.no_grad():
        return view(torch.from_numpy(pixels)[None].float() / 255).softmax(1)[0].numpy()


def the_shown(name: str) -> Shown:
    return cache.shown(name, next(card for card in cache.cards()[0] if card.name == name).weights_sha256)


def test_a_drawing_is_named_by_both_branches_and_attacked(explorer: Explorer) -> None:
    pixels = random_pixels(0)
    at = image_page(explorer, pixels, steps="2")
    shown = the_shown("shapes-dual-bn")
    for metric, lam in zip(at.metric, (0.0, 1.0), strict=True):
        probabilities = expected(shown, pixels, lam)
        assert metric.value == shown.card.classes[probabilities.argmax()]
        assert metric.delta == f"{100 * probabilities.max():.1f} % sure"
    said = captions(at)
    for part in ("PGD-2 at 8/255", "seed 0", "white-box", "no interval", "your drawing", "no disk"):
        assert part in said
    assert charts(at) == 1
    assert len(at.get("bidi_component")) == 2  # pad and film
    assert not at.error
    assert not at.toast


def test_what_it_really_is_is_what_the_attack_goes_against(explorer: Explorer) -> None:
    at = image_page(explorer, random_pixels(0), steps="2", truth="ring")
    says = [metric.value for metric in at.metric]
    assert ("wrong before any attack" in captions(at)) == any(said != "ring" for said in says)
    at.selectbox(key="truth").set_value("what it says at λ = 1")
    assert "at λ = 1 wrong before any attack" not in captions(run(at))


def test_answers_are_those_of_the_views_at_every_stop(shown: Shown) -> None:
    shown, pixels = replace(shown, card=replace(shown.card, design="dual-bn")), random_pixels(1)
    found = answers(shown_with(shown, pixels, 0), "ap@own")
    for row, lam in zip(found, STOPS, strict=True):
        np.testing.assert_allclose(row, expected(shown, pixels, lam), atol=1e-5)
    rows = table(shown_with(shown, pixels, 0), found, "ap@own")
    assert rows["lambda"].tolist() == list(STOPS)
    np.testing.assert_allclose(rows[list(shown.card.classes)].sum(axis=1), 1, atol=1e-4)


def test_results_of_one_picture_are_never_shown_for_another(shown: Shown) -> None:
    first, second = (shown_with(shown, random_pixels(seed), 0) for seed in (1, 2))
    films_of = [films.film(own, PAIR[0], ATTACK, 0) for own in (first, second, shown)]
    for own, one in zip((first, second, shown), films_of, strict=True):
        assert own.bench is not None
        np.testing.assert_array_equal(np.rint(255 * one.images[0]), own.bench.test.images[0])
    assert not np.array_equal(answers(first, "ap@own"), answers(second, "ap@own"))


@pytest.mark.parametrize("label", [0, 9])
def test_the_curves_are_the_likeliest_classes_and_the_label(label: int) -> None:
    probabilities = np.tile([0.01, 0.3, 0.2, 0.15, 0.1, 0.1, 0.06, 0.04, 0.03, 0.01], (3, 1))
    names = [str(k) for k in range(10)]
    chosen = list(dict.fromkeys(answer_rows((0, 0.5, 1), probabilities, names, label)["class"]))
    assert set(chosen) > {"1", "2", "3", str(label)}
    assert len(chosen) == 5
    assert set(answer_rows((0, 0.5, 1), np.eye(10)[[4, 4, 4]], names, 4)["class"]) == {"4"}


def test_an_uploaded_picture_is_cropped_and_asked(explorer: Explorer) -> None:
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, 128:] = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    at = image_page(explorer, way="file", steps="1")
    assert "as soon as there is a picture" in "\n".join(text.value for text in at.markdown)
    at.file_uploader(key="upload").set_value(("<img src=x>.png", png(wide), "image/png"))
    run(at)
    at.slider(key="across").set_value(1.0)
    run(at)
    square = np.rint(wide[:, 128:].reshape(32, 2, 32, 2, 3).mean((1, 3))).astype(np.uint8).transpose(2, 0, 1)
    probabilities = expected(the_shown("shapes-dual-bn"), square, 0.0)
    assert at.metric[0].delta == f"{100 * probabilities.max():.1f} % sure"
    assert "192 × 64 pixels" in at.get("image")[0].proto.imgs[0].caption
    assert at.slider(key="down").disabled
    shown_texts = [text.value for kind in (at.markdown, at.caption, at.error, at.warning) for text in kind]
    assert not any("<img" in text for text in shown_texts)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"just text", "This is text"), (b"", "The file is empty"), (b"\x89PNG\r\n\x1a\n", "cut off or damaged")],
    ids=["text", "empty", "cut"],
)
def test_garbage_is_one_sentence_and_the_page_goes_on(explorer: Explorer, content: bytes, said: str) -> None:
    at = image_page(explorer, way="file", steps="1")
    at.file_uploader(key="upload").set_value(("picture.png", content, "image/png"))
    (error,) = run(at).error
    assert said in error.value
    assert not at.metric
    at.file_uploader(key="upload").set_value(("picture.png", png(np.zeros((9, 9, 3), np.uint8)), "image/png"))
    assert not run(at).error
    assert len(at.metric) == 2


def test_what_is_pasted_is_kept_and_a_url_is_told(explorer: Explorer) -> None:
    at = image_page(explorer, way="clipboard")
    at.session_state["image_pasted"] = b"https://example.org/cat.png"
    (error,) = run(at).error
    assert "This is a web address" in error.value
    at.session_state["image_pasted"] = png(np.full((9, 9, 3), 99, np.uint8))
    assert len(run(at).metric) == 2


def test_cifar_without_images_offers_stored_statistics_and_works(
    explorer: Explorer, use_checkpoints: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path / "checkpoints", "cifar")
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("DUAL_BN_DATA", str(tmp_path / "data"))
    use_checkpoints(tmp_path / "checkpoints")
    at = image_page(explorer, way="file", steps="1")
    assert at.selectbox(key="held").options == ["the branch's own", "adversarial", "clean"]
    assert "cannot be measured anew" in "\n".join(text.value for text in at.markdown)
    assert at.segmented_control(key="from").options == ["file", "clipboard", "camera"]
    at.file_uploader(key="upload").set_value(("a.png", png(random_pixels(3).transpose(1, 2, 0)), "image/png"))
    assert len(at.metric) == 0
    assert len(run(at).metric) == 2
    assert at.metric[0].value in api.cifar.CLASSES
    assert "PGD-1" in captions(at)


def test_links_to_what_is_not_here_are_told(explorer: Explorer) -> None:
    at = image_page(explorer, random_pixels(0), way="fax", truth="unicorn", steps="1")
    assert "from, truth" in at.toast[0].value


def test_maps_are_drawn_once_the_fold_is_opened(explorer: Explorer) -> None:
    at = image_page(explorer, random_pixels(4), steps="1", method="gradient")
    before = len(at.get("image"))
    at.session_state["fold_look"] = True
    assert len(run(at).get("image")) == before + 5  # a legend and four maps
    assert "captum" in captions(at)


def test_the_browser_is_not_trusted() -> None:
    picture = base64.b64encode(bytes(range(256)) * 12).decode()
    found = drawn({"picture": picture, "recipe": "x"})
    assert found is not None
    assert found.pixels[:, 0, 0].tolist() == [0, 1, 2]
    assert found.pixels[:, 1, 0].tolist() == [96, 97, 98]
    for sent in (
        None,
        7,
        [],
        {},
        {"picture": 3},
        {"picture": "!"},
        {"picture": picture[:-4]},
        {"picture": picture * 9},
    ):
        assert drawn(sent) is None
    long = drawn({"picture": picture, "recipe": "x" * 10**6})
    assert long is not None
    assert long.recipe == ""
    assert pasted(base64.b64encode(b"abc").decode()) == b"abc"
    for sent in (None, 7, "!", "A" * (2 * MOST)):
        assert pasted(sent) is None


def test_the_frame_is_where_the_crop_is() -> None:
    white = np.full((100, 200, 3), 255, np.uint8)
    with Image.open(io.BytesIO(framed(white, api.picture.Crop(2, 1, 0).box(100, 200)))) as picture:
        seen = np.asarray(picture)
    bright = seen[..., 0] == 255
    assert bright[:50, 150:].all()
    assert bright.sum() == 2500


def test_ready_shapes_are_recognised_by_the_shipped_network() -> None:
    """The pad's promise: a drawing like the training images is named by both branches, in any of the pad's colours."""
    model, card = api.load_checkpoint(ROOT / "checkpoints" / "shapes-dual-bn", torch.device("cpu"))
    values = {name: np.array([int(value[i : i + 2], 16) for i in (1, 3, 5)]) for name, value in COLOURS}
    ground = values[START["ground"]]
    pictures: list[Any] = []
    for shape in ready_shapes():
        bits = np.unpackbits(np.frombuffer(base64.b64decode(shape["bits"]), np.uint8)).reshape(FINE, FINE)
        covered = bits.reshape(SIDE, FINE // SIDE, SIDE, FINE // SIDE).mean((1, 3))[..., None]
        pictures += [covered * front + (1 - covered) * ground for name, front in values.items() if name != "slate"]
    images = torch.from_numpy(np.rint(pictures).transpose(0, 3, 1, 2)).float() / 255
    labels = torch.arange(10).repeat_interleave(len(values) - 1)
    assert [shape["name"] for shape in ready_shapes()] == list(card.classes)
    for branch in api.Branch:
        with torch.no_grad():
            right = api.at(model, api.branch_setting(branch))(images).argmax(1) == labels
        assert int(right.sum()) >= 58, branch  # of 60


def test_a_demo_takes_smaller_pictures_and_fewer_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of the mode in force, by session; the same picture again is no second one."""
    monkeypatch.setattr(source.st, "session_state", {})
    large = png(np.zeros((2001, 2000, 3), np.uint8))
    assert source.opened(large).pixels.shape[2] == 3
    monkeypatch.setenv("DUAL_BN_MODE", "demo")
    monkeypatch.setattr(source.st, "session_state", {})
    with pytest.raises(api.InputError, match="4 million are the limit"):
        source.opened(large)
    for shade in range(9):
        for _ in range(2):
            source.opened(png(np.full((4, 4, 3), shade, np.uint8)))
    with pytest.raises(api.InputError, match="10 pictures within a minute"):
        source.opened(png(np.full((4, 4, 3), 99, np.uint8)))
