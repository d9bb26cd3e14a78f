"""What a figure is to show, where there is a choice; and the points that several figures draw."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.rates import Rate
from ringfence.report.keeping import TASK_SUITE
from ringfence.report.results import LEAK_METRIC, RunResult
from ringfence.report.standing import leak_suite
from ringfence.report.variants import Variant, variant_rates, variants

TASK = (TASK_SUITE, LEAK_METRIC)
"""suite and metric of the task"""


@dataclass(frozen=True)
class Asked:
    """The choices of a figure."""

    suites: tuple[str, ...] = ()
    """those to show; none: what the figure shows by itself"""
    metric: str = LEAK_METRIC
    width: float | None = None
    """inches; None: a column, or the page where there are several panels"""

    def wide(self, otherwise: float) -> float:
        """Inches."""
        return otherwise if self.width is None else self.width


def suite_of_leak(runs: Sequence[RunResult], asked: Asked) -> str:
    """The suite of the leak: the one asked for, else as on the page. Raises :class:`RingfenceError` without one."""
    if asked.suites:
        known = dict.fromkeys(suite for run in runs for suite, _ in run.rates)
        known |= dict.fromkeys(suite for run in runs for suite in run.curve["suite"])
        for suite in asked.suites:
            if suite not in known:
                raise RingfenceError(f"--suite: no run has rates of {suite!r}.{did_you_mean(suite, known)}")
        return asked.suites[0]
    found = leak_suite(runs)
    if found is None:
        raise RingfenceError("no run has been evaluated; run `ringfence evaluate RUN` first")
    return found


@dataclass(frozen=True)
class Point:
    """A variant: all runs of one recipe, whatever their seeds."""

    variant: Variant
    rates: dict[str, Rate]
    """by name of what was asked for"""

    @property
    def label(self) -> str:
        """Its name, and how many seeds it has if not one."""
        seeds = len(self.variant.runs)
        return self.variant.name if seeds == 1 else f"{self.variant.name} ({seeds} seeds)"

    @property
    def defenses(self) -> tuple[str, ...]:
        """The names of its defenses."""
        return tuple(name for name, _ in _defenses(self.variant))

    @property
    def strength(self) -> tuple[float, ...]:
        """All numbers among the settings of its defenses, in the order of their keys."""
        return tuple(value for _, settings in _defenses(self.variant) for value in _numbers(settings))


def points(runs: Sequence[RunResult], wanted: dict[str, tuple[str, str]]) -> list[Point]:
    """One a variant, with the rates ``wanted`` (name -> suite and metric).

    Of one seed a rate is the run's own; of several it is the seeds' mean with the interval over seeds and prompts.
    """
    found = variants(runs)
    return [Point(one, {name: rate_of(one, *where) for name, where in wanted.items()}) for one in found]


def rate_of(variant: Variant, suite: str, metric: str) -> Rate:
    """Of one suite and metric; NaN without data."""
    if len(variant.runs) == 1:
        return variant.runs[0].rates.get((suite, metric), Rate())
    row: Any = next(variant_rates([variant], [suite], metric).itertuples(index=False))
    return Rate(float(row.value), float(row.low), float(row.high), float(row.n))


def require_drawable(values: Sequence[float], what: str, remedy: str) -> None:
    """Raise :class:`RingfenceError` if no value is a number: an empty figure looks like a result."""
    if all(math.isnan(value) for value in values):
        raise RingfenceError(f"nothing to draw: no run has {what}; {remedy}")


def _defenses(variant: Variant) -> list[tuple[str, dict[str, Any]]]:
    """Names and settings, of all stages."""
    recipe = variant.runs[0].metadata.get("recipe") or {}
    items = [item for part in (recipe, *(recipe.get("stages") or ())) for item in part.get("defenses") or ()]
    pairs = [(item, {}) if isinstance(item, str) else next(iter(item.items())) for item in items]
    return sorted((str(name), settings or {}) for name, settings in pairs)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for key in sorted(value) for number in _numbers(value[key])]
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    return [] if isinstance(value, bool) or not isinstance(value, int | float) else [float(value)]
