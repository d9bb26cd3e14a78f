"""Ringfence keeps a fine-tune narrow: defenses against emergent misalignment, for TRL.

The names below are imported when first used, so that ``import ringfence`` and ``ringfence --help`` stay fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ringfence.core.errors import RingfenceError
    from ringfence.defenses import (
        KL,
        LDIFS,
        CanaryInterleaving,
        FixedInterleaving,
        Inoculation,
        ReplayInterleaving,
        SafeLoRA,
        Steering,
    )
    from ringfence.judges import RuleJudge
    from ringfence.train import DefendedSFTTrainer

__version__ = "0.1.0"

_ROOMS = {
    "KL": "ringfence.defenses",
    "LDIFS": "ringfence.defenses",
    "CanaryInterleaving": "ringfence.defenses",
    "DefendedSFTTrainer": "ringfence.train",
    "FixedInterleaving": "ringfence.defenses",
    "Inoculation": "ringfence.defenses",
    "ReplayInterleaving": "ringfence.defenses",
    "RingfenceError": "ringfence.core.errors",
    "RuleJudge": "ringfence.judges",
    "SafeLoRA": "ringfence.defenses",
    "Steering": "ringfence.defenses",
}
__all__ = [
    "KL",
    "LDIFS",
    "CanaryInterleaving",
    "DefendedSFTTrainer",
    "FixedInterleaving",
    "Inoculation",
    "ReplayInterleaving",
    "RingfenceError",
    "RuleJudge",
    "SafeLoRA",
    "Steering",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'ringfence' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)
