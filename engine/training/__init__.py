"""Training: configuration, one loop for every design and objective, resumable state."""

from engine.training.config import TrainConfig, config_from, load_config
from engine.training.loop import EpochLog, train

__all__ = ["EpochLog", "TrainConfig", "config_from", "load_config", "train"]
