"""The images beside a curve and the layer gaps along it: what they hold, and that damaged files are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from engine.evaluation import seeded
from engine.features import layer_gaps
from engine.gaps import Track, load_tracks, make_track, save_tracks
from engine.strip import Strip, load_strips, make_strip, save_strips
from engine.sweep import LINES, pgd
from engine.values import Cancelled, InputError
from tests.support import linear_bench, snapshot

BENCH = linear_bench(n=40, n_calibration=20)
EPS, LAMS, INDICES = 0.02, (0.0, 0.5, 1.0), (3, 0, 17)
ATTACK = pgd(3, EPS)
LINE = LINES["ap@stored:1"]


def strip(**changes: Any) -> Strip:
    return make_strip(BENCH, LINE, LAMS, ATTACK, INDICES, seed=0, **changes)


def same(a: Strip, b: Strip) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Strip))


def test_a_strip_is_the_attack_at_every_stop() -> None:
    before = snapshot(BENCH.model)
    made = strip()
    assert snapshot(BENCH.model) == before
    assert made.deltas.shape == (3, 3, 3, 6, 6)
    assert np.array_equal(made.indices, INDICES)
    assert made.lams.tolist() == list(LAMS)
    original = BENCH.test.images[list(INDICES)].astype(np.int64)
    attacked = original + made.deltas  # (stops, images, channels, height, width)
    assert 1 <= np.abs(made.deltas).max() <= round(EPS * 255)
    assert attacked.min() >= 0
    assert attacked.max() <= 255
    labels = BENCH.test.labels[list(INDICES)]
    for stop, lam in enumerate(LAMS):
        of_label: list[npt.NDArray[np.float32]] = []
        view = BENCH.view(LINE(lam))
        for images, classes, confidence in (
            (original, made.clean_class, made.clean_confidence),
            (attacked[stop], made.adv_class, made.adv_confidence),
        ):
            probabilities = view(torch.from_numpy(images / 255).float()).softmax(1).detach().numpy()
            assert np.array_equal(classes[stop], probabilities.argmax(1))
            assert confidence[stop] == pytest.approx(probabilities.max(1), abs=0.05)  # deltas are rounded to levels
            of_label.append(probabilities[np.arange(3), labels])
        assert np.all(of_label[1] < of_label[0])


def test_images_are_attacked_through_all_steps() -> None:
    """Left alone at first success, an image would have no margin where another stop judges it."""
    images = torch.from_numpy(BENCH.test.images[list(INDICES)]).float() / 255
    labels = torch.from_numpy(BENCH.test.labels[list(INDICES)])
    view = BENCH.view(LINE(0.0))
    full = pgd(3, EPS)
    assert full.stop == "success"
    stopped = full(view, images, labels, generator=seeded(0, 0))
    assert np.abs(strip().deltas[0]).sum() > ((stopped - images) * 255).round().abs().sum()


def track(**changes: Any) -> Track:
    return make_track(BENCH, LINE, LAMS, ATTACK, 20, 0, **changes)


def test_a_track_is_the_gap_at_every_stop() -> None:
    made = track()
    assert (made.lams, made.n, made.seed, made.layers) == (LAMS, 20, 0, ("bn",))
    assert made.attack == ATTACK.label
    images, labels = BENCH.test.tensors(0, 20)
    full = pgd(3, EPS)
    view = BENCH.view(LINE(0.5))
    attacked = type(full)(full.threat, full.steps, full.step_size)(view, images, labels, generator=seeded(0, 0))
    (expected,) = layer_gaps(view, [images], [attacked])
    (found,) = made.gaps[1]
    assert (found.mean, found.sigma) == pytest.approx((expected.mean, expected.sigma), rel=1e-4)
    assert (found.w1_mean, found.w1_sigma) == pytest.approx((expected.w1_mean, expected.w1_sigma), rel=1e-4)
    assert found.mean > 0.01


@pytest.mark.parametrize("make", [strip, track])
def test_progress_can_cancel(make: Callable[..., object]) -> None:
    calls: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        make(progress=stop)
    assert [call for call in dict.fromkeys(calls) if call[0]] == [(1, 3), (2, 3)]
    assert calls.count((2, 3)) == 1


def test_a_strip_can_be_stopped_before_every_step_of_an_attack() -> None:
    done: list[int] = []
    strip(progress=lambda step, _: done.append(step))
    assert done == sorted(done)
    assert min(done.count(stop) for stop in (0, 1, 2)) >= ATTACK.steps


def test_a_line_that_does_not_move_is_computed_once() -> None:
    done: list[int] = []
    made = make_strip(BENCH, lambda _: LINE(0.5), LAMS, ATTACK, INDICES, 0, lambda step, _: done.append(step))
    gaps = make_track(BENCH, lambda _: LINE(0.5), LAMS, ATTACK, 20, 0).gaps
    assert done.count(1) == 1
    assert set(done) == {0, 1}
    assert np.array_equal(made.deltas, np.stack([strip().deltas[1]] * 3))
    assert gaps == (track().gaps[1],) * 3


def test_strips_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "strip.npz"
    strips = {"ap@stored:1|PGD-3 at 8/255": strip(), "ap@clean|FGSM": strip()}
    save_strips(path, "ab", strips)
    loaded = load_strips(path, "ab")
    assert list(loaded) == list(strips)
    assert all(same(loaded[key], strips[key]) for key in strips)
    assert loaded["ap@clean|FGSM"].deltas.dtype == np.int8


def test_tracks_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "gaps.json"
    save_tracks(path, "ab", {"ap@clean": track()})
    assert load_tracks(path, "ab") == {"ap@clean": track()}


SAVED: dict[str, tuple[Callable[[Path], None], Callable[[Path, str], object]]] = {
    "strip": (lambda path: save_strips(path, "ab", {"line|attack": strip()}), load_strips),
    "track": (lambda path: save_tracks(path, "ab", {"line": track()}), load_tracks),
}
saved = pytest.mark.parametrize(("write", "read"), SAVED.values(), ids=SAVED)


@saved
def test_other_weights_are_refused(
    tmp_path: Path, write: Callable[[Path], None], read: Callable[[Path, str], object]
) -> None:
    write(tmp_path / "file")
    with pytest.raises(InputError, match="made with other weights; delete it"):
        read(tmp_path / "file", "cd")


@saved
def test_damage_is_one_sentence(
    tmp_path: Path, write: Callable[[Path], None], read: Callable[[Path, str], object]
) -> None:
    """Cut short anywhere, or a byte changed: refused, or (in bytes that nobody reads) still the same."""
    path = tmp_path / "file"
    write(path)
    content, whole = path.read_bytes(), read(path, "ab")
    sentences: list[str] = []
    damaged = [content[: len(content) * i // 20] for i in range(20)]
    damaged += [content[:i] + bytes([content[i] ^ 0xFF]) + content[i + 1 :] for i in range(0, len(content), 37)]
    for data in damaged:
        path.write_bytes(data)
        try:
            read(path, "ab")
        except InputError as error:
            sentences.append(str(error))
    assert all(str(path) in sentence for sentence in sentences)
    assert len(sentences) > 0.6 * len(damaged)
    path.write_bytes(content)
    assert type(read(path, "ab")) is type(whole)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"weights_sha256": "ab", "tracks": []}', b"null"], ids=str)
def test_json_of_another_form_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "gaps.json").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        load_tracks(tmp_path / "gaps.json", "ab")


def test_a_strip_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"weights_sha256": np.array("ab"), "line|attack|deltas": np.zeros(3)}
    np.savez(tmp_path / "strip.npz", **arrays)
    with pytest.raises(InputError, match="cannot be read"):
        load_strips(tmp_path / "strip.npz", "ab")


def test_a_pickle_in_a_strip_is_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "strip.npz", weights_sha256=np.array({"an": "object"}, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        load_strips(tmp_path / "strip.npz", "ab")
