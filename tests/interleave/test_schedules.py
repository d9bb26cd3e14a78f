"""When an evaluation is due, what it does to the ratio, and that a restored schedule goes on the same."""

import json
import math
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.interleave import (
    CanaryController,
    CanaryControllerConfig,
    CanarySchedule,
    PenaltySchedule,
    ReplaySchedule,
    Risk,
    Schedule,
)


def measured(value: float, scored: int = 20, total: int = 20) -> Risk:
    return Risk(value, scored, total)


def unused_probe(model, step) -> Risk:
    raise AssertionError("a schedule does not probe by itself")


def canary(evaluate_first: bool = True, **fields) -> CanarySchedule:
    return CanarySchedule(CanaryController(CanaryControllerConfig(**fields)), unused_probe, evaluate_first)


def restored(schedule, fresh):
    """``fresh`` with the state of ``schedule``, by way of JSON as in a checkpoint."""
    fresh.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    return fresh


# --- constant -----------------------------------------------------------------------------------------------


def test_a_constant_ratio_is_never_evaluated() -> None:
    schedule = Schedule(0.05)
    assert not any(schedule.due(t) for t in range(100))
    assert schedule.update(None) == {}
    assert (schedule.ratio, schedule.probe, schedule.placement) == (0.05, None, "bernoulli")


@pytest.mark.parametrize("ratio", [-0.01, 1.01, math.nan, math.inf])
def test_a_ratio_outside_0_to_1_raises(ratio: Any) -> None:
    with pytest.raises(RingfenceError, match=r"must lie in \[0, 1\]"):
        Schedule(ratio)
    with pytest.raises(RingfenceError, match=r"must lie in \[0, 1\]"):
        ReplaySchedule(ratio, [0.1], 30)


@pytest.mark.parametrize(("ratio", "needs"), [(0.0, False), (0.01, True), (1.0, True)])
def test_safe_data_is_needed_above_0(ratio: float, needs: bool) -> None:
    assert Schedule(ratio).needs_safe_data is needs


def test_state_of_a_constant_ratio() -> None:
    assert restored(Schedule(0.3), Schedule(0.1)).ratio == 0.3


# --- when ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [lambda first: canary(first, every=30), lambda first: ReplaySchedule(0, [0.1], 30, first)]
)
@pytest.mark.parametrize(("first", "wanted"), [(True, [0, 30, 60, 90]), (False, [30, 60, 90])])
def test_due_at_0_k_2k(make: Any, first: bool, wanted: Any) -> None:
    assert [t for t in range(100) if make(first).due(t)] == wanted


@pytest.mark.parametrize(("first", "wanted"), [(True, [0, 1, 2]), (False, [1, 2])])
def test_due_at_every_step(first: bool, wanted: Any) -> None:
    assert [t for t in range(3) if canary(first, every=1).due(t)] == wanted


# --- canary -------------------------------------------------------------------------------------------------


def test_an_evaluation_moves_the_ratio_and_is_logged() -> None:
    """Risk 0.2 smoothed by 0.5 from 0 is 0.1 > 0.08: the ratio goes from 0.05 to 0.09."""
    schedule = canary()
    assert schedule.ratio == 0.05
    assert schedule.update(measured(0.2, 19)) == {
        "evaluation": 0,
        "ratio_before": 0.05,
        "ratio": pytest.approx(0.09),
        "risk": 0.2,
        "smoothed_risk": pytest.approx(0.1),
        "scored": 19,
        "total": 20,
        "held": False,
        "risk_high": 0.08,
        "risk_low": 0.02,
    }
    assert schedule.ratio == pytest.approx(0.09)
    row = schedule.update(measured(0.06))
    assert (row["evaluation"], row["ratio_before"]) == (1, pytest.approx(0.09))


@pytest.mark.parametrize("risk", [Risk(1.0, 15, 20), Risk(math.nan, 0, 20)])
def test_an_unreliable_risk_holds_ratio_and_smoothed_risk(risk: Any) -> None:
    schedule = canary()
    schedule.update(measured(0.1))  # smoothed 0.05
    row = schedule.update(risk)
    assert row["held"] is True
    assert (row["ratio_before"], row["ratio"], schedule.ratio) == (0.05, 0.05, 0.05)
    assert row["smoothed_risk"] == schedule.controller.smoothed_risk == pytest.approx(0.05)
    assert schedule.update(measured(0.2))["smoothed_risk"] == pytest.approx(0.5 * 0.2 + 0.5 * 0.05)
    assert schedule.update(measured(0.0))["evaluation"] == 3  # a held evaluation counts


def test_a_canary_schedule_starts_at_the_controllers_ratio() -> None:
    assert canary(ratio_init=0.0).ratio == 0.0


def test_a_controller_that_may_raise_the_ratio_needs_safe_data() -> None:
    assert canary(ratio_init=0.0).needs_safe_data
    assert not canary(ratio_init=0.0, ratio_max=0.0).needs_safe_data


def test_a_canary_schedule_holds_its_probe() -> None:
    assert canary().probe is unused_probe


@pytest.mark.parametrize("delay", [0, 3])
def test_a_restored_canary_schedule_goes_on_identically(delay: int) -> None:
    schedule = canary(delay=delay)
    for risk in (0.3, 0.0, 0.2, 0.9):
        schedule.update(measured(risk))
    schedule.update(Risk(math.nan, 0, 20))
    copy = restored(schedule, canary(delay=delay))
    assert copy.ratio == schedule.ratio
    for risk in (0.0, 0.01, 0.7, 0.1):
        assert copy.update(measured(risk)) == schedule.update(measured(risk))


# --- replay -------------------------------------------------------------------------------------------------


def test_replay_holds_the_last_value() -> None:
    schedule = ReplaySchedule(0.05, [0.09, 0.13, 0.125], 30)
    assert schedule.ratio == 0.05
    rows = [schedule.update(None) for _ in range(5)]
    assert [row["ratio"] for row in rows] == [0.09, 0.13, 0.125, 0.125, 0.125]
    assert [row["ratio_before"] for row in rows] == [0.05, 0.09, 0.13, 0.125, 0.125]
    assert [row["evaluation"] for row in rows] == [0, 1, 2, 3, 4]


def test_replay_measures_nothing_and_says_so() -> None:
    row = ReplaySchedule(0.05, [0.09], 30).update(None)
    assert {key: row[key] for key in ("risk", "smoothed_risk", "risk_high", "risk_low")} == dict.fromkeys(
        ("risk", "smoothed_risk", "risk_high", "risk_low")
    )
    assert ReplaySchedule(0.05, [0.09], 30).probe is None


def test_replay_of_nothing_raises() -> None:
    with pytest.raises(RingfenceError, match="no recorded ratio"):
        ReplaySchedule(0.05, [], 30)


@pytest.mark.parametrize(
    ("initial", "ratios", "needs"), [(0.0, [0.0, 0.0], False), (0.0, [0.0, 0.1], True), (0.1, [0.0], True)]
)
def test_replay_needs_safe_data_if_any_ratio_is_above_0(initial: float, ratios: Any, needs: bool) -> None:
    assert ReplaySchedule(initial, ratios, 30).needs_safe_data is needs


def test_a_restored_replay_goes_on_identically() -> None:
    ratios = [0.1, 0.2, 0.3, 0.4]
    schedule = ReplaySchedule(0.05, ratios, 30)
    schedule.update(None)
    schedule.update(None)
    copy = restored(schedule, ReplaySchedule(0.05, ratios, 30))
    assert copy.ratio == 0.2
    assert [copy.update(None) for _ in range(3)] == [schedule.update(None) for _ in range(3)]


def test_replaying_a_canary_run_gives_its_ratios() -> None:
    recorded = canary()
    rows = [recorded.update(measured(risk)) for risk in (0.3, 0.3, 0.0, 0.0, 0.0, 0.0)]
    replay = ReplaySchedule(rows[0]["ratio_before"], [row["ratio"] for row in rows], 30)
    assert [replay.update(None)["ratio"] for _ in rows] == [row["ratio"] for row in rows]


# --- the loop on penalties ----------------------------------------------------------------------------------


def test_on_penalties_the_ratio_is_a_factor_and_no_safe_row_is_drawn() -> None:
    config = CanaryControllerConfig(every=1, smoothing=1, ratio_init=0.2, ratio_max=1, step_up=0.5)
    schedule = PenaltySchedule(CanaryController(config), unused_probe)
    assert (schedule.ratio, schedule.factor, schedule.needs_safe_data) == (0, 0.2, False)
    row = schedule.update(measured(1.0))
    assert (row["ratio_before"], row["ratio"], row["risk"]) == (0.2, 0.7, 1.0)
    assert (schedule.ratio, schedule.factor) == (0, 0.7)
    fresh = PenaltySchedule(CanaryController(config), unused_probe)
    assert (restored(schedule, fresh).factor, fresh.evaluation) == (0.7, 1)


def test_elsewhere_the_factor_is_1() -> None:
    assert {Schedule(0.3).factor, canary().factor, ReplaySchedule(0, [0.1], 30).factor} == {1.0}
