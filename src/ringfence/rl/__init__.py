"""Reinforcement learning: GRPO with defenses, and its rewards. What needs torch is imported when first named."""

from typing import TYPE_CHECKING

from ringfence.core.lazy import importer

if TYPE_CHECKING:
    from ringfence.rl.grpo import DefendedGRPOTrainer

_MODULES = {"DefendedGRPOTrainer": "grpo"}
__all__ = ["DefendedGRPOTrainer"]
__getattr__ = importer(__name__, _MODULES)
