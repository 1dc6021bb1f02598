"""The graph of a network, recorded while other threads go on computing.

Usage::

    graph = traced(view)      # a torch.fx graph of calls
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import fx, nn
from torch.fx.proxy import TraceError

from engine.values import InputError

_TRACING = threading.Lock()


class _Tracer(fx.Tracer):
    """Traces while other threads go on computing.

    torch.fx replaces `nn.Module.__call__` and `__getattr__` of the whole process while it traces: without this, a
    network that runs in another thread meanwhile would be recorded, or fail.
    """

    def __init__(self) -> None:
        super().__init__()
        self.owner = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self.owner:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self.owner:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def traced(network: nn.Module) -> fx.Graph:
    """Raises InputError for a network that cannot be traced."""
    try:
        with _TRACING:
            return _Tracer().trace(network)
    except (TraceError, RuntimeError) as error:
        raise InputError(f"The network cannot be traced for folding ({error}); use it unfolded.") from None
