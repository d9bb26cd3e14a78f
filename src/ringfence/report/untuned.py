"""What the untuned model answers beside a run: as a run among those shown, or in ``RUN/base``."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ringfence.report.results import RunResult


@dataclass(frozen=True, eq=False)
class Untuned:
    """Its answers."""

    answers: pd.DataFrame
    """RESPONSE_COLUMNS, one row an answer; empty where it was not asked"""
    run: str | None
    """its name among the runs; None where it is in ``RUN/base``"""


def untuned_answers(run: RunResult, runs: Sequence[RunResult]) -> Untuned:
    """Those of the untuned one of ``runs`` that has the same model as ``run``, else those in the folder of ``run``."""
    for one in runs:
        if one is not run and one.status == "untuned" and _model(one) == _model(run) and not one.responses.empty:
            return Untuned(one.responses, one.name)
    return Untuned(run.untuned, None)


def _model(run: RunResult) -> object:
    return (run.metadata.get("recipe") or {}).get("model")
