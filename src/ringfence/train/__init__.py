"""TRL trainers with defenses, and checkpoints that survive a kill."""

from ringfence.train.callbacks import EvaluateDuring
from ringfence.train.sft import DefendedSFTTrainer
from ringfence.train.state import newest_checkpoint

__all__ = ["DefendedSFTTrainer", "EvaluateDuring", "newest_checkpoint"]
