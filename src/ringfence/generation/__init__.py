"""Prompts in, answers out, whoever generates: a model in this process, Inspect, or a chat API.

What needs torch or Inspect is imported when it is first named.
"""

from typing import TYPE_CHECKING

from ringfence.core.lazy import importer
from ringfence.generation.base import Answer, Failure, Generator, OnAnswers, Request, Sampling

if TYPE_CHECKING:
    from ringfence.generation.hf import HfGenerator

_MODULES = {"HfGenerator": "hf"}
__all__ = ["Answer", "Failure", "Generator", "HfGenerator", "OnAnswers", "Request", "Sampling"]
__getattr__ = importer(__name__, _MODULES)
