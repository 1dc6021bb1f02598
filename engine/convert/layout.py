"""Whose names the tensors have: tables of key patterns, and the tensor of each of our names found by them.

Usage::

    found = assigned(weights.tensors, network, adv_branch=None, file="resnet20.pt")
    found.clean["blocks.3.conv1.weight"], found.adv["bn.weight"]

The tables are all there is to extend: a code base with other names is a row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from engine.models import InputNorm
from engine.values import Branch, InputError

PREFIX = re.compile(r"^(?:module|model|_orig_mod|net|network|backbone|encoder)\.")
"""What wrappers put before every name, any number of them."""

_BLOCK = (
    r"(?:(?:layer|stage_?|block|group)(?P<stage>[1-4])(?:\.layer)?|(?:layers|stages)\.(?P<stage0>[0-3])"
    r"(?:\.blocks)?)\.(?P<index>\d+)\."
)
LAYOUT: tuple[tuple[str, str], ...] = (
    (r"conv1|conv|conv_stem|stem\.0|stem\.conv|init_conv", "conv"),
    (r"bn1|bn|stem\.1|stem\.bn|norm1", "bn"),
    (_BLOCK + r"(?P<part>(?:conv|bn)[12])", "{block}.{part}"),
    (_BLOCK + r"(?:downsample|shortcut|skip)\.(?P<part>[01])", "{block}.shortcut.{part}"),
    (_BLOCK + r"(?:convShortcut|conv_shortcut|shortcut)", "{block}.shortcut"),
    (r"fc|linear|classifier|last_linear|output|head\.fc", "head"),
    (r"normalizer|normalise|norm_layer|norm", "normalize"),
)
"""Their module's path -> ours. The stage (from 1; stage0 from 0) and the index in it give the number of our block."""

MARKS: tuple[tuple[str, str], ...] = (
    (
        r"\.aux_bn(?:\.0)?(?=\.)",
        "second",
    ),  # AdvProp's MixBatchNorm2d, timm's SplitBatchNorm2d: the main one is unmarked
    (r"(?:(?<=\.)|^)aux_(?=bn\d)", "second"),
    (r"\.main_bn(?=\.)", "first"),
    (r"\.(?:BN_c|bn_c|BN_clean|bn_clean)(?=\.)", "first"),
    (r"\.(?:BN_a|bn_a|BN_adv|bn_adv)(?=\.)", "second"),
    (r"\.(?:bn_list|bns)\.0(?=\.)", "0"),
    (r"\.(?:bn_list|bns)\.1(?=\.)", "1"),
)
"""What tells two norms in one place apart: the first is the clean one by its name, the second the adversarial one; of
two that are only counted a person has to say which is which."""


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """Tensors by our plain network's names, for each branch (the same where the file has one); `how` says it in words.

    `two`: the file has two sets of norms. `normalize`: constants of the input, if it has those.
    """

    clean: dict[str, Tensor]
    adv: dict[str, Tensor]
    two: bool
    how: str
    normalize: dict[str, Tensor]


def our_name(key: str, n_blocks: int | None, known: Mapping[str, Tensor]) -> str | None:
    """Our name of one of their tensors (marks and prefixes taken off), or None: the same, or by a row of LAYOUT."""
    if key in known:
        return key
    path, _, leaf = key.rpartition(".")
    for pattern, ours in LAYOUT:
        match = re.fullmatch(pattern, path)
        if match is None:
            continue
        groups = match.groupdict()
        if "index" in groups:
            stage, index = int(groups["stage"] or int(groups["stage0"]) + 1) - 1, int(groups["index"])
            if n_blocks is None or index >= n_blocks:
                continue
            groups["block"] = f"blocks.{stage * n_blocks + index}"
        name = f"{ours.format(**groups)}.{leaf}"
        if name in known:
            return name
    return None


def plain_name(key: str, n_blocks: int | None) -> str:
    """How plain PyTorch code would call one of our tensors: blocks.3.conv1.weight is layer2.0.conv1.weight."""
    match = re.match(r"blocks\.(\d+)\.(.*)", key)
    if match is None or n_blocks is None:
        return re.sub(r"^(conv|bn)\.", r"\g<1>1.", re.sub(r"^head\.", "fc.", key))
    stage, index = divmod(int(match[1]), n_blocks)
    return f"layer{stage + 1}.{index}.{match[2].replace('shortcut', 'downsample')}"


def input_layers(network: nn.Module) -> tuple[str, ...]:
    """What the names of the constants of the input begin with."""
    return tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, InputNorm))


def head_name(network: nn.Module) -> str | None:
    """Our name of the last linear layer's weight, whose rows are the classes."""
    heads = [name for name, module in network.named_modules() if type(module) is nn.Linear]
    return f"{heads[-1]}.weight" if heads else None


def sorted_out(tensors: Mapping[str, Tensor], network: nn.Module, file: str) -> dict[tuple[str, str], str]:
    """(our name, mark) -> their name, for every tensor. InputError names one that has no place, or two for one."""
    known, n_blocks = network.state_dict(), getattr(network, "n_blocks", None)
    found: dict[tuple[str, str], str] = {}
    for key in tensors:
        bare, mark = key, ""
        name = key if key in known else None
        for pattern, meaning in MARKS if name is None else ():
            bare, times = re.subn(pattern, "", bare)
            if times:
                mark = meaning
                break
        while name is None:
            name = our_name(bare, n_blocks, known)
            if name is None and not PREFIX.match(bare):
                break
            bare = PREFIX.sub("", bare)
        if name is None:
            if bare.endswith("num_batches_tracked"):  # a counter that no evaluation uses
                continue
            raise InputError(
                f"{file} has a tensor {key[:100]!r} that the architecture has no place for; try another --arch."
            )
        if (name, mark) in found:
            raise InputError(f"{file} has two tensors for one place, {found[name, mark]!r} and {key!r}; keep one.")
        found[name, mark] = key
    return found


def assigned(tensors: Mapping[str, Tensor], network: nn.Module, adv_branch: int | None, file: str) -> Assigned:
    """Every tensor of the file in its place, of the right shape and finite; InputError names the first that is not.

    adv_branch: which of two sets of norms, 0 or 1, is the adversarial one; None where their names say so.
    """
    found = sorted_out(tensors, network, file)
    marks = {mark for _, mark in found} - {""}
    counted, named = marks & {"0", "1"}, marks & {"first", "second"}
    if counted and named:
        raise InputError(f"{file} tells its norms apart in two ways ({', '.join(sorted(marks))}); save it in one.")
    if counted and adv_branch is None:
        raise InputError(
            f"{file} only counts its two sets of norms, 0 and 1, and code bases differ in what they mean; add "
            "--adv-branch 1 if 1 is the adversarial one (the usual order), or --adv-branch 0."
        )
    if adv_branch is not None and not marks:
        raise InputError(f"{file} has one set of norms, so there is nothing for --adv-branch to choose; leave it out.")
    second = 1 if adv_branch is None else adv_branch
    slots = {Branch.CLEAN: 1 - second, Branch.ADV: second}
    labels = (("0", "1") if counted else ("first", "second")) if marks else ("", "")
    picked = {b: _branch(tensors, network, found, labels[slots[b]], bool(marks), file) for b in Branch}
    if not marks:
        how = "one network, with which both branches begin"
    elif counted:
        how = f"two sets of norms; {second} is the adversarial branch, as was said by --adv-branch"
    else:
        how = f"two sets of norms; the {'auxiliary' if second else 'main'} one is the adversarial branch" + (
            ", by its name" if adv_branch is None else ", as was said by --adv-branch"
        )
    constants = {n: tensors[key] for (n, _), key in found.items() if n.startswith(input_layers(network))}
    return Assigned(picked[Branch.CLEAN], picked[Branch.ADV], bool(marks), how, constants)


def _branch(
    tensors: Mapping[str, Tensor],
    network: nn.Module,
    found: Mapping[tuple[str, str], str],
    mark: str,
    two: bool,
    file: str,
) -> dict[str, Tensor]:
    """One branch's tensors by our names; of two sets of norms the unmarked one is the first."""
    norms = tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d))
    picked: dict[str, Tensor] = {}
    for name, expected in network.state_dict().items():
        if name.startswith(input_layers(network)) or name.endswith("num_batches_tracked"):
            continue
        plain = not (two and name.startswith(norms))
        options = [""] if plain else [mark, ""] if mark == "first" else [mark]
        keys = [found[name, option] for option in options if (name, option) in found]
        if len(keys) != 1:
            called = plain_name(name, getattr(network, "n_blocks", None))
            if keys:
                raise InputError(f"{file} has two tensors for one place, {keys[0]!r} and {keys[1]!r}; keep one.")
            which = "" if plain else f" of the {'clean or main' if mark in ('first', '0') else 'other'} set of norms"
            raise InputError(
                f"{file} lacks the tensor {called!r}{which}, which the architecture needs; try another --arch."
            )
        picked[name] = _checked(tensors[keys[0]], keys[0], expected, file)
    stray = [key for (name, option), key in found.items() if option and not name.startswith(norms)]
    if stray:
        raise InputError(
            f"{file} marks {stray[0]!r} as one of two, but it is no batch norm; only norms can come in two."
        )
    return picked


def _checked(tensor: Tensor, key: str, expected: Tensor, file: str) -> Tensor:
    """The tensor as float32 (or as the network has it, if that holds whole numbers)."""
    if tensor.shape != expected.shape:
        shapes = f"{[*tensor.shape]} where the architecture needs {[*expected.shape]}"
        raise InputError(f"{file}: tensor {key!r} has the shape {shapes}; try another --arch or number of classes.")
    if tensor.is_floating_point() != expected.is_floating_point() or tensor.is_complex():
        raise InputError(f"{file}: tensor {key!r} holds {tensor.dtype}, which is not what a weight is.")
    tensor = tensor.to(expected.dtype)
    if not bool(tensor.isfinite().all()):
        raise InputError(f"{file}: tensor {key!r} holds NaN or infinity; this network is broken.")
    if key.endswith("running_var") and bool((tensor < 0).any()):
        raise InputError(f"{file}: tensor {key!r} holds a variance below 0; this network is broken.")
    return tensor.contiguous()
