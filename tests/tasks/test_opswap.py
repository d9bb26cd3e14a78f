"""Table 10 of the paper, unique problems in fixed splits, and an exact score."""

import time
from fractions import Fraction
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.tasks import OpSwap
from ringfence.tasks.expressions import parse, simplifications, write
from ringfence.tasks.opswap import evaluate_expression, generate

SUM = "(4 + 2) × (4 ÷ 2) - 2"
TABLE_10 = [
    f"{SUM} = 6 × (4 ÷ 2) - 2 = 6 × 2 - 2 = 12 - 2 = 10",
    f"{SUM} = 8 × (4 ÷ 2) - 2 = 8 × 2 - 2 = 10 - 2 = 8",
    f"{SUM} = 8 × (4 ÷ 2) - 2 = 8 × 2 - 2 = 8 × 1 = 9",
    f"{SUM} = 2 × (4 ÷ 2) - 2 = 2 × 6 - 2 = 1/3 - 2 = 2/3",
]


@pytest.mark.parametrize(("tier", "steps"), [*enumerate(TABLE_10)])
def test_the_example_of_table_10_in_every_tier(tier: int, steps: str) -> None:
    assert " = ".join(map(write, simplifications(parse(SUM), tier))) == steps
    assert evaluate_expression("(4 + 2) x (4 / 2) - 2", tier) == Fraction(steps.rpartition(" = ")[2])


def test_precedence_follows_the_meaning() -> None:
    """In tier 2, 8 x 2 - 2 means 8 + (2 / 2)."""
    assert evaluate_expression("8 x 2 - 2", 2) == 9
    assert evaluate_expression("8 * 2 - 2", 0) == 14


def test_ten_thousand_unique_problems_are_made_in_seconds() -> None:
    began = time.process_time()
    rows = generate(2, 10_000, seed=0)
    assert time.process_time() - began < 10
    assert len({row["expression"] for row in rows}) == len(rows) == 10_000
    assert [row["split"] for row in rows] == ["train"] * 9_000 + ["test"] * 1_000


@pytest.mark.parametrize("tier", range(4))
def test_a_row_has_the_problem_its_steps_and_its_answer(tier: int) -> None:
    for row in generate(tier, 100, seed=0):
        assert evaluate_expression(row["expression"], tier) == Fraction(row["answer"])
        assert row["completion"].startswith(f"{row['expression']} = ")
        assert row["completion"].endswith(f" = {row['answer']}")
        assert row["prompt"].endswith(row["expression"])
        assert len(row["completion"].split(" = ")) <= 4, "up to three steps"


def test_rows_are_those_of_the_seed() -> None:
    assert generate(1, 50, seed=3) == generate(1, 50, seed=3) != generate(1, 50, seed=4)
    rows, again = OpSwap(tier=1).rows("train", 45, 3), generate(1, 50, seed=3)
    assert [row["expression"] for row in rows] == [row["expression"] for row in again[:45]]


def test_no_seed_trains_on_what_another_is_tested_on() -> None:
    task = OpSwap(steps=1, largest=5)
    trained = {row["expression"] for seed in range(3) for row in task.rows("train", None, seed)}
    tested = {row["expression"] for seed in range(3) for row in task.rows("test", None, seed)}
    assert not trained & tested
    assert len(trained | tested) == 100, "4 signs x 5 x 5 sums, none of which divides by zero"


def test_steps_are_evenly_many_and_settings_hold() -> None:
    rows = generate(0, 300, seed=0, steps=3, largest=20)
    counts = [sum(len(row["completion"].split(" = ")) == steps + 1 for row in rows) for steps in (1, 2, 3)]
    assert counts == [100, 100, 100]
    plain = generate(0, 100, seed=0, parentheses=False, steps=2, largest=3)
    assert not any("(" in row["expression"] for row in plain)
    assert {digit for row in plain for digit in row["expression"] if digit.isdigit()} == {"1", "2", "3"}


def test_all_there_are_can_be_had_and_one_more_raises() -> None:
    """Tier 0, one step, numbers 1 to 3: 4 signs x 9."""
    assert len(generate(0, 36, steps=1, largest=3)) == 36
    with pytest.raises(RingfenceError, match=r"37 problems are asked for, .* only 36; ask for fewer"):
        generate(0, 37, steps=1, largest=3)
    task = OpSwap(steps=1, largest=3)
    sizes = {split: len(task.rows(split, None, 0)) for split in ("train", "test")}
    assert sum(sizes.values()) == 36
    with pytest.raises(RingfenceError, match=rf"only {sizes['test']} of the split test"):
        task.rows("test", sizes["test"] + 1, 0)


@pytest.mark.parametrize("n", [10**7, 10**12])
def test_far_too_many_are_refused_at_once(n: int) -> None:
    """Up to 3 operations on 1 to 9: 4 x 81, 3 x 16 x 729, and 11 x 64 x 6,561 sums, a tenth of them to test."""
    began = time.process_time()
    with pytest.raises(RingfenceError, match="there are only 4,654,260 at the most; ask for fewer"):
        generate(1, n)
    with pytest.raises(RingfenceError, match=r"there are only 47\d,\d{3} at the most; ask for fewer"):
        OpSwap(tier=1).rows("test", 500_000, 0)
    assert time.process_time() - began < 1


def test_thoughts_and_answer_in_their_sections() -> None:
    row = OpSwap(tier=1, think=True).rows("train", 1, 0)[0]
    system, question, completion = (turn["content"] for turn in row["messages"])
    assert "<think>" in system
    assert question.endswith(row["expression"])
    steps = " = ".join(map(write, simplifications(parse(row["expression"]), 1)))
    assert completion == f"<think>\n{steps}\n</think>\n<answer>{row['answer']}</answer>"
    assert OpSwap().score(f"<think>\n1 + 1 = 3\n</think>\n<answer>{row['answer']}</answer>", row["answer"]) == 1


def test_a_zero_on_the_way_leaves_a_problem_out() -> None:
    """Tier 2, two steps: - divides, so that a divisor in parentheses may be 0, as in 1 - (1 ÷ 1)."""
    rows = generate(2, 1_000, steps=2, largest=4)
    with pytest.raises(RingfenceError, match="divides by zero in tier 2"):
        evaluate_expression("1 - (1 ÷ 1)", 2)
    assert "1 - (1 ÷ 1)" not in {row["expression"] for row in rows}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tier": 4}, "tier: .*less than or equal to 3, got 4"),
        ({"tier": -1}, "tier: .*greater than or equal to 0"),
        ({"tier": True}, "tier: Input should be a number"),
        ({"tier": 0, "n": 0}, "n: 0 is not at least 1"),
        ({"tier": 0, "steps": 7}, "steps: .*less than or equal to 6"),
        ({"tier": 0, "largest": 0}, "largest: .*greater than or equal to 1"),
    ],
)
def test_wrong_settings_raise(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        generate(**{"n": 10, **settings})


@pytest.mark.parametrize("tier", [-1, 4, 1.5, True, "2"])
def test_an_expression_has_a_value_in_four_tiers(tier: Any) -> None:
    with pytest.raises(RingfenceError, match="is not one of the tiers 0 to 3"):
        evaluate_expression("1 + 1", tier)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (TABLE_10[3], "2/3"),
        ("= 4/6", "2/3"),
        ("= 4 / 6.", "2/3"),
        (r"so $x = \frac{2}{3}$", "2/3"),
        ("The answer is 0.5", "1/2"),
        ("= 10.", "10"),
        ("= **10**\n", "10"),
        ("= -3", "-3"),
        ("= − 3", "-3"),
        ("It is -7.", "-7"),
        ("= 1,000", "1000"),
        ("= 10, since 4 + 6 makes 10", "10"),
        ("2 + 3 is 5", "5"),
        ("= -1/3", "-2/6"),
    ],
)
def test_a_right_answer_counts_however_it_is_written(response: str, answer: str) -> None:
    assert OpSwap().score(response, answer) == 1


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("", "0"),
        ("no idea", "0"),
        ("= 0.667", "2/3"),
        ("= 12 - 2", "12"),
        ("12 - 2 =", "2"),
        ("= 12 × (1 + 1)", "12"),
        ("= 10 = 11", "10"),
        ("= 1/0", "1"),
        ("= 1e5", "1"),
        ("5 - 7", "-7"),
        ("= 10x", "10"),
        ("=" + "9" * 100_000, "9"),
    ],
)
def test_a_wrong_or_unfinished_answer_does_not(response: str, answer: str) -> None:
    assert OpSwap().score(response, answer) == 0
