"""Ringfence keeps a fine-tune narrow: defenses against emergent misalignment, for TRL.

The names below are imported when first used, so that ``import ringfence`` and ``ringfence --help`` stay fast.
"""

from typing import TYPE_CHECKING

from ringfence.core.lazy import importer
from ringfence.defenses import CLASSES

if TYPE_CHECKING:
    from ringfence.core.errors import RingfenceError as RingfenceError
    from ringfence.defenses import *  # noqa: F403
    from ringfence.judges import RuleJudge as RuleJudge
    from ringfence.rl import DefendedGRPOTrainer as DefendedGRPOTrainer
    from ringfence.train import DefendedSFTTrainer as DefendedSFTTrainer
    from ringfence.train import DefendedTrainer as DefendedTrainer

__version__ = "0.1.0"

_MODULES = {
    "DefendedGRPOTrainer": "rl",
    "DefendedSFTTrainer": "train",
    "DefendedTrainer": "train",
    "RingfenceError": "core.errors",
    "RuleJudge": "judges",
}
_MODULES |= dict.fromkeys(CLASSES, "defenses")
__all__ = list(_MODULES)
__getattr__ = importer(__name__, _MODULES)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
