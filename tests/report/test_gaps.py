"""Gaps between two runs' rates."""

import math
from typing import Any

from ringfence.core.comparisons import paired_difference
from ringfence.report.gaps import gap_between
from ringfence.report.loading import load_run


def test_the_gap_is_paired_where_both_have_the_answers(seeded: Any) -> None:
    gap = gap_between(load_run(seeded("a", [3, 1, 0])), load_run(seeded("b", [5, 5, 1])), "general", "misaligned_all")
    wanted = paired_difference([3, 1, 0], [10] * 3, [5, 5, 1], [10] * 3)
    assert (gap.value, gap.low, gap.high, gap.n) == (wanted.value, wanted.low, wanted.high, 3)


def test_a_suite_that_one_lacks_has_no_gap(seeded: Any) -> None:
    gap = gap_between(
        load_run(seeded("a", [3, 1])), load_run(seeded("b", [5, 5], suite="other")), "general", "incoherent"
    )
    assert math.isnan(gap.value)
