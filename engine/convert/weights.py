"""The tensors in a file of weights, from safetensors or from what torch.save wrote; code in it is never run.

Usage::

    weights = read_weights(Path("resnet20.pt"))      # weights.tensors: name -> tensor

Memory stays within a few times the file's size: a file above the limit is refused by its size before it is opened, and
so is an archive that unpacks to more than it takes (a zip bomb). What a pickle names is looked at before it is loaded.
"""

from __future__ import annotations

import io
import pickletools
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from torch import Tensor

from engine.files import sha256
from engine.values import InputError

MAX_BYTES = 1 << 30
"""Largest file that is read unless told otherwise."""
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "ema", "state_dict_ema")
"""Under which of these a checkpoint may keep its network; what lies beside it is left out, and said to be."""
HARMLESS = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
    r"|torch\.\w+Storage|torch\.storage\.(Untyped|Typed)Storage|torch\.nn\.parameter\.Parameter|torch\.Size"
    r"|torch\.serialization\._get_layout|torch\.(b?float|u?int|bool|half|double|long)\w*|torch\.device"
)
"""What a pickle of tensors has to name. Anything else is an object or code."""
SAVE_AGAIN = "save its state dict alone: torch.save(model.state_dict(), ...)"


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Tensors by name as the file has them, its name and SHA-256, and the entries beside the network that were left."""

    tensors: dict[str, Tensor]
    file: str
    sha256: str
    left_out: tuple[str, ...]


def read_weights(path: Path, max_bytes: int = MAX_BYTES) -> Weights:
    """InputError in one sentence where it is not such a file, is damaged or too large, or holds more than tensors."""
    content = _content(path, max_bytes)
    try:
        if content.startswith(b"PK"):
            _check_archive(content, path)
            found = _unpickled(content, path)
        elif path.suffix == ".safetensors":
            found = deserialise(content)
        else:
            _check_names(_pickles(content), path)
            found = _unpickled(content, path)
    except InputError:
        raise
    except SafetensorError as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); fetch or save it again.") from None
    tensors, left_out = _network(found, path)
    return Weights(tensors, path.name, sha256(content), left_out)


def _content(path: Path, max_bytes: int) -> bytes:
    try:
        found = path.stat()  # before opening: a pipe would wait for ever
        if stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path} is a folder; name the file of weights in it.")
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path} is not a file; name a .safetensors, .pt or .pth file.")
        if found.st_size > max_bytes:
            raise InputError(
                f"{path} has {found.st_size / 1e6:,.0f} MB and at most {max_bytes / 1e6:,.0f} are read; raise --max-mb "
                "if it is one network's weights."
            )
        with path.open("rb") as file:
            return file.read(max_bytes)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from None


def _check_archive(content: bytes, path: Path) -> None:
    """torch.save stores its members as they are: one that is compressed, or larger than the file, is refused."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            packed = [m for m in members if m.compress_type != zipfile.ZIP_STORED]
            if packed or sum(m.file_size for m in members) > len(content):
                name = (packed or members)[0].filename
                raise InputError(f"{path} would unpack to more than it is ({name!r}); torch.save does not write that.")
            names = [m.filename for m in members]
            if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
                raise InputError(f"{path} is a TorchScript program; {SAVE_AGAIN}.")
            pickles = [name for name in names if name.endswith("data.pkl")]
            if len(pickles) != 1:
                raise InputError(f"{path} is a zip archive, but not one that torch.save wrote; {SAVE_AGAIN}.")
            _check_names([archive.read(pickles[0])], path)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged ({error}); fetch or save it again.") from None


def _pickles(content: bytes) -> Iterator[bytes]:
    """The pickles that stand one after another at the head of torch.save's older form; raw storages follow."""
    stream = io.BytesIO(content)
    for _ in range(5):
        start = stream.tell()
        for _ in pickletools.genops(stream):
            pass
        yield content[start : stream.tell()]


def _check_names(pickles: Iterator[bytes] | list[bytes], path: Path) -> None:
    try:
        for pickled in pickles:
            for opcode, argument, _ in pickletools.genops(pickled):
                name = str(argument).replace(" ", ".", 1)
                if opcode.name in ("GLOBAL", "INST") and not HARMLESS.fullmatch(name):
                    raise InputError(f"{path} holds more than tensors: it names {name[:80]!r}, not run; {SAVE_AGAIN}.")
                if opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                    raise InputError(f"{path} holds a pickle that may name code, not run; {SAVE_AGAIN}.")
    except InputError:
        raise
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends too soon"
        raise InputError(f"{path} is not a file that torch.save wrote, or not whole ({reason[:100]}).") from None


def _unpickled(content: bytes, path: Path) -> Any:
    """By torch's own reader of tensors, which makes no object and calls no function but those in its list."""
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)  # noqa: TID251 - only here
    except Exception as error:  # a crafted file can make the reader fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as tensors ({reason[:100]}); {SAVE_AGAIN}.") from None


def _network(found: Any, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The one state dict in what was loaded, and the names of the entries beside it."""
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise InputError(f"{path} holds a {type(found).__name__}, not a state dict of named tensors; {SAVE_AGAIN}.")
    inside = [name for name in WRAPPERS if isinstance(found.get(name), Mapping)]
    if inside:
        if len(inside) > 1:
            listed = " and ".join(map(repr, inside[:3]))
            raise InputError(f"{path} holds several networks, {listed}; save one of them alone.")
        tensors, _ = _network(found[inside[0]], path)
        return tensors, tuple(sorted(name for name in found if name != inside[0]))
    tensors: dict[str, Tensor] = {}
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{path}: {name[:80]!r} is a {type(value).__name__}, not a tensor; {SAVE_AGAIN}.")
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise InputError(f"{path}: {name[:80]!r} is no ordinary tensor of numbers; {SAVE_AGAIN}.")
        tensors[name] = value.detach()
    if not tensors:
        raise InputError(f"{path} holds no tensor; {SAVE_AGAIN}.")
    return tensors, ()
