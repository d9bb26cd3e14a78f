"""Equations 2 and 3 of the canary paper: by hand, at the thresholds, and against a naive reading of them."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ringfence.interleave import CanaryController, CanaryControllerConfig


def controller(**fields) -> CanaryController:
    return CanaryController(CanaryControllerConfig(**fields))


def run(steered: CanaryController, risks) -> list[float]:
    return [steered.update(risk) for risk in risks]


def test_defaults_are_the_papers() -> None:
    assert CanaryControllerConfig().model_dump(exclude={"setpoint", "gain", "integral_gain"}) == {
        "rule": "threshold",
        "smoothing": 0.5,
        "risk_high": 0.08,
        "risk_low": 0.02,
        "step_up": 0.04,
        "step_down": 0.005,
        "ratio_min": 0.0,
        "ratio_max": 0.20,
        "ratio_init": 0.05,
        "every": 30,
        "delay": 0,
    }


def test_before_the_first_evaluation() -> None:
    steered = controller(ratio_init=0.1)
    assert (steered.ratio, steered.smoothed_risk) == (0.1, 0.0)


def test_by_hand() -> None:
    """
    risk      0.2    0.2    0.0     0.0      0.0
    smoothed  0.1    0.15   0.075   0.0375   0.01875
    against   > .08  > .08  between between  < .02
    ratio     0.09   0.13   0.13    0.13     0.125      from 0.05
    """
    steered = controller()
    smoothed = []
    ratios = []
    for risk in (0.2, 0.2, 0.0, 0.0, 0.0):
        ratios.append(steered.update(risk))
        smoothed.append(steered.smoothed_risk)
        assert steered.ratio == ratios[-1]
    assert smoothed == pytest.approx([0.1, 0.15, 0.075, 0.0375, 0.01875])
    assert ratios == pytest.approx([0.09, 0.13, 0.13, 0.13, 0.125])


def test_smoothing_is_the_weight_of_the_newest_risk() -> None:
    """0.25 * 0.4 = 0.1, then 0.25 * 0.8 + 0.75 * 0.1 = 0.275."""
    steered = controller(smoothing=0.25)
    run(steered, [0.4])
    assert steered.smoothed_risk == pytest.approx(0.1)
    run(steered, [0.8])
    assert steered.smoothed_risk == pytest.approx(0.275)


def test_smoothing_1_is_no_smoothing() -> None:
    steered = controller(smoothing=1)
    for risk in (0.3, 0.0, 0.05):
        steered.update(risk)
        assert steered.smoothed_risk == risk


@pytest.mark.parametrize(
    ("risk", "ratio"),
    [
        (0.5, 0.05),  # exactly risk_high: unchanged
        (math.nextafter(0.5, 1), 0.09),
        (0.25, 0.05),  # exactly risk_low: unchanged
        (math.nextafter(0.25, 0), 0.045),
        (0.3, 0.05),
    ],
)
def test_the_inequalities_are_strict(risk: Any, ratio: float) -> None:
    assert controller(smoothing=1, risk_high=0.5, risk_low=0.25).update(risk) == pytest.approx(ratio, abs=1e-15)


def test_risk_low_0_never_lowers_the_ratio() -> None:
    assert run(controller(risk_low=0), [0.0] * 5) == [0.05] * 5


def test_the_ratio_stays_within_its_bounds() -> None:
    """Up from 0.05 by 0.04: 0.09, 0.13, then 0.15, not 0.17. Down by 0.03: 0.12, 0.09, 0.06, 0.04, not 0.03."""
    steered = controller(smoothing=1, ratio_min=0.04, ratio_max=0.15, step_down=0.03)
    assert run(steered, [1.0] * 4) == pytest.approx([0.09, 0.13, 0.15, 0.15])
    assert run(steered, [0.0] * 5) == pytest.approx([0.12, 0.09, 0.06, 0.04, 0.04])


def test_delay_compares_an_older_risk() -> None:
    """D = 2 and no smoothing: evaluations 0 and 1 leave the ratio, n compares r_{n-2} = 1, 0, 0.05, 1."""
    ratios = run(controller(smoothing=1, delay=2), [1.0, 0.0, 0.05, 1.0, 0.0, 0.0])
    assert ratios == pytest.approx([0.05, 0.05, 0.09, 0.085, 0.085, 0.125])


def test_delay_shifts_the_ratios_by_as_many_evaluations() -> None:
    risks = np.random.default_rng(3).uniform(0, 0.3, 60).tolist()
    prompt, late = run(controller(), risks), run(controller(delay=5), risks)
    assert late[:5] == [0.05] * 5
    assert late[5:] == prompt[:-5]


@pytest.mark.parametrize("risk", [-0.01, 1.01, math.nan, math.inf, -math.inf])
def test_a_risk_outside_0_to_1_raises_and_changes_nothing(risk: Any) -> None:
    steered = controller(delay=1)
    run(steered, [0.3, 0.2])
    before = steered.state_dict()
    with pytest.raises(ValueError, match=r"risk must lie in \[0, 1\]"):
        steered.update(risk)
    assert steered.state_dict() == before


# --- against a naive reading --------------------------------------------------------------------------------

_risks = st.lists(st.floats(0, 1), max_size=30)


@st.composite
def configs(draw) -> CanaryControllerConfig:
    share = st.floats(0, 1)
    smallest, initial, largest = sorted(draw(st.tuples(share, share, share)))
    common = {
        "smoothing": draw(st.floats(0.01, 1)),
        "ratio_min": smallest,
        "ratio_init": initial,
        "ratio_max": largest,
        "delay": draw(st.integers(0, 6)),
    }
    if draw(st.booleans()):
        gains = {"gain": draw(st.floats(0, 5)), "integral_gain": draw(st.floats(0, 5))}
        return CanaryControllerConfig(rule="proportional", setpoint=draw(share), **gains, **common)
    low, high = sorted(draw(st.tuples(share, share).filter(lambda pair: pair[0] != pair[1])))
    return CanaryControllerConfig(risk_high=high, risk_low=low, step_up=draw(share), step_down=draw(share), **common)


@pytest.mark.parametrize("delay", [0, 1, 4])
@pytest.mark.parametrize("smoothing", [0.1, 0.5, 1.0])
def test_equals_the_equations_written_out(smoothing: float, delay: int) -> None:
    """s_n in closed form, sum over k of a (1 - a)^(n - k) r_k, and the ratio by three cases."""
    # Quiet, then rising, then quiet again, so that every case of equation 3 occurs.
    risks = np.random.default_rng(delay).uniform(0, 1, 300) * np.repeat([0.02, 0.1, 0.4, 0.1, 0.02], 60)
    steered = controller(smoothing=smoothing, delay=delay)
    p, moves = 0.05, set()
    for n, risk in enumerate(risks):
        ratio = steered.update(float(risk))
        ages = n - np.arange(n + 1)
        assert steered.smoothed_risk == pytest.approx(np.sum(smoothing * (1 - smoothing) ** ages * risks[: n + 1]))
        if n >= delay:
            ages = n - delay - np.arange(n - delay + 1)
            s = np.sum(smoothing * (1 - smoothing) ** ages * risks[: n - delay + 1])
            move = "up" if s > 0.08 else "down" if s < 0.02 else "stay"
            p = {"up": min(0.20, p + 0.04), "down": max(0.0, p - 0.005), "stay": p}[move]
            moves.add(move)
        assert ratio == pytest.approx(p)
    assert moves == {"up", "down", "stay"}


# --- the proportional-integral rule -------------------------------------------------------------------------


def test_proportional_by_hand() -> None:
    """
    risk          0.8   0.8   0.4   0.0
    e             0.5   0.5   0.1   -0.3     without smoothing, from the setpoint 0.3
    0.3 e         0.15  0.15  0.03  -0.09
    ratio         0.15  0.15  0.03  0
    """
    steered = controller(rule="proportional", smoothing=1.0)
    assert run(steered, [0.8, 0.8, 0.4, 0.0]) == pytest.approx([0.15, 0.15, 0.03, 0.0])


@pytest.mark.parametrize(("integral_gain", "ratio"), [(0.05, 0.3), (0.0, 0.18 / 1.6)])
def test_the_integral_finds_the_ratio_that_holds_the_risk_at_the_setpoint(integral_gain: float, ratio: float) -> None:
    """A risk of 0.9 - 2 p is at the setpoint 0.3 for p = 0.3; the gain alone rests where p = 0.3 (0.6 - 2 p)."""
    steered = controller(rule="proportional", smoothing=1.0, integral_gain=integral_gain, ratio_init=0.0, ratio_max=0.5)
    for _ in range(400):
        steered.update(0.9 - 2 * steered.ratio)
    assert steered.ratio == pytest.approx(ratio, abs=1e-6)


def test_the_integral_does_not_wind_up_at_a_bound() -> None:
    """After a hundred evaluations at the upper bound the first good one lowers the ratio."""
    steered = controller(rule="proportional", smoothing=1.0, gain=0.0, integral_gain=0.1)
    assert run(steered, [1.0] * 100)[-1] == 0.2
    assert steered.update(0.0) < 0.2
    below = controller(rule="proportional", smoothing=1.0, gain=0.0, integral_gain=0.1)
    assert run(below, [0.0] * 100)[-1] == 0.0
    assert below.update(1.0) > 0.0


def test_delay_and_smoothing_are_those_of_the_threshold() -> None:
    steered = controller(rule="proportional", delay=1, gain=1.0, setpoint=0.0, ratio_max=1.0)
    assert run(steered, [0.8, 0.2, 0.0]) == pytest.approx([0.05, 0.4, 0.3])


@given(configs(), _risks)
def test_whatever_the_risks_the_bounds_hold(config: Any, risks: Any) -> None:
    steered = CanaryController(config)
    for risk in risks:
        assert config.ratio_min <= steered.update(risk) <= config.ratio_max
        assert 0 <= steered.smoothed_risk <= 1


# --- state --------------------------------------------------------------------------------------------------


@given(configs(), _risks, _risks)
def test_a_restored_controller_goes_on_identically(config: Any, before: Any, after: Any) -> None:
    steered, restored = CanaryController(config), CanaryController(config)
    run(steered, before)
    restored.load_state_dict(json.loads(json.dumps(steered.state_dict())))
    assert restored.state_dict() == steered.state_dict()
    assert run(restored, after) == run(steered, after)
    assert restored.state_dict() == steered.state_dict()


def test_a_state_does_not_change_afterwards() -> None:
    steered = controller(delay=3)
    run(steered, [0.1, 0.2])
    state = steered.state_dict()
    kept = json.dumps(state)
    restored = controller(delay=3)
    restored.load_state_dict(state)
    run(steered, [0.9] * 5)
    run(restored, [0.4] * 5)
    assert json.dumps(state) == kept


# --- the config ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"risk_low": 0.08}, r"risk_low \(0.08\) must be below risk_high \(0.08\)"),
        ({"risk_low": 0.5}, "must be below risk_high"),
        ({"ratio_init": 0.21}, r"ratio_init \(0.21\) must lie between ratio_min \(0.0\) and ratio_max \(0.2\)"),
        ({"ratio_min": 0.06}, "ratio_init .* must lie between"),
        ({"ratio_min": 0.3}, "ratio_init .* must lie between"),
        ({"ratio_max": 1.5}, "ratio_max"),
        ({"ratio_min": -0.1}, "ratio_min"),
        ({"risk_high": 1.1}, "risk_high"),
        ({"risk_low": -0.1}, "risk_low"),
        ({"step_up": -0.1}, "step_up"),
        ({"step_down": math.nan}, "step_down"),
        ({"smoothing": 0}, "smoothing"),
        ({"smoothing": 1.1}, "smoothing"),
        ({"every": 0}, "every"),
        ({"every": 1.5}, "every"),
        ({"delay": -1}, "delay"),
        ({"alpha": 0.5}, "alpha"),
        ({"gain": 0.5}, "gain: without effect with rule: threshold"),
        ({"rule": "proportional", "risk_low": 0.01}, "risk_low: without effect with rule: proportional"),
    ],
)
def test_bad_constants_raise(fields: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CanaryControllerConfig(**fields)


def test_bounds_may_coincide_with_the_initial_ratio() -> None:
    steered = controller(ratio_min=0.1, ratio_init=0.1, ratio_max=0.1)
    assert run(steered, [1.0, 0.0, 0.0]) == [0.1] * 3


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValidationError):
        CanaryControllerConfig().delay = 3  # type: ignore[misc]
