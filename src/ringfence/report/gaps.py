"""How far one run's rate is from another's: prompt by prompt where both have the same."""

from ringfence.core.rates import Rate
from ringfence.report.counts import paired
from ringfence.report.results import RunResult


def gap_between(run: RunResult, other: RunResult, suite: str, metric: str) -> Rate:
    """The rate of ``run`` minus that of ``other``, a fraction; NaN where one of them has none.

    It is :func:`ringfence.core.comparisons.paired_difference` where both were asked the same prompts and have the
    answers, else the difference of the rates by :class:`~ringfence.core.rates.Rate`.
    """
    found = paired(run.by_prompt.get(suite), other.by_prompt.get(suite), metric)
    if found and found.n:
        return Rate.of(found)
    return run.rates.get((suite, metric), Rate()) - other.rates.get((suite, metric), Rate())
