"""The paper's own example (Kaczer et al., appendix E), worked by hand.

K = 3, 10,000 candidates, 6,000 examples a run, 100 runs, R = 9, 80 GPU-hours of fine-tuning:
4 x 10,000 / (9 x 6,000 x 100) = 40,000 / 5,400,000 = 0.0074074, times 80 = 0.5926 GPU-hours.
As printed, with the counts swapped: 4 x 6,000 / (9 x 10,000 x 100) = 0.0026667, times 80 = 0.2133.
"""

import pytest

from ringfence.select.cost import overhead


def test_the_papers_example() -> None:
    assert 80 * overhead(3, 10_000, 6_000, 100) == pytest.approx(0.5926, abs=1e-4)
    assert 80 * overhead(3, 6_000, 10_000, 100) == pytest.approx(0.2133, abs=1e-4)


def test_more_candidates_cost_more_and_more_runs_share_it() -> None:
    assert overhead(1, 200, 100) == 2 * overhead(1, 100, 100) == 4 * overhead(1, 100, 100, runs=2)
    assert overhead(1, 9, 2, training_to_inference=9) == 1.0


@pytest.mark.parametrize("counts", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, 0)])
def test_nothing_to_divide_by_raises(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        overhead(*counts)
