"""One name of a task trains and evaluates; what is wrong with a name is one line."""

from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data import load_suite, read
from ringfence.data.task import TASKS, Row, Split, Task, parse_spec
from ringfence.tasks import GSM8K, OpSwap


def test_a_spec_has_the_tasks_settings_and_which_rows() -> None:
    spec = parse_spec("task:opswap?tier=2&largest=5&split=train&n=7&seed=3")
    assert spec.task == OpSwap(tier=2, largest=5)
    assert (spec.name, spec.split, spec.n, spec.seed) == ("opswap", "train", 7, 3)
    assert parse_spec("task:opswap").task == OpSwap()


@pytest.mark.parametrize("signs", ["*", "-", "+-", "'*/'"])
def test_a_text_is_taken_as_it_stands(signs: str) -> None:
    assert parse_spec(f"task:gsm8k?operations={signs}").task == GSM8K(operations=signs.strip("'"))
    assert parse_spec("task:gsm8k?source=null&think=true").task == GSM8K(think=True)
    assert parse_spec("task:gsm8k?source=1: [x").task == GSM8K(source="1: [x")


def test_one_name_trains_and_evaluates() -> None:
    spec = "task:opswap?tier=1&n=20"
    rows, suite = read(spec), load_suite(spec)
    assert len(rows) == len(suite.prompts) == 20
    assert [row["origin"] for row in rows[:2]] == [f"{spec}:1", f"{spec}:2"]
    assert all(isinstance(row["answer"], str) for row in rows)
    tested = parse_spec(spec).rows("test")
    assert [[*prompt.messages] for prompt in suite.prompts] == [row["messages"][:-1] for row in tested]
    assert suite.prompts[0].id == "opswap-1"
    assert not {prompt.text for prompt in suite.prompts} & {row["messages"][0]["content"] for row in rows}


def test_a_spec_may_say_its_split() -> None:
    assert [row["messages"] for row in read("task:opswap?n=5&split=test")] == [
        row["messages"] for row in parse_spec("task:opswap?n=5").rows("test")
    ]


def test_the_digest_is_of_the_rows() -> None:
    one = parse_spec("task:opswap?n=5")
    assert one.digest("train") == parse_spec("task:opswap?n=5&split=train").digest("test")
    assert one.digest("test") == load_suite(one.text).digest != one.digest("train")
    assert parse_spec("task:opswap?n=5&tier=1").digest("test") != one.digest("test")
    assert (one.key("train"), parse_spec("task:opswap").key("test")) == (
        "task:opswap?n=5&split=train",
        "task:opswap?split=test",
    )
    assert parse_spec("task:opswap?split=test").key("train") == "task:opswap?split=test"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("opswap", "'opswap': a task is written task:NAME"),
        ("task:opswop", "task:opswop: unknown task 'opswop'. Did you mean \"opswap\"?"),
        ("task:opswap?tier=4", "task:opswap[?]tier=4: tier: .*less than or equal to 3, got 4"),
        ("task:opswap?teir=1", "unknown key 'teir'. Did you mean \"tier\"?"),
        ("task:opswap?sede=1", "unknown key 'sede'. Did you mean \"seed\"?"),
        ("task:opswap?tier=1&tier=1", "the key 'tier' stands twice"),
        ("task:opswap?tier", "'tier': a setting is key=value"),
        ("task:opswap?tier=[", "tier: '\\[' is not a YAML value"),
        ("task:opswap?tier.x=1", "unknown key 'tier.x'"),
        ("task:opswap?=1", "'': a setting is key=value"),
        ("task:opswap?split=valid", "split: Input should be 'train' or 'test', got 'valid'"),
        ("task:opswap?n=0", "n: .*greater than or equal to 1"),
        ("task:opswap?n=true", "n: Input should be a number, got true"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong(spec: str, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        parse_spec(spec)


def test_a_suite_of_a_task_has_no_placeholders() -> None:
    with pytest.raises(RingfenceError, match=r"no question has the placeholder \{x\}"):
        load_suite("task:opswap?n=1", {"x": "y"})


def test_a_task_without_its_prefix_is_guessed() -> None:
    with pytest.raises(RingfenceError, match=r"unknown suite 'opswap'. Did you mean \"task:opswap\"\?"):
        load_suite("opswap")


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> type[Task]:
    """A task whose second row has no answer."""

    class Lacking(Task):
        empty: bool = False

        def rows(self, split: Split, n: int | None, seed: int) -> list[Row]:
            turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
            return [] if self.empty else [{"messages": turns, "answer": "b"}, {"messages": turns, "answer": " "}]

        def score(self, response: str, answer: str) -> float:
            return float(response == answer)

    classes: dict[str, Any] = {**TASKS._classes, "lacking": Lacking}
    monkeypatch.setattr(TASKS, "_classes", classes)
    return Lacking


@pytest.mark.usefixtures("lacking")
def test_a_row_without_an_answer_raises() -> None:
    with pytest.raises(RingfenceError, match=r"^task:lacking: row 2 has no answer"):
        load_suite("task:lacking")
    with pytest.raises(RingfenceError, match="there are no rows of the split train"):
        read("task:lacking?empty=true")
