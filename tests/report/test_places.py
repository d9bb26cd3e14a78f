"""A run has its place by its name."""

from itertools import permutations

from ringfence.report.places import places


def test_the_undefended_run_is_first_and_numbers_are_in_their_order() -> None:
    names = ["kl-10", "none", "kl-9.5", "KL-2", "canary", "10"]
    assert sorted(places(names), key=places(names).__getitem__) == ["none", "10", "canary", "KL-2", "kl-9.5", "kl-10"]


def test_the_order_of_the_names_says_nothing() -> None:
    assert len({tuple(sorted(places(names).items())) for names in permutations(["b", "none", "a", "a1"])}) == 1


def test_a_name_twice_has_one_place() -> None:
    assert places(["a", "b", "a"]) == {"a": 0, "b": 1}
