"""Drop rows that repeat an earlier row of the pool, or a prompt of another set.

What counts as an exact and as a near repeat is said in :mod:`ringfence.select.near_duplicates`. Inside the pool whole
conversations are compared and the first stays. Against another set, such as the evaluation's prompts or the fine-tuning
set, what the user says is compared, so that a prompt with another answer is found, too.

Source: our own.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from ringfence.select.base import STEPS, Candidate, Context, Gathered, Step, Table
from ringfence.select.near_duplicates import THRESHOLD, Match, Part, Seen, prompt_file, prompt_texts, seen_in, text_of

EXAMPLES = 20  # repeats that the report names


@STEPS.register("duplicates")
class Duplicates(Step):
    """Sees all rows; about 10 KB of memory a row that stays, much less without ``near``."""

    near: bool = True
    """also take out near-duplicates"""
    threshold: float = Field(THRESHOLD, gt=0, le=1)
    """Jaccard similarity of shingles from which on two texts are near-duplicates"""
    over: Part = "messages"
    """what is compared inside the pool: ``messages`` (all of a conversation), ``prompt`` (what the user says) or
    ``answer`` (what the assistant says)"""
    against: str | None = None
    """a data set or a suite of prompts whose prompts no row may repeat"""

    def check(self) -> None:
        """Raise :class:`RingfenceError` if the other set cannot be read."""
        if self.against is not None:
            prompt_texts(self.against)

    def inputs(self) -> Sequence[str]:
        """The other set: what is kept, and so every later step, depends on it."""
        return [] if self.against is None else [prompt_file(self.against) or self.against]

    def gather(self, table: Table, context: Context) -> Gathered:
        """Keep the first of every group of repeats. The report counts rows by kind, and names the first few."""
        others = None if self.against is None else _Others(self.against, self.threshold, self.near)
        seen = Seen(self.threshold, self.near)
        origins: list[str] = []
        keep: list[int] = []
        counts: Counter[str] = Counter(exact=0, near=0)
        examples: list[str] = []
        for place, row in enumerate(table.candidates()):
            origins.append(row.conversation["origin"])
            kind = None if others is None else others.kind(row)
            if kind is not None:
                repeated = f"a prompt of {self.against}"
            elif match := self._seen(seen, row, place):
                kind, repeated = "exact" if match.exact else "near", origins[match.place]
            else:
                keep.append(place)
                continue
            counts[kind] += 1
            if len(examples) < EXAMPLES:
                examples.append(f"{origins[place]} repeats {repeated} ({kind})")
        if others is not None:
            counts.update(against_exact=0, against_near=0)
        report: dict[str, Any] = {"repeats": dict(counts), "examples": examples}
        return Gathered(np.array(keep, dtype=np.int64), "duplicate", report=report)

    def _seen(self, seen: Seen, row: Candidate, place: int) -> Match | None:
        """What of the rows before it ``row`` repeats; it is remembered."""
        text = text_of(row.conversation["messages"], self.over)
        match = seen.find(text)
        seen.add(text, place, near=match is None)
        return match


class _Others:
    """The prompts of another set."""

    def __init__(self, spec: str, threshold: float, near: bool) -> None:
        self._seen = seen_in(prompt_texts(spec), threshold, near)

    def kind(self, row: Candidate) -> str | None:
        """How ``row`` repeats a prompt; None if it does not."""
        match = self._seen.find(text_of(row.conversation["messages"], "prompt"))
        return None if match is None else "against_exact" if match.exact else "against_near"
