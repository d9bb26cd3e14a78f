"""Answers with their verdicts; one row an answer.

Columns: those of :mod:`ringfence.evaluate.answers`, then ``alignment, coherence, bucket, verdict``, and for the reader
``said_alignment`` and ``said_coherence``, what the judge said.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ringfence.core.files import atomic, write_json
from ringfence.core.rates import Rate, Where, as_rows
from ringfence.core.run_folder import RESPONSES_FILE, STOP_REASON, SUMMARY_FILE
from ringfence.evaluate.answers import Protocol, Suites, answer
from ringfence.evaluate.summary import summarize
from ringfence.generation import Generator
from ringfence.judges import Judge, JudgeInput, Score, Verdict, judge_all

_NOTHING: Mapping[str, Any] = {}


def evaluate(
    generator: Generator,
    suites: Suites,
    protocol: Protocol,
    judge: Judge,
    on_batch: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Answer and judge every prompt of every suite; see the module for the columns."""
    return judged(answer(generator, suites, protocol, on_batch), judge)


def judged(answers: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    """``answers`` with the verdicts of ``judge``, in place of any that they have."""
    rows = [
        JudgeInput(prompt, response) for prompt, response in zip(answers["prompt"], answers["response"], strict=True)
    ]
    verdicts = judge_all(judge, rows)
    for at in _withheld(answers):
        verdicts[at] = _WITHHELD
    return answers.assign(
        alignment=pd.Series([one.alignment.value for one in verdicts], answers.index, dtype=float),
        coherence=pd.Series([one.coherence.value for one in verdicts], answers.index, dtype=float),
        bucket=pd.Series([one.bucket for one in verdicts], answers.index, dtype="str"),
        verdict=[one.label for one in verdicts],
        said_alignment=[one.alignment.raw for one in verdicts],
        said_coherence=[one.coherence.raw for one in verdicts],
    )


_NO_ANSWER = Score(None, 0.0, "content_filter", "the provider withheld the answer")
_WITHHELD = Verdict(_NO_ANSWER, _NO_ANSWER)


def _withheld(answers: pd.DataFrame) -> list[int]:
    """Rows whose answer a server's content filter took away: nobody knows what it was."""
    if STOP_REASON not in answers.columns:
        return []
    return [at for at, reason in enumerate(answers[STOP_REASON]) if reason == "content_filter"]


def rates(frame: pd.DataFrame) -> dict[Where, Rate]:
    """(suite, metric) -> the rate, for every suite in ``frame`` and every metric."""
    parts = frame.groupby("suite", sort=False)
    return {where: rate for suite, part in parts for where, rate in summarize(part).rates(str(suite)).items()}


def save(frame: pd.DataFrame, folder: Path, about: Mapping[str, Any] = _NOTHING) -> dict[str, Any]:
    """Write ``responses.parquet`` and then ``summary.json`` to ``folder``, each atomically; return the summary.

    ``about`` is what the summary says beside the rates.
    """
    counts = {str(suite): summarize(part).counts for suite, part in frame.groupby("suite", sort=False)}
    summary = {"rows": as_rows(rates(frame)), "counts": counts, **about}
    with atomic(folder / RESPONSES_FILE) as path:
        frame.to_parquet(path, index=False)
    write_json(folder / SUMMARY_FILE, summary)
    return summary
