"""Ringfence keeps a fine-tune narrow: defenses against emergent misalignment, for TRL."""

__version__ = "0.1.0"
