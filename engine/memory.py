"""Going on with fewer images at a time where memory runs out.

Usage::

    room = Room()
    logits = room.fit(len(images), lambda limit: in_pieces(network, limit)(images))

Only the passes through the network get smaller. An attack still sees its whole batch and draws the same random numbers,
so that the result is the same but for rounding, where a device computes small batches by another algorithm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from engine.values import InputError

Result = TypeVar("Result")
Network = Callable[[Tensor], Tensor]
LOG = logging.getLogger(__name__)
CPU_SAYS = ("can't allocate memory", "not enough memory")
"""Of what the CPU's allocator raises, which has no type of its own."""


def out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in CPU_SAYS)


def in_pieces(network: Network, limit: int | None) -> Network:
    """The same network, which passes at most `limit` images at a time; None: all at once.

    Where a gradient is wanted, activations are not kept but computed again piece by piece (gradient checkpointing, Chen
    et al. 2016, arXiv 1604.06174): a third more work, and only one piece in memory.
    """
    if limit is None:
        return network

    def pieces(images: Tensor) -> Tensor:
        if len(images) <= limit:
            return network(images)
        if not (torch.is_grad_enabled() and images.requires_grad):
            return torch.cat([network(piece) for piece in images.split(limit)])
        again = [checkpoint(network, p, use_reentrant=False, preserve_rng_state=False) for p in images.split(limit)]
        return torch.cat(again)  # pyright: ignore[reportArgumentType]

    return pieces


@dataclass(slots=True)
class Room:
    """How many images fit at a time; None as long as nothing was too much."""

    limit: int | None = None

    def fit(self, n: int, work: Callable[[int | None], Result]) -> Result:
        """What `work` returns for n images, called with the limit to keep to, halved until it fits.

        InputError where not even one image does. `work` begins anew each time, random numbers too.
        """
        while True:
            try:
                return work(self.limit)
            except (RuntimeError, MemoryError) as error:
                if not isinstance(error, MemoryError) and not out_of_memory(error):
                    raise
            # Outside of `except`, whose traceback would hold on to what is to be freed.
            limit = n if self.limit is None else min(n, self.limit)
            if limit <= 1:
                raise InputError(
                    "There is not enough memory for a single image; close other programs, or use --device."
                )
            self.limit = (limit + 1) // 2
            LOG.warning("Memory ran out; going on with %d images at a time.", self.limit)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
