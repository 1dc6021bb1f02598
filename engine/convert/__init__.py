"""Foreign weights made into a checkpoint of this project: read without running code, every tensor accounted for."""

from engine.convert.make import Request, convert
from engine.convert.weights import MAX_BYTES, Weights, read_weights

__all__ = ["MAX_BYTES", "Request", "Weights", "convert", "read_weights"]
