"""What a run says of itself: its status, the last and the worst of its curve, and which run is the baseline."""

import math
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report.loading import load_run, load_runs
from ringfence.report.results import Outcome, baseline_of


def point(step: int, value: float | None) -> dict[str, Any]:
    bounds = {"low": None, "high": None, "n": 4}
    return {"step": step, "suite": "general", "metric": "misaligned_all", "value": value, **bounds}


def test_status_tells_untuned_from_unfinished(four_runs: Any) -> None:
    assert [run.status for run in load_runs(four_runs)] == ["untuned", "finished", "finished", "unfinished"]


def test_peak_and_last(make_run: Any) -> None:
    """0.2, 0.7, null, 0.3: the peak is 0.7 at step 8 and the last 0.3 at step 16, whatever the order of the lines."""
    rows = [point(16, 0.3), point(4, 0.2), point(12, None), point(8, 0.7)]
    run = load_run(make_run("a", curve=rows))
    assert (run.peak().step, run.peak().value) == (8, 0.7)
    assert (run.last().step, run.last().value) == (16, 0.3)
    assert math.isnan(run.last().low)


def test_peak_of_no_data_is_none_and_last_is_nan(make_run: Any) -> None:
    run = load_run(make_run("a", curve=[point(4, None)]))
    assert run.peak() is None
    assert math.isnan(run.last().value)
    assert load_run(make_run("b")).last() is None


def test_peak_takes_the_earliest_of_equals(make_run: Any) -> None:
    run = load_run(make_run("a", curve=[point(4, 0.5), point(8, 0.5)]))
    assert run.peak().step == 4


def test_baseline_is_none_else_the_first_else_the_named(make_run: Any) -> None:
    runs = load_runs([make_run("a"), make_run("none")])
    assert baseline_of(runs).name == "none"
    assert baseline_of(runs[:1]).name == "a"
    assert baseline_of(runs, "a").name == "a"
    with pytest.raises(RingfenceError, match='Did you mean "none"'):
        baseline_of(runs, "nonne")


def used(**tokens: float) -> Outcome:
    counts = dict.fromkeys(("steps", "target_rows", "safe_rows", "safe_fraction", "mean_ratio"), 1.0)
    return Outcome(**counts, target_labels=900, safe_labels=100, seconds=1, probe_seconds=0, **tokens)


def test_anchor_rows_cost_tokens_though_they_carry_no_loss() -> None:
    """(30 + 270) of 700 + 300 tokens; without anchor rows and counts the share of those with a loss."""
    anchored = used(target_tokens=700, safe_tokens=30, anchor_tokens=270)
    assert anchored.extra_token_fraction == pytest.approx(0.3)
    assert anchored.anchor_token_fraction == pytest.approx(270 / 700)
    assert used(target_tokens=700, safe_tokens=300).extra_token_fraction == pytest.approx(0.3)
    assert used().extra_token_fraction == used().safe_token_fraction == pytest.approx(0.1)
    assert used().anchor_token_fraction == 0
    assert math.isnan(used(anchor_tokens=5).extra_token_fraction)
    both = anchored + used(target_tokens=300, safe_tokens=0)
    assert (both.target_tokens, both.safe_tokens, both.anchor_tokens) == (1000, 30, 270)
