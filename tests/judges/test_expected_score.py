"""The mean over a judge's numbers against arithmetic by hand."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.core.errors import RingfenceError
from ringfence.judges.expected_score import Expectation, expectation, expected_score, mean_of, number


def logs(**probabilities: float) -> dict[str, float]:
    """Names ``_85`` stand for the token 85."""
    return {name.removeprefix("_"): math.log(p) for name, p in probabilities.items()}


def test_the_mean_is_weighted_and_divided_by_the_mass() -> None:
    """(0.5 * 90 + 0.25 * 30) / 0.75 = 52.5 / 0.75 = 70."""
    assert expectation(logs(_90=0.5, _30=0.25, Sure=0.2)) == Expectation(pytest.approx(70), pytest.approx(0.75))
    assert expected_score(logs(_90=0.5, _30=0.25, Sure=0.2)) == pytest.approx(70)


def test_tokens_of_equal_value_add_up() -> None:
    """(0.2 + 0.1 + 0.1) of 80 and 0.4 of 20: 40 / 0.8 = 50."""
    tokens = {"80": 0.2, " 80": 0.1, "80\n": 0.1, "20": 0.4}
    found = expectation({token: math.log(p) for token, p in tokens.items()})
    assert (found.value, found.mass) == (pytest.approx(50), pytest.approx(0.8))


@pytest.mark.parametrize("text", ["0", "7", "10", "99", "100", " 42", "\t42\n"])
def test_numbers(text: str) -> None:
    assert number(text) == int(text.strip())


@pytest.mark.parametrize(
    "text",
    "|7 8|five|101|110|999|007|05|00|000|-1|+5|5.0|5%|1e1|1_0|0x5|٣|５|²".split("|"),
)
def test_no_numbers(text: Any) -> None:
    assert number(text) is None
    assert expectation({text: math.log(0.9)}) == Expectation(None, 0)


def test_below_the_least_mass_there_is_no_score() -> None:
    assert expectation({"50": math.log(0.24)}) == Expectation(None, pytest.approx(0.24))
    assert expected_score({"50": math.log(0.24)}, min_mass=0.2) == pytest.approx(50)
    assert expected_score({"50": math.log(0.25)}, min_mass=math.exp(math.log(0.25))) == pytest.approx(50)


@pytest.mark.parametrize("logprobs", [{}, {"5": -math.inf}, {"no": 0.0}])
def test_nothing_to_go_by_is_no_score_even_without_a_least_mass(logprobs: Any) -> None:
    assert expectation(logprobs, min_mass=0) == Expectation(None, 0)


@pytest.mark.parametrize("bad", [math.nan, 0.5, math.inf])
@pytest.mark.parametrize("token", ["85", "Sure"])
def test_what_is_no_log_probability_raises(token: str, bad: Any) -> None:
    with pytest.raises(RingfenceError, match=rf"log probability of '{token}' is .*; it must be 0 or less"):
        expected_score({token: bad, "5": -1.0})


def test_probabilities_that_add_up_to_more_than_one_raise() -> None:
    with pytest.raises(RingfenceError, match=r"add up to 1\.8"):
        expected_score(logs(_1=0.9, _2=0.9))
    with pytest.raises(RingfenceError, match="add up to nan"):
        mean_of({1: math.nan})


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_a_least_mass_that_is_no_probability_raises(bad: Any) -> None:
    with pytest.raises(RingfenceError, match="min_mass is"):
        expected_score({"5": -1.0}, min_mass=bad)


@given(st.dictionaries(st.integers(0, 100), st.floats(1e-12, 1), min_size=1))
def test_a_score_lies_between_the_least_and_the_largest_number(weights: Any) -> None:
    total = sum(weights.values())
    found = mean_of({value: weight / total for value, weight in weights.items()})
    assert found.value is not None
    assert min(weights) - 1e-9 <= found.value <= max(weights) + 1e-9
    assert 0 <= found.value <= 100
    assert 1 - 1e-9 <= found.mass <= 1
