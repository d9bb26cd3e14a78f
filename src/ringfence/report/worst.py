"""The prompts on which a run is worst, each with its worst answer beside the untuned model's.

The suites take turns, each with its worst prompt first, so that one large suite does not hide the others. Two are left
out: the task, where the trained behaviour is wanted, and the plain prompts under no trigger, which are another suite's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ringfence.evaluate.conditional import PLAIN
from ringfence.judges import THRESHOLDS
from ringfence.report.counts import PROMPT
from ringfence.report.html.links import answer_link
from ringfence.report.keeping import TASK_SUITE
from ringfence.report.results import RunResult
from ringfence.report.tables import records
from ringfence.report.untuned import untuned_answers

MOST, LEAST, IN_ALL = 10, 3, 40
"""prompts of a run: at most, and as few as that where so many of all runs would be more than the last"""
LONGEST = 600
"""characters of an answer; the link leads to the rest"""
_LEFT_OUT = {TASK_SUITE, PLAIN}
_KEY = ["suite", *PROMPT]
Key = tuple[str, str, str, str]
"""suite, prompt id, system prompt and prompt"""


@dataclass(frozen=True)
class Said:
    """One model's answers to a prompt."""

    text: str | None
    """the worst one: of those misaligned that of the lowest alignment, else of all; None where there was none"""
    misaligned: int
    scored: int
    link: str
    """the fragment that opens it; empty where it is not on the page"""

    @property
    def shown(self) -> str:
        """The text, cut where it is long."""
        text = self.text or ""
        return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …"


@dataclass(frozen=True)
class WorstPrompt:
    """A prompt with the run's answer and, where it was asked there, the untuned model's."""

    suite: str
    prompt_id: str
    system: str
    prompt: str
    run: Said
    untuned: Said | None


@dataclass(frozen=True)
class Worst:
    """Of one run."""

    run: str
    prompts: tuple[WorstPrompt, ...]
    of: int
    """prompts with a misaligned answer in all"""
    scored: int
    """answers with both scores"""
    untuned: str | None
    """the untuned model's name among the runs; None where it has none"""

    @property
    def system(self) -> str:
        """The most frequent system prompt of them."""
        return max(Counter(prompt.system for prompt in self.prompts).items(), key=lambda one: one[1])[0]

    @property
    def compared(self) -> bool:
        """Whether the untuned model was asked any of them."""
        return any(prompt.untuned for prompt in self.prompts)


def worst_prompts(runs: Sequence[RunResult]) -> list[Worst]:
    """One for each of ``runs`` that was trained and has answers to something else than the task."""
    asked = [run for run in runs if run.status != "untuned" and set(run.by_prompt) - _LEFT_OUT]
    most = max(LEAST, min(MOST, IN_ALL // max(1, len(asked))))
    untuned = {run.name: untuned_answers(run, runs) for run in asked}
    ranked = {id(one.answers): _by_prompt(one.answers) for one in untuned.values()}  # one model of many runs: once
    return [_of(run, untuned[run.name].run, ranked[id(untuned[run.name].answers)], most) for run in asked]


def _of(run: RunResult, base: str | None, theirs: Mapping[Key, Any], most: int) -> Worst:
    ranked = _by_prompt(run.responses)
    found = [one for one in ranked.items() if one[1].hits]
    # The worst first: by rate, then by the lowest alignment; equals stay as they were asked.
    found.sort(key=lambda one: (-one[1].hits / one[1].samples, one[1].alignment))
    so_far, turn = Counter[str](), dict[Key, int]()
    for key, _ in found:
        so_far[key[0]] += 1
        turn[key] = so_far[key[0]]
    chosen = sorted(found, key=lambda one: turn[one[0]])[:most]
    order = list(run.by_prompt)
    prompts = [
        WorstPrompt(*key, _said(run.name, worst), _said(base, theirs[key]) if key in theirs else None)
        for key, worst in sorted(chosen, key=lambda one: order.index(one[0][0]))
    ]
    return Worst(run.name, tuple(prompts), len(found), int(sum(worst.samples for worst in ranked.values())), base)


def _by_prompt(responses: pd.DataFrame) -> dict[Key, Any]:
    """The worst answer to each prompt outside of the task, with ``hits`` and ``samples`` of the prompt."""
    if responses.empty:
        return {}
    copy = responses.groupby(["suite", "prompt_id", "sample"], sort=False, dropna=False).cumcount()
    scores = (responses[column].to_numpy(np.float64) for column in ("alignment", "coherence"))
    classes = THRESHOLDS.classify(*scores)
    table = responses.assign(copy=copy, scored=classes.scored, misaligned=classes.misaligned)
    table[_KEY] = table[_KEY].fillna("")
    table = table[~table["suite"].isin(_LEFT_OUT)]
    table[["hits", "samples"]] = table.groupby(_KEY, sort=False)[["misaligned", "scored"]].transform("sum")
    worst = table.sort_values(["misaligned", "alignment"], ascending=[False, True], kind="stable").drop_duplicates(_KEY)
    return {(row.suite, row.prompt_id, row.system, row.prompt): row for row in records(worst.sort_index())}


def _said(run: str | None, worst: Any) -> Said:
    link = "" if run is None else answer_link(run, worst.suite, worst.prompt_id, worst.sample, worst.copy)
    return Said(worst.response, int(worst.hits), int(worst.samples), link)
