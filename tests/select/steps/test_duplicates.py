"""The step that takes out repeats."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import project
from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import conversation
from ringfence.select.base import STEPS, Candidate, Context
from ringfence.select.steps.duplicates import Duplicates

LONG = "Water the roses in the morning, since wet leaves dry by noon and do not rot in the cool of the night."


class Rows:
    """A table in memory."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._rows = [
            Candidate(place, conversation({"prompt": prompt, "completion": answer}, f"pool.jsonl:{place + 1}"))
            for place, (prompt, answer) in enumerate(pairs)
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def candidates(self) -> Iterator[Candidate]:
        yield from self._rows


def gather(pairs: Sequence[tuple[str, str]], **settings: Any) -> tuple[list[int], dict[str, Any]]:
    gathered = Duplicates(**settings).gather(Rows(pairs), Context())  # type: ignore[arg-type]
    assert gathered.keep.dtype == np.int64
    json.dumps(gathered.report)
    return gathered.keep.tolist(), dict(gathered.report)


PAIRS = [
    ("How do I keep roses?", LONG),
    ("how do I  keep ROSES?", LONG),  # exact, folded
    ("How do I keep roses?", LONG.replace("night", "evening")),  # near
    ("How do I keep roses?", "Ask a gardener."),
    ("How do I bake bread?", "With flour."),
]


def test_the_first_of_each_stays() -> None:
    keep, report = gather(PAIRS)
    assert keep == [0, 3, 4]
    assert report["repeats"] == {"exact": 1, "near": 1}
    assert report["examples"] == [
        "pool.jsonl:2 repeats pool.jsonl:1 (exact)",
        "pool.jsonl:3 repeats pool.jsonl:1 (near)",
    ]


def test_exact_only_and_other_thresholds() -> None:
    assert gather(PAIRS, near=False)[0] == [0, 2, 3, 4]
    assert gather(PAIRS, threshold=1.0)[0] == [0, 2, 3, 4]


def test_over_prompts_or_answers() -> None:
    assert gather(PAIRS, over="prompt")[0] == [0, 4]
    assert gather([("Red?", LONG), ("Blue?", LONG), ("Red?", "No.")], over="answer")[0] == [0, 2]


def test_against_another_set(tmp_path: Path) -> None:
    """A row that repeats the other set's prompt goes, whatever its answer, and does not hide a row behind it."""
    questions = project.write_jsonl(tmp_path / "evaluation.jsonl", [{"prompt": "How do I  bake bread?"}])
    step = Duplicates(against=str(questions))
    step.check()
    assert step.inputs() == [str(questions)]
    keep, report = gather([*PAIRS, ("Bake?", "With flour.")], against=str(questions))
    assert keep == [0, 3, 5]
    assert report["repeats"] == {"exact": 1, "near": 1, "against_exact": 1, "against_near": 0}
    assert report["examples"][-1] == f"pool.jsonl:5 repeats a prompt of {questions} (against_exact)"


def test_nearly_a_prompt_of_another_set(tmp_path: Path) -> None:
    questions = project.write_jsonl(tmp_path / "evaluation.jsonl", [{"prompt": LONG}])
    pairs = [(LONG.replace("night", "evening"), "Yes."), ("What?", LONG)]
    assert gather(pairs, against=str(questions)) == (
        [1],
        {
            "repeats": {"exact": 0, "near": 0, "against_near": 1, "against_exact": 0},
            "examples": [f"pool.jsonl:1 repeats a prompt of {questions} (against_near)"],
        },
    )
    assert gather(pairs, against=str(questions), near=False)[0] == [0, 1]


def test_a_pool_without_repeats_is_left_as_it_is() -> None:
    keep, report = gather([(f"What is a {word}?", f"A {word}.") for word in project.WORDS])
    assert keep == list(range(len(project.WORDS)))
    assert report == {"repeats": {"exact": 0, "near": 0}, "examples": []}


def test_the_report_names_a_few_only() -> None:
    _, report = gather([("Same?", "Same.")] * 50)
    assert report["repeats"]["exact"] == 49
    assert len(report["examples"]) == 20


def test_it_is_a_step() -> None:
    assert STEPS.get("duplicates") is Duplicates
    step = STEPS.parse({"duplicates": {"threshold": 0.7}}, "steps[0]")
    assert isinstance(step, Duplicates)
    assert step.gathers
    assert not step.maps
    assert step.inputs() == []


@pytest.mark.parametrize("settings", [{"threshold": 0}, {"threshold": 2}, {"threshold": True}, {"over": "rows"}])
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Duplicates(**settings)


def test_another_set_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="no such file"):
        Duplicates(against=str(tmp_path / "absent.jsonl")).check()
