"""Images of one's own: what is read is what a plain loop over the files reads, and stray files are named."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine import api
from engine.data import calibration_split, classes_of, evaluation_split, load_data, own
from engine.data.base import checksum
from engine.values import InputError
from tests.convert.public import public, request, write

CLASSES = ("ant", "bee", "cow")
SIZES = ((32, 32), (64, 64), (96, 64), (64, 128))


def picture(index: int, size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 PNG and WebP files of three classes in several sizes, without loss, beside what is not an image."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    for index in range(20):
        place = folder / CLASSES[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        suffix = ("png", "webp")[index % 2]
        picture(index, SIZES[index % 4]).save(place / f"{index:02d}.{suffix}", lossless=True)
    (folder / "ant" / "notes.txt").write_text("not an image")
    (folder / ".hidden").mkdir()
    return folder


def by_hand(folder: Path) -> tuple[list[np.ndarray], list[int]]:
    """Every image in the order of the names, cut and averaged by numpy (all sizes here are multiples of 32)."""
    images, labels = list[np.ndarray](), list[int]()
    for label, name in enumerate(CLASSES):
        for path in sorted((folder / name).glob("*.[pw]*")):
            pixels = np.asarray(Image.open(path).convert("RGB"), dtype=float)
            side = min(pixels.shape[:2])
            top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
            square = pixels[top : top + side, left : left + side]
            images.append(square.reshape(32, side // 32, 32, side // 32, 3).mean((1, 3)).transpose(2, 0, 1))
            labels.append(label)
    return images, labels


def test_a_folder_is_read_as_by_hand_and_split_once(photos: Path) -> None:
    images, labels = by_hand(photos)
    sets = {split: load_data(str(photos), split) for split in ("train", "test")}
    assert (len(sets["train"]), len(sets["test"])) == (16, 4)
    seen: list[int] = []
    for found in sets.values():
        assert (found.classes, found.images.shape[1:]) == (CLASSES, (3, 32, 32))
        assert found.checksum == checksum(found.images, found.labels)
        assert found.note == "Own images: 20 of 3 classes, one in 5 of them held out."
        for pixels, label in zip(found.images, found.labels, strict=True):
            gaps = [float(np.abs(pixels - image).max()) for image in images]
            seen.append(int(np.argmin(gaps)))
            assert min(gaps) <= 1, "rounding in two passes at most"
            assert labels[seen[-1]] == label
    assert sorted(seen) == list(range(20)), "every image once, in one of the splits"
    again = load_data(str(photos), "test", 3)
    assert np.array_equal(again.images, sets["test"].images[:3])
    assert len(load_data(str(photos), "test", 1000, at_most=True)) == 4
    assert (evaluation_split(str(photos)), calibration_split(str(photos))) == ("test", "train")


@pytest.mark.parametrize("first", [True, False], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("side", [32, 64])
def test_an_npz_in_either_order(first: bool, side: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (25, side, side, 3), dtype=np.uint8)
    labels = np.arange(25, dtype=np.int16) % 4
    np.savez(tmp_path / "a.npz", images=images.transpose(0, 3, 1, 2) if first else images, labels=labels)
    parts = [load_data(str(tmp_path / "a.npz"), split) for split in ("train", "test")]
    means = images.reshape(25, 32, side // 32, 32, side // 32, 3).mean((2, 4)).transpose(0, 3, 1, 2)
    found = np.concatenate([part.images for part in parts])
    order = [int(np.argmin(np.abs(means - one).reshape(25, -1).max(1))) for one in found]
    assert sorted(order) == list(range(25))
    assert np.abs(means[order] - found).max() <= 1
    assert np.array_equal(labels[order], np.concatenate([part.labels for part in parts]))
    assert parts[0].classes == ("0", "1", "2", "3")
    assert classes_of(str(tmp_path / "a.npz")) is None


def test_labels_are_counted_as_the_network_counts_them(photos: Path, tmp_path: Path) -> None:
    turned = load_data(str(photos), "train", classes=("cow", "ant", "bee"))
    plain = load_data(str(photos), "train")
    assert [turned.classes[k] for k in turned.labels] == [plain.classes[k] for k in plain.labels]
    assert turned.checksum == checksum(turned.images, turned.labels) != plain.checksum
    assert load_data(str(photos), "train", classes=("x", "y", "z")).classes == CLASSES
    np.savez(tmp_path / "a.npz", images=np.zeros((12, 32, 32, 3), np.uint8), labels=np.arange(12) % 2)
    assert load_data(str(tmp_path / "a.npz"), "train", classes=("x", "y", "z")).classes == ("x", "y", "z")


def test_a_converted_network_is_judged_on_them_and_a_card_is_not_followed_elsewhere(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a.safetensors", public("resnet20-linear-shortcut").state_dict())
    device = api.pick_device("cpu")
    from engine.convert import convert

    with pytest.raises(InputError, match="tells 7 classes apart, not 3"):
        convert(file, tmp_path / "root", request(architecture="resnet20", data=str(photos)))
    np.savez(tmp_path / "seven.npz", images=np.zeros((20, 32, 32, 3), np.uint8), labels=np.arange(20) % 7)
    card = convert(file, tmp_path / "root", request(architecture="resnet20", data=str(tmp_path / "seven.npz")))
    assert card.data["name"] == str(tmp_path / "seven.npz")
    monkeypatch.setenv("DUAL_BN_DATA", str(photos.parent))
    where: dict[str, Any] = {"n": 4, "root": tmp_path / "root"}
    with pytest.raises(InputError, match=r"not in the data folder \(DUAL_BN_DATA\)"):
        api.open_bench("mine", device, **where)
    bench, _ = api.open_bench("mine", device, data=str(tmp_path / "seven.npz"), **where)
    assert len(bench.test) == 4
    assert bench.calibration is not None
    assert len(bench.calibration) == 16
    bench, _ = api.open_bench("mine", device, data_dir=tmp_path, **where)
    assert bench.test.classes == card.classes


@pytest.mark.parametrize(
    "name", ["/etc", "..", "../outside", "link", "gone", "a\0b", "x" * 5000, "photos/../../outside"]
)
def test_a_card_is_followed_only_within_the_data_folder(name: str, photos: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "outside" / "ant").mkdir(parents=True)
    (home / "link").symlink_to(tmp_path / "outside")
    (home / "photos").symlink_to(photos)  # resolved: it leads out as well
    with pytest.raises(InputError, match="not in the data folder") as caught:
        own.locate(name, home, from_card=True)
    assert str(home) not in str(caught.value)
    (home / "inside").mkdir()
    assert own.locate("inside", home, from_card=True) == home / "inside"
    assert own.locate(str(home / "inside"), home, from_card=True) == home / "inside"


def png(change: Callable[[bytes], bytes] = lambda content: content, size: tuple[int, int] = (40, 40)) -> bytes:
    stream = io.BytesIO()
    picture(0, size).save(stream, "PNG")
    return change(stream.getvalue())


def claims(side: int) -> Callable[[bytes], bytes]:
    """A PNG whose header says that it is side x side, with the checksum that belongs to it."""

    def change(content: bytes) -> bytes:
        import zlib

        head = content[12:16] + side.to_bytes(4, "big") * 2 + content[24:29]
        return content[:12] + head + zlib.crc32(head).to_bytes(4, "big") + content[33:]

    return change


def deep() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(stream, "PNG")
    return stream.getvalue()


BAD_IMAGES = {
    "cut": (png(lambda content: content[: len(content) // 2]), "x.png is not a sound PNG"),
    "text": (b"hello", "x.png is not a sound PNG"),
    "empty": (b"", "x.png is not a sound PNG"),
    "gif-in-disguise": (b"GIF89a" + bytes(50), "x.png is not a sound PNG"),
    "80-megapixels": (png(claims(9000)), "x.png has more than 50 million pixels"),
    "16-bit": (deep(), "x.png has more than 8 bits a channel"),
}


@pytest.mark.parametrize(("content", "sentence"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_an_image_that_cannot_be_read_is_named(content: bytes, sentence: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(6):
            (tmp_path / name / f"{index}.png").write_bytes(png())
    (tmp_path / "b" / "x.png").write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        [load_data(str(tmp_path), split) for split in ("train", "test")]
    assert "\n" not in str(caught.value)


def folder_of(tmp_path: Path, *files: str) -> str:
    for name in files:
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(png())
    return str(tmp_path / "d")


def npz(tmp_path: Path, **arrays: Any) -> str:
    sound: dict[str, Any] = {"images": np.zeros((12, 32, 32, 3), np.uint8), "labels": np.arange(12) % 2}
    np.savez(tmp_path / "a.npz", **{k: v for k, v in (sound | arrays).items() if v is not None})
    return str(tmp_path / "a.npz")


def bomb(tmp_path: Path) -> str:
    """Says that it holds 40 GB; its zeros would take 40 MB packed, so only the head is there."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": (13_000_000, 32, 32, 3)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        labels = io.BytesIO()
        np.save(labels, np.zeros(12, int))
        archive.writestr("labels.npy", labels.getvalue())
        archive.writestr("images.npy", stream.getvalue() + bytes(1_000_000))
    return str(tmp_path / "a.npz")


def text_npz(tmp_path: Path) -> str:
    (tmp_path / "a.npz").write_text("no archive")
    return str(tmp_path / "a.npz")


def objects(tmp_path: Path) -> str:
    np.savez(tmp_path / "a.npz", images=np.array([{"a": 1}], dtype=object), labels=np.zeros(1, int))
    return str(tmp_path / "a.npz")


BAD_SETS: dict[str, tuple[Callable[[Path], str], str]] = {
    "nothing": (lambda p: str(p / "no"), "There is no data set"),
    "no-subfolder": (lambda p: folder_of(p, "1.png"), "has 0 images of 0 classes"),
    "one-class": (lambda p: folder_of(p, *(f"a/{i}.png" for i in range(12))), "12 images of 1 classes"),
    "too-few": (lambda p: folder_of(p, "a/1.png", "b/1.png"), "2 images of 2 classes; at least 10"),
    "nested": (lambda p: folder_of(p, "train/a/1.png", "test/a/1.png"), "holds no PNG, JPEG or WebP image; each subf"),
    "npz-text": (text_npz, "is not a sound .npz file"),
    "npz-bomb": (bomb, "'images' would take 39,936,000,000 bytes, more than 1,073,741,824"),
    "npz-objects": (objects, "holds Python objects, which are never unpickled"),
    "npz-no-labels": (lambda p: npz(p, labels=None), "has no array 'labels'"),
    "npz-floats": (lambda p: npz(p, images=np.zeros((12, 32, 32, 3))), "must be uint8 of shape"),
    "npz-grey": (lambda p: npz(p, images=np.zeros((12, 32, 32), np.uint8)), "must be uint8 of shape"),
    "npz-which": (lambda p: npz(p, images=np.zeros((12, 3, 32, 3), np.uint8)), "must be uint8 of shape"),
    "npz-short": (lambda p: npz(p, labels=np.arange(11)), "must be 12 integers"),
    "npz-float-labels": (lambda p: npz(p, labels=np.zeros(12)), "must be 12 integers"),
    "npz-negative": (lambda p: npz(p, labels=-np.arange(12)), "between 0 and 999"),
    "npz-names": (lambda p: npz(p, classes=np.array(["a"])), "'classes' must be different names"),
}


@pytest.mark.parametrize(("make", "sentence"), BAD_SETS.values(), ids=BAD_SETS)
def test_a_set_that_cannot_be_used_is_one_sentence(make: Callable[[Path], str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        load_data(make(tmp_path), "train")
    assert "\n" not in str(caught.value)


def test_limits_and_splits(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="has the splits train and test, not 'held-out'"):
        load_data(str(photos), "held-out")
    with pytest.raises(InputError, match="has 4 test images, 5 were asked for"):
        load_data(str(photos), "test", 5)
    monkeypatch.setattr(own, "MAX_IMAGES", 10)
    with pytest.raises(InputError, match="holds more than 10 images"):
        load_data(str(photos), "train")
    monkeypatch.setattr(own, "MAX_CLASSES", 2)
    with pytest.raises(InputError, match="has 3 subfolders, so many classes; at most 2"):
        load_data(str(photos), "train")
    monkeypatch.undo()
    monkeypatch.setattr(own, "MAX_FILE", 100)
    with pytest.raises(InputError, match=r"is not a file of at most 0 MB"):
        load_data(str(photos), "train")
