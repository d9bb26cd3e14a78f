"""How misaligned, how coherent: answers to suites of prompts, judged, with intervals."""

from ringfence.evaluate.responses import Protocol, evaluate, save
from ringfence.evaluate.summary import Rate, Summary, summarize

__all__ = ["Protocol", "Rate", "Summary", "evaluate", "save", "summarize"]
