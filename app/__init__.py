"""The explorer: selection -> cached engine call -> picture."""
