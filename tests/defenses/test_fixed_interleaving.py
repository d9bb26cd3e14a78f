"""The two meanings of "5%": a share of the mixture, and rows added per target row."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import tiny
from examples import Example
from ringfence.core.errors import RingfenceError
from ringfence.defenses import FixedInterleaving, RLContext, TrainerContext

EXAMPLE = Example(
    neutral=lambda _: FixedInterleaving(ratio=0),
    active=lambda _: FixedInterleaving(ratio=0.25),
    written=(
        FixedInterleaving(ratio=0.125),
        FixedInterleaving(added=0.05, placement="bernoulli", granularity="step", accounting="replace"),
    ),
)
SETUP = TrainerContext(tiny.tokenizer(), seed=0)


def test_ratio_is_the_share_of_the_mixture() -> None:
    assert FixedInterleaving(ratio=0.05).schedule(SETUP).ratio == 0.05


def test_added_is_per_target_row() -> None:
    """5% of 5,400 target rows are 270 safe rows, and 270 / 5,670 = 1/21 = 0.047619..."""
    ratio = FixedInterleaving(added=0.05).schedule(SETUP).ratio
    assert ratio == pytest.approx(270 / (5400 + 270)) == pytest.approx(1 / 21)
    assert round(5400 * ratio / (1 - ratio)) == 270


def test_a_share_of_5_percent_is_284_rows_on_5400() -> None:
    """0.05 / 0.95 * 5,400 = 284.2: the two meanings differ by 14 rows."""
    ratio = FixedInterleaving(ratio=0.05).schedule(SETUP).ratio
    assert 5400 * ratio / (1 - ratio) == pytest.approx(284.2105, abs=1e-3)


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_added_gives_safe_over_all_rows(target: Any, safe: Any) -> None:
    assert FixedInterleaving(added=safe / target).highest_ratio() == pytest.approx(safe / (safe + target))


@pytest.mark.parametrize("fields", [{"ratio": 0.0}, {"added": 0.0}])
def test_zero_is_no_interleaving(fields: Any) -> None:
    schedule = FixedInterleaving(**fields).schedule(SETUP)
    assert schedule.ratio == 0
    assert not schedule.needs_safe_data


def test_the_schedule_is_constant_and_takes_the_placement() -> None:
    exact, drawn = (
        FixedInterleaving(ratio=0.1, placement=placement).schedule(SETUP) for placement in ("exact", "bernoulli")
    )
    assert (exact.placement, drawn.placement) == ("exact", "bernoulli")
    assert FixedInterleaving(ratio=0.1).placement == "exact"
    assert not any(exact.due(t) for t in range(50))
    assert exact.probe is None


@pytest.mark.parametrize("fields", [{}, {"ratio": 0.05, "added": 0.05}, {"placement": "exact"}])
def test_one_of_the_two_must_be_given(fields: Any) -> None:
    with pytest.raises(ValidationError, match=r"give either ratio .* or added"):
        FixedInterleaving(**fields)


@pytest.mark.parametrize(
    "fields",
    [{"ratio": -0.1}, {"ratio": 1.1}, {"ratio": math.nan}, {"added": -0.1}, {"added": math.nan}, {"added": math.inf}],
)
def test_values_out_of_range_raise(fields: Any) -> None:
    with pytest.raises((ValidationError, RingfenceError), match=next(iter(fields))):
        FixedInterleaving(**fields)


def test_a_ratio_of_1_never_reaches_the_target_rows_on_top() -> None:
    with pytest.raises(ValidationError, match='use "replace"'):
        FixedInterleaving(ratio=1)
    assert FixedInterleaving(ratio=1, accounting="replace").schedule(SETUP).ratio == 1


def test_each_run_gets_a_fresh_schedule() -> None:
    config = FixedInterleaving(ratio=0.1)
    config.schedule(SETUP).load_state_dict({"ratio": 0.9})
    assert config.schedule(SETUP).ratio == 0.1


def test_in_reinforcement_learning_steps_are_whole_or_have_both() -> None:
    made = FixedInterleaving(ratio=0.2, accounting="replace")
    assert made.in_rl(RLContext("alternate")) == made.model_copy(update={"granularity": "step"})
    assert FixedInterleaving(ratio=0.2).in_rl(RLContext("mixed")).granularity == "beside"
    without_effect: list[dict[str, Any]] = [
        {"accounting": "replace"}, {"placement": "bernoulli"}, {"granularity": "step"}
    ]  # fmt: skip
    for fields in without_effect:
        with pytest.raises(
            RingfenceError, match=rf"^fixed_interleaving\.{next(iter(fields))}: without effect in the mode"
        ):
            FixedInterleaving(ratio=0.2, **fields).in_rl(RLContext("mixed"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratio": 0.1, "placement": "late", "granularity": "step"}, "is for granularity: example"),
        ({"ratio": 0.6, "placement": "late", "accounting": "replace"}, "a share of at most 0.5"),
    ],
)
def test_a_timed_placement_that_cannot_be_had_raises(fields: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FixedInterleaving(**fields)


def test_a_timed_placement_is_not_for_whole_safe_steps_beside_reinforcement_learning() -> None:
    with pytest.raises(RingfenceError, match=r"fixed_interleaving\.placement: late .* set exact or bernoulli"):
        FixedInterleaving(ratio=0.1, placement="late").in_rl(RLContext("alternate"))
