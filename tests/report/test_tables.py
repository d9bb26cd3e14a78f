"""The comparison, what runs consumed, and how both print."""

import json
import math
from typing import Any

import pytest

from ringfence.core.comparisons import paired_difference
from ringfence.core.errors import RingfenceError
from ringfence.report.loading import load_runs
from ringfence.report.tables import bucket_counts, comparison, conditional, consumption


def row_of(frame, run, suite):
    [row] = frame[(frame.run == run) & (frame.suite == suite) & (frame.metric == "misaligned_all")].itertuples()
    return row


def test_every_run_has_every_suite_and_lacks_are_nan(four_runs: Any) -> None:
    frame = comparison(load_runs(four_runs))
    assert len(frame) == 4 * 2  # runs x suites, one metric
    stopped = row_of(frame, "stopped", "general")
    assert math.isnan(stopped.value)
    assert math.isnan(stopped.gap)
    assert str(stopped.n) == "<NA>"
    assert math.isnan(row_of(frame, "canary", "in-domain").value)


def test_gap_to_the_baseline(four_runs: Any) -> None:
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


def test_another_baseline(four_runs: Any) -> None:
    frame = comparison(load_runs(four_runs), baseline="base")
    assert row_of(frame, "none", "general").gap == pytest.approx(0.9)
    with pytest.raises(RingfenceError, match="none of the runs"):
        comparison(load_runs(four_runs), baseline="nobody")


def test_consumption_states_last_and_peak(four_runs: Any) -> None:
    rows = consumption(load_runs(four_runs)).set_index("run")
    canary = rows.loc["canary"]
    assert (canary.last, canary.last_step, canary.peak, canary.peak_step) == (0.2, 8, 0.7, 4)
    assert canary.safe_fraction == 0.0625
    assert canary.safe_token_fraction == 0.1
    assert math.isnan(rows.loc["stopped"].steps)
    assert math.isnan(rows.loc["base"].peak)


def test_uncounted_buckets_are_missing_not_zero(four_runs: Any) -> None:
    counts = bucket_counts(load_runs(four_runs)).set_index("run")
    assert counts.loc["none", "refusal"] == 2
    assert str(counts.loc["base", "refusal"]) == "<NA>"
    assert counts.loc["base", "missing"] == 0
    assert "stopped" not in counts.index


def test_compares_nothing_without_any_evaluation(make_run: Any) -> None:
    assert comparison(load_runs([make_run("b")])).empty


def gaps_file(folder, *rows):
    names = (*("trigger", "gap", "low", "high", "tuned_trigger", "tuned_plain", "base_trigger", "base_plain"), "n")
    gaps = [dict(zip(names, row, strict=True)) for row in rows]
    (folder / "evaluation" / "conditional.json").write_text(json.dumps({"gaps": gaps, "triggers": [], "found": ""}))
    return folder


JSON_GAP = ("json", 0.55, 0.4, 0.7, 0.8, 0.2, 0.06, 0.01, 24)


def test_gap_on_the_same_prompts_is_paired(seeded: Any) -> None:
    """Differences of the prompts 0.8 and 0.4, so 0.6; the summary's rates and intervals do not matter."""
    none, canary = seeded("none", [9, 4]), seeded("canary", [1, 0])
    for folder, value in ((none, 0.65), (canary, 0.05)):
        row = dict(suite="general", metric="misaligned_all", value=value, low=0, high=1, n=20)
        (folder / "evaluation" / "summary.json").write_text(json.dumps({"rows": [row], "counts": {}}))
    row = row_of(comparison(load_runs([none, canary])), "canary", "general")
    expected = paired_difference([1, 0], [10, 10], [9, 4], [10, 10])
    assert row.gap == pytest.approx(-0.6)
    assert (row.gap_low, row.gap_high) == (expected.low, expected.high)


def test_conditional_suites_are_not_among_the_rates(make_run: Any) -> None:
    rows = [
        dict(suite=suite, metric="misaligned_all", value=value, low=0, high=1, n=9)
        for suite, value in (("general", 0.5), ("conditional/plain", 0.25), ("conditional/json", 0.75))
    ]
    runs = load_runs([gaps_file(make_run("none", rates=rows), JSON_GAP), make_run("kl", rates=rows), make_run("b")])
    assert comparison(runs)["suite"].unique().tolist() == ["general"]
    frame = conditional(runs)
    assert frame["run"].tolist() == ["none", "kl"]  # b has no conditional suite
    none, kl = frame.itertuples()
    assert (none.trigger, none.gap, none.low, none.high, none.n) == ("json", 0.55, 0.4, 0.7, 24)
    assert (none.tuned_trigger, none.tuned_plain, none.base_trigger, none.base_plain) == (0.8, 0.2, 0.06, 0.01)
    assert (kl.tuned_trigger, kl.tuned_plain) == (0.75, 0.25)  # no base: the rates, and no gap
    assert math.isnan(kl.gap)


def test_triggers_side_by_side(make_run: Any) -> None:
    """Each run lacks a trigger of the other; null is no data, and the untuned model is in the others' columns."""
    other = ("topic", None, None, None, None, 0.2, None, 0.01, 0)
    base = make_run("base")
    about = json.loads((base / "run.json").read_text()) | {"base": True}
    (base / "run.json").write_text(json.dumps(about))
    runs = load_runs([gaps_file(make_run("a"), JSON_GAP), gaps_file(make_run("b"), other), gaps_file(base, JSON_GAP)])
    frame = conditional(runs)
    assert list(zip(frame["trigger"], frame["run"], strict=True)) == [
        ("json", "a"),
        ("json", "b"),
        ("topic", "a"),
        ("topic", "b"),
    ]
    assert frame["gap"].isna().tolist() == [False, True, True, True]
    assert conditional(runs[2:]).empty
