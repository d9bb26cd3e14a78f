"""The comparison, what runs consumed, and how both print."""

import io
import math

import pytest
from rich.console import Console

from ringfence.core.errors import RingfenceError
from ringfence.report.results import load_runs
from ringfence.report.tables import Rate, bucket_counts, comparison, consumption, render


def row_of(frame, run, suite):
    [row] = frame[(frame.run == run) & (frame.suite == suite) & (frame.metric == "misaligned_all")].itertuples()
    return row


def printed(runs, width=120):
    console = Console(file=io.StringIO(), width=width)
    render(console, runs)
    return console.file.getvalue()


def test_every_run_has_every_suite_and_lacks_are_nan(four_runs):
    frame = comparison(load_runs(four_runs))
    assert len(frame) == 4 * 2  # runs x suites, one metric
    stopped = row_of(frame, "stopped", "general")
    assert math.isnan(stopped.value)
    assert math.isnan(stopped.gap)
    assert str(stopped.n) == "<NA>"
    assert math.isnan(row_of(frame, "canary", "in-domain").value)


def test_gap_to_the_baseline(four_runs):
    """canary 0.2 [0.08, 0.42] minus none 0.9 [0.74, 0.97]: d = -0.7,

    low = d - sqrt(0.12^2 + 0.07^2) = -0.8389, high = d + sqrt(0.22^2 + 0.16^2) = -0.4280.
    """
    frame = comparison(load_runs(four_runs))
    canary = row_of(frame, "canary", "general")
    assert canary.gap == pytest.approx(-0.7)
    assert canary.gap_low == pytest.approx(-0.838924, abs=1e-6)
    assert canary.gap_high == pytest.approx(-0.427971, abs=1e-6)
    none = row_of(frame, "none", "general")
    assert (none.gap, none.gap_low, none.gap_high) == (0, 0, 0)


def test_another_baseline(four_runs):
    frame = comparison(load_runs(four_runs), baseline="base")
    assert row_of(frame, "none", "general").gap == pytest.approx(0.9)
    with pytest.raises(RingfenceError, match="none of the runs"):
        comparison(load_runs(four_runs), baseline="nobody")


def test_gap_without_bounds_keeps_its_value():
    gap = Rate(0.5) - Rate(0.2, 0.1, 0.3)
    assert gap.value == pytest.approx(0.3)
    assert math.isnan(gap.low)
    assert math.isnan(gap.high)


def test_consumption_states_final_and_peak(four_runs):
    rows = consumption(load_runs(four_runs)).set_index("run")
    canary = rows.loc["canary"]
    assert (canary.final, canary.final_step, canary.peak, canary.peak_step) == (0.2, 8, 0.7, 4)
    assert canary.safe_fraction == 0.0625
    assert math.isnan(rows.loc["stopped"].steps)
    assert math.isnan(rows.loc["base"].peak)


def test_uncounted_buckets_are_missing_not_zero(four_runs):
    counts = bucket_counts(load_runs(four_runs)).set_index("run")
    assert counts.loc["none", "refusal"] == 2
    assert str(counts.loc["base", "refusal"]) == "<NA>"
    assert counts.loc["base", "missing"] == 0
    assert "stopped" not in counts.index


def test_prints_percent_with_intervals_and_no_data(four_runs):
    text = printed(load_runs(four_runs))
    [general] = [line for line in text.splitlines() if "20.0 [8, 42]" in line]
    assert "−70.0" in general
    assert "no data" in general  # in-domain: nothing scored
    assert "70.0 (4)" in text  # the peak and its step
    assert "unfinished" in text
    assert "untuned" in text
    assert "nan" not in text.lower()


def test_rates_from_before_a_projection_are_starred(four_runs, projected_run):
    text = printed(load_runs([*four_runs, projected_run]))
    [line] = [line for line in text.splitlines() if "70.0* (4)" in line]
    assert "40.0*" in line
    assert "* of the adapter before safe_lora projected it" in " ".join(text.split())
    assert "70.0 (4)" in text  # the canary run's has none
    assert "*" not in printed(load_runs(four_runs))


def test_narrow_terminal_drops_the_gaps(four_runs):
    text = printed(load_runs(four_runs), width=80)
    assert "20.0 [8, 42]" in text
    assert "−70.0" not in text


def test_prints_without_any_evaluation(make_run):
    assert "unfinished" in printed(load_runs([make_run("[red]a")]))
    assert comparison(load_runs([make_run("b")])).empty
