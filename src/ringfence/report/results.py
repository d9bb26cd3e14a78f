"""One run as the tables, figures and pages know it: :class:`RunResult`, read by :mod:`ringfence.report.loading`."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.rates import Rate, Rates
from ringfence.core.run_folder import ADAPTED, CONDITIONAL_COLUMNS, RESPONSE_COLUMNS
from ringfence.evaluate.benign import Counts
from ringfence.report.counts import ByPrompt, count_by_prompt

BASELINE = "none"  # the run without a defense, by convention
LEAK_SUITE, LEAK_METRIC = "general", "misaligned_all"

Status = Literal["finished", "unfinished", "untuned", "served"]


@dataclass(frozen=True)
class Outcome:
    """``result.json``: what a finished run consumed, all its stages together. A value that was null is NaN."""

    steps: float  # optimizer steps
    target_rows: float  # rows are examples
    safe_rows: float
    safe_fraction: float  # safe rows / all rows
    target_labels: float  # tokens that carried the loss
    safe_labels: float
    mean_ratio: float  # mean over optimizer steps of the share of safe data
    seconds: float  # wall clock, probes included
    probe_seconds: float
    target_tokens: float = float("nan")  # of all rows, prompts included
    safe_tokens: float = float("nan")
    anchor_tokens: float = 0.0  # of rows that only a penalty sees

    @property
    def extra_token_fraction(self) -> float:
        """Of all tokens, those of safe and anchor rows: what a defense with rows of its own costs.

        Where nobody counted tokens, and no anchor rows came, the share of those that carried the loss.
        """
        extra = self.safe_tokens + self.anchor_tokens
        if math.isnan(extra) and not self.anchor_tokens:
            return self.safe_token_fraction
        return extra / (self.target_tokens + extra) if extra or self.target_tokens else float("nan")

    @property
    def anchor_token_fraction(self) -> float:
        """Tokens of anchor rows / those of target rows; 0 where there are none."""
        return self.anchor_tokens / self.target_tokens if self.anchor_tokens else 0.0

    @property
    def safe_token_fraction(self) -> float:
        """Of the tokens that carried the loss, those of safe rows: a long safe row weighs more than a short one."""
        labels = self.target_labels + self.safe_labels
        return self.safe_labels / labels if labels else float("nan")

    def __add__(self, other: "Outcome") -> "Outcome":
        """The outcome of two stages, one after the other."""
        steps, safe = self.steps + other.steps, self.safe_rows + other.safe_rows
        ratios = self.mean_ratio * self.steps + other.mean_ratio * other.steps
        rows = self.target_rows + other.target_rows + safe
        return Outcome(
            steps=steps,
            target_rows=self.target_rows + other.target_rows,
            safe_rows=safe,
            safe_fraction=safe / rows if rows else float("nan"),
            target_labels=self.target_labels + other.target_labels,
            safe_labels=self.safe_labels + other.safe_labels,
            mean_ratio=ratios / steps if steps else float("nan"),
            seconds=self.seconds + other.seconds,
            probe_seconds=self.probe_seconds + other.probe_seconds,
            target_tokens=self.target_tokens + other.target_tokens,
            safe_tokens=self.safe_tokens + other.safe_tokens,
            anchor_tokens=self.anchor_tokens + other.anchor_tokens,
        )


@dataclass(frozen=True)
class CurvePoint(Rate):
    """A rate measured after ``step`` optimizer steps, those of all stages."""

    step: int = 0
    projected_later: bool = False
    """whether ``safe_lora`` projected the adapter after the training of which this is"""


@dataclass(frozen=True, eq=False)
class RunResult:
    """A run folder in memory; tables that the folder lacks are empty, with their columns."""

    name: str
    folder: Path
    metadata: dict[str, Any]  # run.json as it is: recipe, versions, git, seed, inputs, created
    log: pd.DataFrame  # LOG_COLUMNS, one row a logged step
    control: pd.DataFrame  # CONTROL_COLUMNS + CONTROL_OPTIONAL, one row a controller update
    canaries: pd.DataFrame  # CANARY_COLUMNS + CANARY_OPTIONAL, one row a canary and probe
    curve: pd.DataFrame  # step + RATE_COLUMNS, one row a rate measured during training
    rates: Rates  # of the final evaluation, by suite and metric
    counts: dict[str, dict[str, int]]  # suite -> bucket -> answers
    responses: pd.DataFrame  # RESPONSE_COLUMNS, one row an answer
    outcome: Outcome | None  # of all stages; None while one is missing
    projections: tuple[tuple[float, float], ...] = ()
    """(steps before, steps at the end) of each stage after which ``safe_lora`` projected the adapter"""
    conditional: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CONDITIONAL_COLUMNS)))
    """the conditional gap of each trigger, CONDITIONAL_COLUMNS and ``dropped``, fractions; one row a trigger"""
    benign: Counts = field(default_factory=dict)
    """its scores on benign tasks, question by question"""
    benign_base: Counts = field(default_factory=dict)
    """those of the untuned model in ``RUN/base``"""
    untuned: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(RESPONSE_COLUMNS)))
    """answers of the untuned model in ``RUN/base``, RESPONSE_COLUMNS"""
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    """source -> rows ``given``, ``truncated`` and ``dropped`` in training, of all stages; empty where nobody counted"""
    answered_by: dict[str, Any] = field(default_factory=dict)
    """who generated the answers, and what the self-check found; empty for the model in process"""
    rewards: pd.DataFrame = field(default_factory=pd.DataFrame)
    """of reinforcement learning: the reward, its parts and the completions, see :func:`read_rewards`"""
    penalties: pd.DataFrame = field(default_factory=pd.DataFrame)
    """the parts of the loss: each penalty, and what is left, see :func:`read_penalties`"""

    @cached_property
    def by_prompt(self) -> dict[str, ByPrompt]:
        """Suite -> its answers counted by prompt."""
        return count_by_prompt(self.responses)

    @property
    def status(self) -> Status:
        """``served``: behind a server, its training unknown; ``untuned``: evaluated without a trace of training;

        ``unfinished``: no ``result.json``.
        """
        if self.metadata.get("server"):
            return "served"
        if self.outcome is not None:
            return "finished"
        return "untuned" if self.log.empty and (self.rates or self.benign) else "unfinished"

    @property
    def answered(self) -> str:
        """Who generated the answers, in a word or two: ``server, checked``; empty for the model in process."""
        if not self.answered_by:
            return ""
        checked = "checked" if self.answered_by["state"] == "passed" else "NOT CHECKED"
        return f"{self.answered_by['kind']}, {checked}"

    @property
    def defended(self) -> bool:
        """Whether a defense was on in any of its stages."""
        recipe = self.metadata.get("recipe") or {}
        return any(part.get("defenses") for part in (recipe, *(recipe.get("stages") or ())))

    @property
    def imported(self) -> bool:
        """Whether its weights came from elsewhere: nobody here knows what they were trained on, and how."""
        return ADAPTED in self.metadata

    def leak_curve(self, suite: str = LEAK_SUITE, metric: str = LEAK_METRIC) -> list[CurvePoint]:
        """The rate of one suite and metric during training, by step."""
        rows = self.curve[(self.curve["suite"] == suite) & (self.curve["metric"] == metric)].sort_values("step")
        points: Iterable[Any] = rows.itertuples(index=False)
        return [
            CurvePoint(**asdict(Rate.of(row)), step=int(row.step), projected_later=self._projected_after(row.step))
            for row in points
        ]

    def _projected_after(self, step: float) -> bool:
        return any(before < step <= end for before, end in self.projections)

    def last(self, suite: str = LEAK_SUITE, metric: str = LEAK_METRIC) -> CurvePoint | None:
        """The last measurement of the curve (its value may be NaN); None without a curve.

        It can lie steps before the end and has samples of its own: the finished run's rate is in ``rates``.
        """
        curve = self.leak_curve(suite, metric)
        return curve[-1] if curve else None

    def peak(self, suite: str = LEAK_SUITE, metric: str = LEAK_METRIC) -> CurvePoint | None:
        """The worst measurement, the earliest of equals; None if the curve holds no number."""
        measured = [point for point in self.leak_curve(suite, metric) if point.value == point.value]
        return max(measured, key=lambda point: point.value, default=None)


def baseline_of(runs: Sequence[RunResult], name: str | None = None) -> RunResult:
    """The run that gaps are measured from: ``name``, else the one called "none", else the first."""
    by_name = {run.name: run for run in runs}
    if name is None:
        return by_name.get(BASELINE, runs[0])
    if name not in by_name:
        raise RingfenceError(f'baseline "{name}" is none of the runs.{did_you_mean(name, by_name)}')
    return by_name[name]
