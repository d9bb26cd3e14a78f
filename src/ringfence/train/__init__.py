"""Trainers with defenses, and checkpoints that survive a kill. Imported when first named, since they need torch."""

from typing import TYPE_CHECKING

from ringfence.core.lazy import importer

if TYPE_CHECKING:
    from ringfence.train.callbacks import EvaluateDuring
    from ringfence.train.mixin import DefendedTrainerMixin
    from ringfence.train.plain import DefendedTrainer
    from ringfence.train.sft import DefendedSFTTrainer
    from ringfence.train.state import newest_checkpoint

_MODULES = {
    "DefendedSFTTrainer": "sft",
    "DefendedTrainer": "plain",
    "DefendedTrainerMixin": "mixin",
    "EvaluateDuring": "callbacks",
    "newest_checkpoint": "state",
}
__all__ = ["DefendedSFTTrainer", "DefendedTrainer", "DefendedTrainerMixin", "EvaluateDuring", "newest_checkpoint"]
__getattr__ = importer(__name__, _MODULES)
