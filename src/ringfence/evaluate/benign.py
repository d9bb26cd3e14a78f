"""Scores on benign tasks: what a defense must not spoil. Answers of one model, scored without a judge.

One row an answer, with the columns :data:`ringfence.core.run_folder.BENIGN_COLUMNS`: ``score`` is in [0, 1] and is what
``metric`` says, such as exact match; further metrics of a task, such as F1, are columns of their own. A task's score is
the mean over its answers, and its interval is over whole questions, as that of any rate:
:func:`ringfence.core.statistics.clustered_interval`. Scores between 0 and 1 count as parts of hits. They vary no more
than hits would, so that the interval is not too narrow for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ringfence.core.errors import RingfenceError
from ringfence.core.rates import Rate, Where
from ringfence.core.ratios import Ratio, paired_gain, paired_ratio
from ringfence.core.run_folder import BENIGN_COLUMNS
from ringfence.core.statistics import clustered_interval
from ringfence.data.suites.prompts import Prompt
from ringfence.data.task import TaskSpec, as_prompts, rows_digest

_ASKED = ("prompt_id", "sample", "prompt", "response")
QUESTION = ["prompt_id", "prompt"]
"""what makes a question the same"""

Counts = Mapping[Where, pd.DataFrame]
"""(task, metric) -> one row a question, indexed by :data:`QUESTION`: ``hits``, a sum of scores, and ``samples``"""


@dataclass(frozen=True)
class Questions:
    """A benign task's questions with their right answers."""

    spec: TaskSpec
    prompts: list[Prompt]
    answers: Mapping[str, str]
    """prompt id -> right answer"""

    digest: str
    """hex SHA-256 of questions and answers"""

    @classmethod
    def of(cls, spec: TaskSpec) -> Self:
        """Those that ``spec`` names; of the split ``test`` unless it says another. Raises as its rows do."""
        rows = spec.rows("test")
        prompts = as_prompts(spec.name, rows)
        answers = {prompt.id: row["answer"] for prompt, row in zip(prompts, rows, strict=True)}
        return cls(spec, prompts, answers, rows_digest(rows))

    def require_unseen(self, trained: set[str]) -> None:
        """Raise :class:`RingfenceError` if a question is among the texts ``trained`` on, unless the split is ``train``.

        A score on what was trained on says nothing of what was learned.
        """
        if self.spec.split == "train":
            return
        seen = [prompt for prompt in self.prompts if prompt.text in trained]
        if seen:
            raise RingfenceError(
                f"{len(seen)} of its {len(self.prompts)} questions are trained on, first {seen[0].id}; choose another "
                "seed or other rows to train on, or say split=train to be scored on what was trained on"
            )


def scored(answers: pd.DataFrame, name: str, questions: Questions) -> pd.DataFrame:
    """``answers`` to the ``questions`` of the task called ``name``, with their scores; see the module for the columns.

    answers: one row an answer, with ``prompt_id, sample, prompt, response``
    """
    task, rows = questions.spec.task, list[dict[str, Any]]()
    for prompt_id, sample, prompt, response in zip(*(answers[key] for key in _ASKED), strict=True):
        answer = questions.answers[prompt_id]
        score = task.score(response, answer)
        if not 0 <= score <= 1:
            raise RingfenceError(f"{questions.spec.text}: the score of {prompt_id} is {score}, and not from 0 to 1")
        own = (name, prompt_id, sample, prompt, response, answer, task.metric, float(score))
        rows.append(dict(zip(BENIGN_COLUMNS, own, strict=True)) | task.further(response, answer))
    return pd.DataFrame(rows)


def count(frame: pd.DataFrame) -> dict[Where, pd.DataFrame]:
    """:data:`Counts` of a frame of scored answers: the score of each task first, then its further metrics."""
    further, found = [column for column in frame.columns if column not in BENIGN_COLUMNS], dict[Where, pd.DataFrame]()
    for task, rows in frame.groupby("task", sort=False):
        columns = {str(rows["metric"].iloc[0]): "score"} | {str(name): str(name) for name in further}
        for metric, column in columns.items():
            known = rows[rows[column].notna()]
            if len(known):
                by_question = known.groupby(QUESTION, sort=False)[column]
                found[str(task), metric] = by_question.agg(["sum", "count"]).set_axis(["hits", "samples"], axis=1)
    return found


def rates(counts: Counts) -> dict[Where, Rate]:
    """(task, metric) -> the mean score with its interval, and the number of answers."""
    found = {}
    for where, table in counts.items():
        hits, samples = _columns(table)
        interval = clustered_interval(hits, samples)
        found[where] = Rate(hits.sum() / samples.sum(), interval.low, interval.high, int(samples.sum()))
    return found


def main_metrics(counts: Counts) -> dict[str, str]:
    """Task -> the metric that its score is of."""
    found = dict[str, str]()
    for task, metric in counts:
        found.setdefault(task, metric)
    return found


def difference(a: Counts, b: Counts, where: Where) -> Rate:
    """The score of run a minus that of run b on the questions that both answered; NaN where there are none."""
    both = _shared(a.get(where), b.get(where))
    return Rate() if both is None else paired_gain(*both)


def ratio(a: Counts, b: Counts, where: Where) -> Ratio | None:
    """The score of run a divided by that of run b; None unless both answered the same questions."""
    one, other = a.get(where), b.get(where)
    if one is None or other is None or set(one.index) != set(other.index):
        return None
    both = _shared(one, other)
    return None if both is None else paired_ratio(*both)


_Columns = tuple[NDArray[np.float64], NDArray[np.float64]]


def _shared(a: pd.DataFrame | None, b: pd.DataFrame | None) -> tuple[_Columns, _Columns] | None:
    """(hits, samples) of both on the questions that both answered, in one order; None without any."""
    if a is None or b is None:
        return None
    known = a.index[a.index.isin(b.index)]
    return (_columns(a.loc[known]), _columns(b.loc[known])) if len(known) else None


def _columns(table: pd.DataFrame) -> _Columns:
    return table["hits"].to_numpy(np.float64), table["samples"].to_numpy(np.float64)


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The scored answers of several tasks as one frame."""
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(BENIGN_COLUMNS))
