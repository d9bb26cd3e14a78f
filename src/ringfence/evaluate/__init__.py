"""Evaluate a model: answers to suites of prompts, judged, as rates with intervals."""

from typing import TYPE_CHECKING

from ringfence.core.lazy import importer
from ringfence.core.rates import Rate

if TYPE_CHECKING:
    from ringfence.evaluate.answers import Protocol, answer
    from ringfence.evaluate.responses import evaluate, judged, save
    from ringfence.evaluate.summary import Summary, summarize

_MODULES = {
    **dict.fromkeys(("Protocol", "answer"), "answers"),
    **dict.fromkeys(("evaluate", "judged", "save"), "responses"),
    **dict.fromkeys(("Summary", "summarize"), "summary"),
}
__all__ = ["Protocol", "Rate", "Summary", "answer", "evaluate", "judged", "save", "summarize"]
__getattr__ = importer(__name__, _MODULES)
