"""Suggestions for a name that is nearly right, and keys before messages."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.core.errors import RingfenceError, did_you_mean, error_prefix


def test_it_is_a_value_error() -> None:
    assert issubclass(RingfenceError, ValueError)


def test_the_nearest_name_is_suggested() -> None:
    assert did_you_mean("canery", ["kl", "canary", "ldifs"]) == ' Did you mean "canary"?'


def test_far_from_all_lists_them_sorted() -> None:
    assert did_you_mean("zzz", ["kl", "canary"]) == " Known: canary, kl."


def test_nothing_known_says_nothing() -> None:
    assert did_you_mean("kl", []) == ""


def test_an_iterator_is_read_once() -> None:
    assert did_you_mean("zzz", iter(["b", "a"])) == " Known: a, b."


@given(st.sets(st.text("abcxyz", min_size=1)), st.text("abcxyz", min_size=1))
def test_a_known_name_is_its_own_nearest_and_all_is_one_line(known: Any, name: Any) -> None:
    assert did_you_mean(name, known | {name}) == f' Did you mean "{name}"?'
    assert "\n" not in did_you_mean(name, known)


@pytest.mark.parametrize(
    ("key", "said"), [("data.target", "data.target: a.jsonl: no such file"), ("", "a.jsonl: no such file")]
)
def test_a_key_is_put_before_our_own_messages(key: str, said: str) -> None:
    with pytest.raises(RingfenceError) as error, error_prefix(key):
        raise RingfenceError("a.jsonl: no such file")
    assert str(error.value) == said


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(ValueError, match=r"^inside$") as error, error_prefix("data.target"):
        raise ValueError("inside")
    assert type(error.value) is ValueError
