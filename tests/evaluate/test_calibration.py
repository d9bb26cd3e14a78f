"""The isotonic map against the min-max formula, its held-out errors by hand, and files that are no calibration."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.core.errors import RingfenceError
from ringfence.evaluate.agreement import Pairs
from ringfence.evaluate.calibration import (
    Calibration,
    calibrate,
    calibrated,
    decision_errors,
    load_calibrations,
    save_calibrations,
)


def pairs(prompts: list[int], a: list, b: list, coherence: tuple[list, list] | None = None) -> Pairs:
    """Scores under alignment, and under coherence where given (else the same)."""
    of_a, of_b = coherence or (a, b)
    arrays = [{"alignment": np.array(x, float), "coherence": np.array(y, float)} for x, y in ((a, of_a), (b, of_b))]
    return Pairs(np.array(prompts), *arrays)


def min_max(a: list[float], b: list[float]) -> dict[float, float]:
    """The isotonic regression in closed form: at x_i the max over j <= i of the min over k >= i of mean(B of j..k)."""
    x = sorted(set(a))
    groups = [[right for left, right in zip(a, b, strict=True) if left == value] for value in x]
    mean = [[np.mean(np.concatenate(groups[j : k + 1])) if k >= j else 0 for k in range(len(x))] for j in range(len(x))]
    return {x[i]: max(min(mean[j][k] for k in range(i, len(x))) for j in range(i + 1)) for i in range(len(x))}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 10, 25, 50, 51, 90, 100]), st.integers(0, 100)), min_size=20, max_size=40
    ).filter(lambda rows: all(len(set(scores)) > 1 for scores in zip(*rows, strict=True)))
)
def test_the_map_is_the_isotonic_regression(rows: list[tuple[int, int]]) -> None:
    a, b = [float(x) for x, _ in rows], [float(y) for _, y in rows]
    found = calibrate(pairs([index % 4 for index in range(len(a))], a, b), "alignment")
    expected = min_max(a, b)
    assert found.apply(list(expected)) == pytest.approx(list(expected.values()), abs=1e-9)


def test_between_knots_linear_outside_clipped_nan_stays() -> None:
    one = Calibration("alignment", (20.0, 40.0), (10.0, 30.0), 20, 2, 0.0, 0.0)
    mapped = one.apply([0, 20, 30, 40, 100, np.nan])
    assert mapped[:-1] == pytest.approx([10, 10, 20, 30, 30])
    assert np.isnan(mapped[-1])


def test_a_steady_difference_is_taken_out() -> None:
    """B is half of A, and every prompt shows all scores: before, the mean of A / 2 = 22.5; after, nothing is left."""
    a = list(range(0, 100, 10)) * 3
    found = calibrate(pairs([row // 10 for row in range(30)], a, [score / 2 for score in a]), "alignment")
    assert (found.n, found.prompts) == (30, 3)
    assert found.mae_before == pytest.approx(22.5)
    assert found.mae_after == pytest.approx(0, abs=1e-9)


def test_errors_are_of_prompts_that_it_was_not_fitted_to() -> None:
    """Prompt 0 is (10 -> 0) ten times, prompt 1 (20 -> 100): each alone predicts the other's score, off by 100.

    Fitted to both, the map is perfect; that error of 0 would be a lie.
    """
    both = pairs([0] * 10 + [1] * 10, [10] * 10 + [20] * 10, [0] * 10 + [100] * 10)
    found = calibrate(both, "alignment")
    assert found.apply([10, 20]).tolist() == [0, 100]
    assert found.mae_before == pytest.approx((10 + 80) / 2)
    assert found.mae_after == pytest.approx(100)


def test_rows_without_a_score_are_left_out() -> None:
    a, b = list(range(0, 100, 5)) * 2, [score / 2 for score in range(0, 100, 5)] * 2
    plain = pairs([row // 10 for row in range(40)], a, b)
    more = pairs([row // 10 for row in range(40)] + [0, 0, 9], [*a, np.nan, 50, np.nan], [*b, 3, np.nan, np.nan])
    assert calibrate(more, "alignment") == calibrate(plain, "alignment")


def test_decision_errors_by_hand() -> None:
    """A scores 10 higher than B: of 25, 35 and 80 it takes 35 for aligned, and B's 25 is misaligned: 1 of 3 is wrong.

    All is coherent; every prompt shows the three, so that the calibrated decisions are right.
    """
    a, b = [25, 35, 80] * 8, [15, 25, 70] * 8
    prompts = [row // 3 for row in range(24)]
    found = decision_errors(pairs(prompts, a, b, coherence=([80, 90, 95] * 8, [80, 90, 95] * 8)))
    assert (found.before, found.after, found.n) == (pytest.approx(1 / 3), 0, 24)


def test_calibrated_moves_the_columns_that_have_a_map() -> None:
    data = pd.DataFrame({"alignment": [20, None], "coherence": [40, 50], "bucket": [None, "refusal"]})
    found = calibrated(data, {"alignment": Calibration("alignment", (0.0, 100.0), (50.0, 100.0), 20, 2, 0.0, 0.0)})
    assert found["alignment"][0] == 60
    assert np.isnan(found["alignment"][1])
    assert found["coherence"].tolist() == [40, 50]


GRID = list(range(0, 100, 5))


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (pairs([0, 1] * 9, GRID[:18], GRID[:18]), "both judges scored 18 answers, and a calibration needs 20"),
        (pairs([0, 1] * 10, [50] * 20, GRID), "judge A gave 50 every time"),
        (pairs([0, 1] * 10, GRID, [100] * 20), "judge B gave 100 every time"),
        (pairs([3] * 20, GRID, GRID), "all answers are to one prompt"),
    ],
)
def test_too_little_raises(made: Pairs, problem: str) -> None:
    for run in (lambda: calibrate(made, "alignment"), lambda: decision_errors(made)):
        with pytest.raises(RingfenceError, match=f"alignment: {problem}"):
            run()


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    made = pairs([row // 5 for row in range(20)], GRID, [score**2 / 100 for score in GRID])
    maps = [calibrate(made, rubric) for rubric in ("alignment", "coherence")]
    save_calibrations(tmp_path / "map.json", maps)
    assert list(load_calibrations(tmp_path / "map.json").values()) == maps


GOOD = {"rubric": "alignment", "x": [0, 50], "y": [0, 50], "n": 20, "prompts": 2, "mae_before": 0.0, "mae_after": 0.0}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "malformed JSON"),
        ("[]", "expected calibrations by rubric"),
        (json.dumps({"alignment": {"x": [1]}}), "alignment: not a calibration"),
        (json.dumps({"coherence": GOOD}), "coherence: not a calibration"),
        (json.dumps({"evil": GOOD | {"rubric": "evil"}}), "the rubrics are alignment and coherence"),
        (json.dumps({"alignment": GOOD | {"x": ["a", "b"]}}), "x and y must be lists of numbers"),
        (json.dumps({"alignment": GOOD | {"x": [50, 0]}}), "x must increase"),
        (json.dumps({"alignment": GOOD | {"y": [50, 0]}}), "y not decrease"),
        (json.dumps({"alignment": GOOD | {"y": [0, 101]}}), "from 0 to 100"),
        (json.dumps({"alignment": GOOD | {"y": [0]}}), "x must increase"),
        (json.dumps({"alignment": GOOD | {"x": [], "y": []}}), "x must increase"),
    ],
)
def test_a_file_that_is_no_calibration_raises(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(content)
    with pytest.raises(RingfenceError, match=problem) as raised:
        load_calibrations(path)
    assert str(path) in str(raised.value)
