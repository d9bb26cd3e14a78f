"""Conversations and prompt sets in, token ids with label masks out."""

from ringfence.data.check import check
from ringfence.data.conversations import read, split
from ringfence.data.render import render, render_all
from ringfence.data.suites.load import Prompt, Suite, load_prompts, load_suite, overlaps, require_disjoint

__all__ = [
    "Prompt",
    "Suite",
    "check",
    "load_prompts",
    "load_suite",
    "overlaps",
    "read",
    "render",
    "render_all",
    "require_disjoint",
    "split",
]
