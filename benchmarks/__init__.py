"""Measurements of speed, against other libraries where there are any; results.md keeps them."""
