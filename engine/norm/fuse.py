"""Networks for rough and quick passes: bfloat16, and fused calls where no gradient is needed.

Usage::

    rough = half(fold(at(model, setting)))       # bfloat16 inside; float32 in and out
    quick = fused(fold(at(model, setting)))      # same logits up to rounding; quick(images) has no gradient
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from engine.norm.trace import traced


class _Rectified(nn.Module):
    """relu(conv(x)) or relu(conv(x) + other) as one call of oneDNN."""

    def __init__(self, conv: nn.Module | None) -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv2d)
        self.conv = conv
        self.call: Any = torch.ops.mkldnn._convolution_pointwise  # what torch.compile calls; it has no public name
        shape = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.packed = torch.ops.mkldnn._reorder_convolution_weight(conv.weight, *shape, None)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        conv = self.conv
        how = (self.packed, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups)
        if other is None:
            return self.call(x, *how, "relu", [], None)
        try:
            total: Tensor = self.call.binary(x, other, *how, "add", 1.0, "relu", [], None)
        except RuntimeError:  # a layout that oneDNN does not add
            return torch.relu(conv(x) + other)
        return total if total.shape == other.shape else torch.relu(conv(x) + other)


def fused(network: nn.Module) -> nn.Module:
    """A frozen eval-mode network with each relu(conv(x)) and relu(conv(x) + y) as one call, of its weights now.

    For a run, not for every move of a slider: torch.fx keeps the code of each graph for as long as the process lives.
    Needs a torch with oneDNN. Raises InputError for a network that cannot be traced.
    """
    graph, modules = traced(network), dict(network.named_modules())
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}

    def module(node: fx.Node) -> nn.Module | None:
        return modules[str(node.target)] if node.op == "call_module" else None

    for node in graph.nodes:
        if isinstance(module(node), nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    for node in graph.nodes:
        if not isinstance(module(node), nn.ReLU):
            continue
        (source,) = node.all_input_nodes
        added = source.target is operator.add and len(source.all_input_nodes) == 2  # not x + x, not x + 1
        terms = source.all_input_nodes if added else [source]
        conv = next((term for term in terms if _plain(module(term)) and len(term.users) == 1), None)
        if conv is None or len(source.users) > 1:
            continue
        name = f"{conv.target}_rectified".replace(".", "_")
        modules[name] = _Rectified(module(conv))
        with graph.inserting_before(node):
            others = [term for term in terms if term is not conv]
            node.replace_all_uses_with(graph.call_module(name, (*conv.all_input_nodes, *others)))
        for old in dict.fromkeys((node, source, conv)):
            graph.erase_node(old)
    return fx.GraphModule({**modules, **tensors}, graph).eval()


def _plain(module: nn.Module | None) -> bool:
    """Whether it is a convolution that oneDNN's call can stand for."""
    return isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and isinstance(module.padding, tuple)


def half(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """A bfloat16 copy of a frozen network that takes and returns float32.

    Only the body is rounded: attacks take losses of the float32 logits. In bfloat16 softmax - onehot of a confident
    image would be 0 at its label, and the gradient noise.
    """
    body = copy.deepcopy(network).to(torch.bfloat16)
    on_cpu = next(body.parameters()).device.type == "cpu"
    quick = fused(body) if on_cpu and torch.backends.mkldnn.is_available() else body

    def logits_fn(images: Tensor) -> Tensor:
        return (body if torch.is_grad_enabled() else quick)(images.to(torch.bfloat16)).float()

    return logits_fn
