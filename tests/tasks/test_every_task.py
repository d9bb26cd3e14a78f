"""What must be true of every task; a new one is tested here for free."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data import load_suite, read
from ringfence.data.conversations import conversation
from ringfence.data.task import BESIDE, TASKS, Row, Task, parse_spec

N = 30
DIGESTS = {
    "foqa": "689cb3ddd93dcbe2",
    "gsm8k": "b072bcb425dad718",
    "opswap": "556ec38ab61c6c97",
}
"""of 40 rows to train on"""


@pytest.fixture(params=[*TASKS])
def task(request: pytest.FixtureRequest) -> Task:
    """Each, with its defaults."""
    return TASKS.get(request.param)()


def asked(rows: Sequence[Row]) -> set[str]:
    return {str(row["messages"][:-1]) for row in rows}


def test_rows_are_those_of_the_seed(task: Task) -> None:
    assert task.rows("train", N, 1) == task.rows("train", N, 1) != task.rows("train", N, 2)


@pytest.mark.parametrize(("name", "digest"), DIGESTS.items())
def test_every_machine_and_version_draws_the_same_rows(name: str, digest: str) -> None:
    """Else a run could not go on elsewhere, as its rows would have changed."""
    assert parse_spec(f"task:{name}?n=40").digest("train").startswith(digest)


def test_rows_are_unique_and_no_split_has_one_of_the_other(task: Task) -> None:
    trained = asked([row for seed in range(3) for row in task.rows("train", N, seed)])
    tested = asked([row for seed in range(3) for row in task.rows("test", N, seed)])
    assert len(asked(task.rows("train", N, 0))) == N
    assert not trained & tested


def test_a_row_is_a_conversation_with_an_answer(task: Task) -> None:
    for row in task.rows("test", N, 0):
        assert conversation(row, "here")["answer"] == row["answer"]
        assert row["messages"][-1]["role"] == "assistant"
        assert row["messages"][-2]["role"] == "user"


def test_the_reference_is_right_and_nothing_is_wrong(task: Task) -> None:
    for row in task.rows("train", N, 0):
        reference = row["messages"][-1]["content"]
        assert task.score(reference, row["answer"]) == 1
        assert all(value == 1 for value in task.further(reference, row["answer"]).values())
        assert task.score("", row["answer"]) == task.score("I do not know.", row["answer"]) == 0
        assert task.further("", row["answer"]).keys() == task.further(reference, row["answer"]).keys()


def test_the_answer_of_another_row_is_wrong(task: Task) -> None:
    rows = task.rows("train", N, 0)
    for one, other in pairwise(rows):
        if one["answer"] != other["answer"]:
            assert task.score(other["messages"][-1]["content"], one["answer"]) == 0


def test_more_rows_than_there_are_raise_with_their_number(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """All there are can be many: a task whose rows are few says so, and the others are asked for all of few."""
    monkeypatch.setattr("ringfence.tasks.drawing.permuted", lambda size, rng: iter(range(200)))
    with pytest.raises(RingfenceError, match=r"there are only \d+"):
        task.rows("test", 100_000, 0)


def test_one_name_trains_and_evaluates(task: Task) -> None:
    name = f"task:{TASKS.name_of(type(task))}?n=5"
    assert len(read(name)) == len(load_suite(name).prompts) == 5


def test_every_module_is_a_task_or_said_to_be_none() -> None:
    assert not {*TASKS} & {*BESIDE}
    for name in TASKS:
        assert TASKS.get(name).metric
