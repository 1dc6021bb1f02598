"""Training in several processes that act as one: each takes its slice of every batch, and all make the same update.

Usage::

    with processes(device) as device:          # under torchrun; otherwise nothing happens
        world = here()                         # World(rank=1, size=4)
        module = world.together(views, model)  # in DistributedDataParallel, NS over all processes' images

Random numbers are drawn for the whole batch, so that the images, the noise and their order are those of one process.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from engine.norm import dual_layers
from engine.values import InputError


@dataclass(frozen=True, slots=True)
class World:
    """Which of how many processes this is; rank 0 writes the files."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def own(self, n: int) -> slice:
        """This process's part of a batch of n. InputError where n does not divide."""
        if n % self.size:
            raise InputError(
                f"A batch of {n} images does not divide by {self.size} processes; "
                "change batch_size, or torchrun's --nproc-per-node."
            )
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def skip(self, generator: torch.Generator, images: Tensor) -> torch.Generator:
        """The generator after the uniform numbers of the images (n, c, h, w) that earlier processes hold."""
        if self.rank:
            torch.rand((self.rank * len(images), *images.shape[1:]), generator=generator)
        return generator

    def mean(self, *values: float) -> tuple[float, ...]:
        """Each value's mean over the processes, the same number in all of them."""
        if self.size == 1:
            return values
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        total = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return tuple((total / self.size).tolist())

    def sync(self, model: nn.Module) -> None:
        """From now on the NS of each branch of `model` are those of all processes' images; before views are made."""
        if self.size > 1:
            for _, layer in dual_layers(model):
                layer.synced = True

    def together(self, module: nn.Module, partly: bool) -> nn.Module:
        """The module with gradients averaged over the processes; partly: a step may leave some parameters out."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module, forward_sync_buffers=False, find_unused_parameters=partly)


def here() -> World:
    """This process among those that `processes` joined."""
    return World(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else World()


@contextmanager
def processes(device: torch.device) -> Generator[torch.device]:
    """Joins the processes that torchrun started, and leaves them; yields this one's device. Alone: nothing happens."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        raise InputError(f"The processes cannot meet ({error}); start them with torchrun.") from None
    try:
        yield device
    finally:
        dist.destroy_process_group()
