"""One file a defense. Importing this package files them all in ``DEFENSES``."""

from ringfence.defenses.base import DEFENSES, Defense, Guard, Interleaving, Setup, parse, rewritten
from ringfence.defenses.canary_interleaving import CanaryInterleaving
from ringfence.defenses.fixed_interleaving import FixedInterleaving
from ringfence.defenses.inoculation import Inoculation
from ringfence.defenses.kl import KL
from ringfence.defenses.ldifs import LDIFS
from ringfence.defenses.replay_interleaving import ReplayInterleaving
from ringfence.defenses.safe_lora import SafeLoRA
from ringfence.defenses.steering import Steering

__all__ = [
    "DEFENSES",
    "KL",
    "LDIFS",
    "CanaryInterleaving",
    "Defense",
    "FixedInterleaving",
    "Guard",
    "Inoculation",
    "Interleaving",
    "ReplayInterleaving",
    "SafeLoRA",
    "Setup",
    "Steering",
    "parse",
    "rewritten",
]
