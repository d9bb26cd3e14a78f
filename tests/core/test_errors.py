"""Suggestions for a name that is nearly right."""

from hypothesis import given
from hypothesis import strategies as st

from ringfence.core.errors import RingfenceError, did_you_mean


def test_it_is_a_value_error():
    assert issubclass(RingfenceError, ValueError)


def test_the_nearest_name_is_suggested():
    assert did_you_mean("canery", ["kl", "canary", "ldifs"]) == ' Did you mean "canary"?'


def test_far_from_all_lists_them_sorted():
    assert did_you_mean("zzz", ["kl", "canary"]) == " Known: canary, kl."


def test_nothing_known_says_nothing():
    assert did_you_mean("kl", []) == ""


def test_an_iterator_is_read_once():
    assert did_you_mean("zzz", iter(["b", "a"])) == " Known: a, b."


@given(st.sets(st.text("abcxyz", min_size=1)), st.text("abcxyz", min_size=1))
def test_a_known_name_is_its_own_nearest_and_all_is_one_line(known, name):
    assert did_you_mean(name, known | {name}) == f' Did you mean "{name}"?'
    assert "\n" not in did_you_mean(name, known)
