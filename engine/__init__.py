"""Dual batch normalization under attack: networks, attacks, statistics and training. `engine.api` is the front door."""

__version__ = "0.1.0"
