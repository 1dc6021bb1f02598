"""What a network looks at: attribution maps, and on `shapes` how much of them lies on what is known to matter."""

from engine.attribution.methods import METHODS, RESPONSES, BaselineName, Maps, MethodName, attribute
from engine.attribution.shares import Shares, TargetName, bootstrap, explained, shares

__all__ = [
    "METHODS",
    "RESPONSES",
    "BaselineName",
    "Maps",
    "MethodName",
    "Shares",
    "TargetName",
    "attribute",
    "bootstrap",
    "explained",
    "shares",
]
