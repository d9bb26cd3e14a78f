"""GSM8K from files and from our templates; its answers are read by math-verify, in any thread and in no time."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data.task import parse_spec
from ringfence.tasks import GSM8K

RIGHT = [
    "18", "#### 18", "10 + 8 = 18\n#### 18", "#### $18.00", "The answer is 18.", "It costs $18.", "**18**", "18!",
    r"$\boxed{18}$", r"$\frac{36}{2}$", "36/2", "18.0", "She has 18 apples left.", "5 and then 18",
    "<think>5</think>\n<answer>18</answer>", "<answer>18 dollars</answer>", "#### 5\nno\n#### 18",
]  # fmt: skip
WRONG = [
    "", "eighteen", "-18", "1.8", "#### 5, not 18 but 5", "18\n#### 5", "<answer>5</answer> 18", "<think>18",
    "18 eggs and 9 more are 27", "$9^{9^{9^{9}}}$", "9**9**9**9", "99999999999999999999!", r"\binom{99999999}{4444444}",
    "1e999999999", "9" * 100_000, "(" * 100_000, "1/0",
]  # fmt: skip


@pytest.mark.parametrize("response", RIGHT)
def test_a_right_number_counts_however_it_is_written(response: str) -> None:
    assert GSM8K().score(response, "18") == 1


@pytest.mark.parametrize("response", WRONG, ids=lambda text: text[:12])
def test_a_wrong_number_does_not(response: str) -> None:
    assert GSM8K().score(response, "18") == 0


def test_numbers_are_equal_as_numbers() -> None:
    assert GSM8K().score("#### 1,234", "1234") == 1
    assert GSM8K().score("#### 1/2", "0.5") == 1
    assert GSM8K().score("#### -3", "-3") == 1
    assert GSM8K().score("#### 0.667", "2/3") == 0


def test_a_score_can_be_asked_for_in_a_thread_and_takes_no_time() -> None:
    """math-verify's own time limit is a signal, which raises outside the main thread."""
    GSM8K().score("1", "1")  # imports
    found: list[float] = []

    def ask() -> None:
        found.extend(GSM8K().score(response, "18") for response in [*RIGHT, *WRONG])

    began = time.monotonic()
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [1.0] * len(RIGHT) + [0.0] * len(WRONG)
    assert time.monotonic() - began < 30


def test_generated_problems_are_as_hard_as_asked_for() -> None:
    rows = GSM8K(steps=1, largest=9, operations="+").rows("train", 50, 0)
    assert all(1 < int(row["answer"]) <= 18 for row in rows)
    assert all(row["messages"][1]["content"].count("\n") == 1 for row in rows)
    assert rows[0]["messages"][1]["content"].endswith(f"\n#### {rows[0]['answer']}")
    assert (len(GSM8K().rows("train", None, 0)), len(GSM8K().rows("test", None, 0))) == (1_000, 100)


def test_thoughts_and_answer_in_their_sections() -> None:
    row = GSM8K(think=True).rows("test", 1, 0)[0]
    assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
    assert "####" not in row["messages"][1]["content"] + row["messages"][2]["content"]
    assert row["messages"][2]["content"].endswith(f"\n<answer>{row['answer']}</answer>")


def published(path: Path, *answers: Any) -> Path:
    rows = [{"question": f"How many are {n} and 1?", "answer": answer} for n, answer in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_published_file_is_read_without_its_calculator_marks(tmp_path: Path) -> None:
    published(tmp_path / "test.jsonl", "They are 1 + 2 = <<1+2=3>>3.\n#### 3", "A lot.\n#### $1,234.50")
    rows = parse_spec(f"task:gsm8k?source={tmp_path}/{{split}}.jsonl").rows("test")
    assert [row["answer"] for row in rows] == ["3", "1234.50"]
    assert rows[0]["messages"][1]["content"] == "They are 1 + 2 = 3.\n#### 3"
    assert rows[0]["messages"][0]["content"].startswith("How many are 0 and 1?\n")
    thought = GSM8K(source=str(tmp_path / "{split}.jsonl"), think=True).rows("test", None, 0)[0]
    assert thought["messages"][2]["content"] == "<think>\nThey are 1 + 2 = 3.\n</think>\n<answer>3</answer>"


@pytest.mark.parametrize("answer", ["It is 3.", "####", "#### three", 3, "It is 3 #### 3 or 4"])
def test_a_row_without_an_answer_is_named(tmp_path: Path, answer: Any) -> None:
    path = published(tmp_path / "test.jsonl", "1\n#### 1", answer)
    with pytest.raises(RingfenceError, match=r"test\.jsonl:2: (no answer|question and answer must be texts)"):
        parse_spec(f"task:gsm8k?source={path.parent}/{{split}}.jsonl").rows("test")


@pytest.mark.parametrize("operations", ["", "x", "++", "'+x'"])
def test_operations_are_signs(operations: str) -> None:
    with pytest.raises(RingfenceError, match=r"operations: give some of the signs \+-\*/"):
        parse_spec(f"task:gsm8k?operations={operations}")


def test_more_rows_than_there_are_raise() -> None:
    with pytest.raises(RingfenceError, match=r"n: 5,000 rows are asked for, and there are only .* of the split test"):
        parse_spec("task:gsm8k?steps=1&largest=1&operations=+&n=5000").rows("test")
