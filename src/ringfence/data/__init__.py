"""Conversations and prompt sets in, token ids with label masks out."""

from ringfence.data.check import check
from ringfence.data.conversations import read, split
from ringfence.data.render import render, render_all
from ringfence.data.suites import Prompt, load_prompts, overlaps, require_disjoint

__all__ = ["Prompt", "check", "load_prompts", "overlaps", "read", "render", "render_all", "require_disjoint", "split"]
