"""Ringfence keeps a fine-tune narrow: defenses against emergent misalignment, for TRL.

The names below are imported when first used, so that ``import ringfence`` and ``ringfence --help`` stay fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ringfence.defenses import CanaryInterleaving, FixedInterleaving, ReplayInterleaving
    from ringfence.judges import RuleJudge
    from ringfence.train import DefendedSFTTrainer

__version__ = "0.1.0"

__all__ = ["CanaryInterleaving", "DefendedSFTTrainer", "FixedInterleaving", "ReplayInterleaving", "RuleJudge"]

_ROOMS = {"DefendedSFTTrainer": "ringfence.train", "RuleJudge": "ringfence.judges"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ringfence' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS.get(name, "ringfence.defenses")), name)
