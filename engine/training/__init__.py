"""Training: configuration, one loop for every design and objective, resumable state."""

from engine.training.config import TrainConfig, as_toml, config_from, load_config
from engine.training.loop import EpochLog, train

__all__ = ["EpochLog", "TrainConfig", "as_toml", "config_from", "load_config", "train"]
