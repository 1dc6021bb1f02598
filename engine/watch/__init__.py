"""One attack looked at closely: step by step, around its image, and from setting to setting."""

from engine.watch.film import Film, film, spectrum
from engine.watch.surface import Surface, surface
from engine.watch.transfer import Transfer, transfer

__all__ = ["Film", "Surface", "Transfer", "film", "spectrum", "surface", "transfer"]
