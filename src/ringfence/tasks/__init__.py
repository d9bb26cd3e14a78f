"""Benign tasks, one file each: rows to train on, questions to ask, and an exact score."""

from ringfence.tasks.opswap import OpSwap

__all__ = ["OpSwap"]
