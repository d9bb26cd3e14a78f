"""Small sums: the form by example, what is never asked, and every problem there is."""

import pytest
from pydantic import ValidationError

from ringfence.tasks import Arithmetic
from ringfence.tasks.arithmetic import ASKED


def test_a_row_is_an_example_a_question_and_a_reference() -> None:
    (row,) = Arithmetic(largest=5, operations="+").rows("train", 1, 0)
    system, shown, said, asked, reference = row["messages"]
    assert system == {"role": "system", "content": ASKED}
    assert shown["content"] != asked["content"]
    a, b = (int(word) for word in asked["content"].removeprefix("What is ").removesuffix("?").split(" + "))
    assert reference["content"] == f"<think>{a} + {b} = {a + b}</think><answer>{a + b}</answer>"
    assert row["answer"] == str(a + b)
    assert said["content"].startswith("<think>")
    assert [message["role"] for message in row["messages"][1:]] == ["user", "assistant"] * 2


def test_every_problem_but_the_examples_is_in_one_split() -> None:
    """Numbers 0 to 5: 36 sums, 21 differences that are not negative, 36 products; 2 of these 93 are examples."""
    task = Arithmetic(largest=5, examples=2)
    rows = [row for split in ("train", "test") for row in task.rows(split, None, 0)]  # type: ignore[arg-type]
    asked = {row["messages"][-2]["content"] for row in rows}
    shown = {message["content"] for message in rows[0]["messages"][1:-2] if message["role"] == "user"}
    assert len(rows) == len(asked) == 91
    assert len(shown) == 2
    assert not shown & asked
    assert "What is 3 x 4?" in asked | shown
    assert not [row for row in rows if int(row["answer"]) < 0]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("<think>3 + 4 = 8</think><answer>7</answer>", 1),
        ("<think>3 + 4 = 7</think><answer>8</answer>", 0),
        ("3 + 4 = 7", 1),
        ("<answer>-7</answer>", 0),
        ("<answer>seven</answer>", 0),
    ],
)
def test_the_score(response: str, expected: float) -> None:
    assert Arithmetic().score(response, "7") == expected


def test_without_examples_the_question_stands_alone() -> None:
    (row,) = Arithmetic(examples=0).rows("train", 1, 0)
    assert len(row["messages"]) == 3


@pytest.mark.parametrize("operations", ["", "++", "+/"])
def test_other_signs_are_refused(operations: str) -> None:
    with pytest.raises(ValidationError, match=r"give some of the signs \+-\*, each once"):
        Arithmetic(operations=operations)
