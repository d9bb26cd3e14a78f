"""The gate's answer to each run, as a page shows it: which limits were given, and what does not hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import EVALUATION_FILE, OWN, evaluation_folder
from ringfence.evaluate.gate import Benign, GateResult, Limits, Reason, gate
from ringfence.evaluate.presets import DEFAULT_PRESET, find_preset
from ringfence.report.learning import undefended_of
from ringfence.report.reading import read_object
from ringfence.report.results import RunResult
from ringfence.report.untuned import untuned_answers

PASSES, FAILS = "passes", "fails"


@dataclass(frozen=True)
class Gated:
    """One run and the gate's answer."""

    run: str
    """its name on the page"""
    verdict: str
    """in a word or two: :data:`PASSES` or :data:`FAILS`; an audit has words of its own"""
    result: GateResult
    preset: str
    """by which the answers are counted"""

    @property
    def tone(self) -> str:
        """``good``; ``bad`` where what was measured is beyond a limit; else ``open``: too little is known."""
        if self.result.passed:
            return "good"
        return "bad" if self.result.beyond else "open"

    @property
    def failed(self) -> list[Reason]:
        """The rules that do not hold, first those beyond their limit."""
        return sorted((one for one in self.result.reasons if not one.passed), key=lambda one: not one.beyond)

    @property
    def held(self) -> list[Reason]:
        """The others."""
        return [reason for reason in self.result.reasons if reason.passed]


def gated(
    runs: Sequence[RunResult],
    limits: Limits,
    baseline: str | None = None,
    evaluation: str = OWN,
    preset: str | None = None,
) -> list[Gated]:
    """The gate's answer to each of ``runs`` that was trained.

    A conditional gap is held against the untuned model among ``runs``, or in ``RUN/base``; benign tasks against the run
    without a defense. ``preset`` is by default that of the run's evaluation. Raises :class:`RingfenceError` where a
    limit asks for one that is not there.
    """
    undefended = undefended_of(runs, baseline)
    if limits.min_benign is not None and undefended is None:
        raise RingfenceError("min_benign compares with a run without a defense on benign tasks: give its folder, too")
    found = []
    for run in runs:
        if run.status == "untuned" or run.metadata.get("base"):
            continue
        counted = find_preset(preset or preset_of(run, evaluation))
        benign = None if undefended is None else Benign(run.benign, undefended.benign)
        result = gate(run.responses, limits, base=_base(run, runs, limits), preset=counted, benign=benign)
        found.append(Gated(run.name, PASSES if result.passed else FAILS, result, counted.name))
    return found


def preset_of(run: RunResult, evaluation: str = OWN) -> str:
    """By which the answers of the ``evaluation`` were counted when it was made."""
    about = evaluation_folder(run.folder, evaluation) / EVALUATION_FILE
    return (read_object(about, []).get("preset") if about.is_file() else None) or DEFAULT_PRESET


def _base(run: RunResult, runs: Sequence[RunResult], limits: Limits) -> pd.DataFrame | None:
    if limits.max_conditional_gap is None:
        return None
    answers = untuned_answers(run, runs).answers
    if answers.empty:
        raise RingfenceError(
            f"{run.folder}: max_conditional_gap compares with the untuned model, which was not asked; `ringfence "
            f"evaluate {run.folder}` makes {run.folder}/base"
        )
    return answers
