"""What max_length does to rows: counted against lists cut by hand."""

import numpy as np
import pytest
from datasets import Dataset

from ringfence.core.errors import RingfenceError
from ringfence.data.cutting import cut_of, lengths_of

# Prompt and answer lengths: 3 + 2, 3 + 9, 10 + 2, 2 + 2 tokens.
ROWS = Dataset.from_list(
    [
        {"input_ids": list(range(prompt + answer)), "labels": [-100] * prompt + [7] * answer}
        for prompt, answer in ((3, 2), (3, 9), (10, 2), (2, 2))
    ]
)


def test_rows_are_cut_or_dropped_by_what_is_left_of_them() -> None:
    """At 6 tokens the second keeps 3 labels, the third none; at the end of both there are labels."""
    assert cut_of(ROWS, 6).counts() == {"given": 4, "truncated": 1, "dropped": 1}
    assert cut_of(ROWS, 6, keep_end=True).counts() == {"given": 4, "truncated": 2, "dropped": 0}
    assert cut_of(ROWS, 12).counts() == cut_of(ROWS, None).counts() == {"given": 4, "truncated": 0, "dropped": 0}
    assert lengths_of(ROWS).tolist() == [5, 12, 12, 4]
    assert lengths_of(ROWS.select([3, 0])).tolist() == [4, 5], "also of rows that were chosen from others"
    assert lengths_of(ROWS.select([])).dtype == np.int64


def test_the_log_says_how_many_and_what_would_do() -> None:
    assert cut_of(ROWS, 12).told() is None
    assert cut_of(ROWS, 6).told() == (
        "2 of 4 rows are longer than max_length 6: 1 cut, 1 dropped, since no label was left; "
        "max_length 12 would hold 95% of the rows, 12 all of them"
    )


def test_more_than_the_allowed_share_is_refused_with_count_and_key() -> None:
    cut_of(ROWS, 6).require(0.5)
    with pytest.raises(RingfenceError) as raised:
        cut_of(ROWS, 6).require(0.49)
    assert str(raised.value) == (
        "2 of 4 rows (50.0%) are longer than max_length 6: 1 would be cut and 1 dropped, and "
        "max_truncated allows 49.0%; max_length 12 would hold 95% of the rows, 12 all of them; raise max_length, "
        "or max_truncated"
    )
    with pytest.raises(RingfenceError, match=r"^max_length: 1 leaves no label in any of 4 rows"):
        cut_of(ROWS, 1).require(1.0)


def test_the_length_that_would_do_is_a_quantile_of_the_rows() -> None:
    """Of 1 to 100 tokens, 95 or fewer are in 95 rows (the quantile lies between 95 and 96, and rows are whole)."""
    rows = Dataset.from_list([{"input_ids": [1] * n, "labels": [1] * n} for n in range(1, 101)])
    told = cut_of(rows, 10).told()
    assert told is not None
    assert "max_length 96 would hold 95% of the rows, 100 all" in told
