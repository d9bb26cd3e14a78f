"""Tables that one sentence stands for."""

from typing import Any

from ringfence.report.folding import folded
from ringfence.report.loading import load_runs
from ringfence.report.tables import comparison


def rates(metric, *values, n=20):
    suites = ("general", "in-domain")
    return [
        dict(suite=suite, metric=metric, value=value, low=value, high=value + 0.1, n=n)
        for suite, value in zip(suites, values, strict=False)
    ]


def sentences(make_run, *rows):
    return folded(comparison(load_runs([make_run("none", rates=[row for part in rows for row in part])])))


def test_nothing_but_zeros_is_a_sentence_with_the_highest_bound(make_run: Any) -> None:
    found = sentences(make_run, rates("misaligned_all", 0.5, 1.0), rates("incoherent", 0.0, 0.0))
    assert found == {"incoherent": "Incoherent: 0.0% on every suite of every run; the highest upper bound is 10.0%."}


def test_the_leak_is_never_folded(make_run: Any) -> None:
    assert sentences(make_run, rates("misaligned_all", 0.0, 0.0)) == {}


def test_the_same_numbers_again_are_a_sentence(make_run: Any) -> None:
    again = sentences(make_run, rates("misaligned_all", 0.5, 1.0), rates("misaligned_coherent", 0.5, 1.0))
    assert again == {
        "misaligned_coherent": "Shows the trait, of coherent: the same as of all scored, since every scored answer was "
        "coherent."
    }


def test_other_denominators_are_other_numbers(make_run: Any) -> None:
    assert not sentences(make_run, rates("misaligned_all", 0.5), rates("misaligned_coherent", 0.5, n=18))


def test_a_rate_that_another_run_lacks_is_compared_where_it_is(make_run: Any) -> None:
    both = rates("misaligned_all", 0.5, 1.0)
    runs = [make_run("none", rates=both + rates("misaligned_coherent", 0.5, 1.0)), make_run("served", rates=both)]
    assert list(folded(comparison(load_runs(runs)))) == ["misaligned_coherent"]
