"""One file a defense. Importing this package files them all in ``DEFENSES``."""

from ringfence.defenses.base import DEFENSES, Defense, Interleaving, Setup, parse
from ringfence.defenses.canary_interleaving import CanaryInterleaving
from ringfence.defenses.fixed_interleaving import FixedInterleaving
from ringfence.defenses.replay_interleaving import ReplayInterleaving

__all__ = [
    "DEFENSES",
    "CanaryInterleaving",
    "Defense",
    "FixedInterleaving",
    "Interleaving",
    "ReplayInterleaving",
    "Setup",
    "parse",
]
