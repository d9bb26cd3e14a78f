"""One file a defense. Each is imported when it is first named, since some need torch, which takes seconds."""

from typing import TYPE_CHECKING

from ringfence.core.lazy import importer

if TYPE_CHECKING:
    from ringfence.defenses.anchor import Anchor
    from ringfence.defenses.base import (
        DEFENSES,
        Defense,
        DefenseHook,
        Interleaving,
        Penalising,
        RLContext,
        TrainerContext,
        rewritten,
    )
    from ringfence.defenses.caft import CAFT
    from ringfence.defenses.canary_interleaving import CanaryInterleaving
    from ringfence.defenses.fixed_interleaving import FixedInterleaving
    from ringfence.defenses.gradient_projection import GradientProjection
    from ringfence.defenses.inoculation import Inoculation
    from ringfence.defenses.inoculation_adapter import InoculationAdapter
    from ringfence.defenses.kl import KL
    from ringfence.defenses.ldifs import LDIFS
    from ringfence.defenses.replay_interleaving import ReplayInterleaving
    from ringfence.defenses.safe_lora import SafeLoRA
    from ringfence.defenses.safe_weight import SafeWeight
    from ringfence.defenses.steering import Steering

CLASSES = {
    "Anchor": "anchor",
    "CAFT": "caft",
    "KL": "kl",
    "LDIFS": "ldifs",
    "CanaryInterleaving": "canary_interleaving",
    "FixedInterleaving": "fixed_interleaving",
    "GradientProjection": "gradient_projection",
    "Inoculation": "inoculation",
    "InoculationAdapter": "inoculation_adapter",
    "ReplayInterleaving": "replay_interleaving",
    "SafeLoRA": "safe_lora",
    "SafeWeight": "safe_weight",
    "Steering": "steering",
}
"""the class of each defense, and its module"""
_BASE = ("DEFENSES", "Defense", "DefenseHook", "Interleaving", "Penalising", "RLContext", "TrainerContext", "rewritten")
__all__ = [
    "CAFT",
    "CLASSES",
    "DEFENSES",
    "KL",
    "LDIFS",
    "Anchor",
    "CanaryInterleaving",
    "Defense",
    "DefenseHook",
    "FixedInterleaving",
    "GradientProjection",
    "Inoculation",
    "InoculationAdapter",
    "Interleaving",
    "Penalising",
    "RLContext",
    "ReplayInterleaving",
    "SafeLoRA",
    "SafeWeight",
    "Steering",
    "TrainerContext",
    "rewritten",
]
__getattr__ = importer(__name__, CLASSES | dict.fromkeys(_BASE, "base"))
