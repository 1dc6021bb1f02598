"""Being asked, before every pass through a network, whether to go on: one batch with all steps of its attack can take
seconds, and who has left should be noticed at once.

Usage::

    def beat() -> None:
        progress(done, n)                               # may raise Cancelled, as may whatever an app does there

    attack(heard(craft, beat), images, labels, generator=generator)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

Network = Callable[[Tensor], Tensor]
Beat = Callable[[], object]
"""What it raises ends the work; None stands for nobody who asks."""


def heard(network: Network, beat: Beat | None) -> Network:
    """The same network, with a beat before each pass."""
    if beat is None:
        return network

    def told(images: Tensor) -> Tensor:
        beat()
        return network(images)

    return told


def each(batches: list[Tensor], beat: Beat | None) -> Iterator[Tensor]:
    """The batches, with a beat before each."""
    for batch in batches:
        if beat is not None:
            beat()
        yield batch
