"""Several data sets one after the other: their names, and values taken apart by set."""

from pathlib import Path

import numpy as np
import pytest

import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.directions.sets import locate, read_marks, read_sets
from ringfence.models import Loaded


def write(path: Path, *prompts: str) -> str:
    path.parent.mkdir(exist_ok=True)
    return str(project.write_jsonl(path, [{"prompt": prompt, "completion": "Yes."} for prompt in prompts]))


def test_sets_are_taken_apart_as_they_were_put_together(tmp_path: Path) -> None:
    sets = read_sets([write(tmp_path / "one.jsonl", "Hi?", "No?"), write(tmp_path / "two.jsonl", "Why so?")])
    assert sets.names == ("one", "two")
    assert len(sets) == 3
    assert sets.labels == ["one", "one", "two"]
    assert [row["messages"][0]["content"] for row in sets.rows] == ["Hi?", "No?", "Why so?"]
    assert [part.tolist() for part in sets.of(np.array([[1], [2], [3]]))] == [[[1], [2]], [[3]]]


def test_stems_that_are_not_distinct_stay_paths(tmp_path: Path) -> None:
    specs = [write(tmp_path / name / "rows.jsonl", "Hi?") for name in ("a", "b")]
    assert read_sets(specs).names == tuple(specs)
    assert read_sets(["builtin:glitter/safe"]).names == ("builtin:glitter/safe",)


def test_a_set_given_twice(tmp_path: Path) -> None:
    spec = write(tmp_path / "one.jsonl", "Hi?")
    with pytest.raises(RingfenceError, match=r"one.jsonl: is given twice; leave one out"):
        read_sets([spec, spec])


def test_prompts_are_marks_without_an_answer() -> None:
    marks = read_marks(["builtin:general"])
    assert marks[0]["origin"].startswith("builtin:general:")
    assert all(mark["messages"][-1]["role"] == "user" for mark in marks)
    loaded = Loaded(tiny.model(), tiny.tokenizer(), "tiny")
    points = locate(loaded, marks, [1])
    assert points.layers[1].shape == (len(marks), 16)
    wanted = [sum(len(m["content"].encode()) for m in mark["messages"] if m["role"] == "user") for mark in marks]
    assert points.tokens.tolist() == wanted  # a byte is a token


def test_where_a_model_lies_is_nobodys_business(tmp_path: Path) -> None:
    assert Loaded(tiny.model(), tiny.tokenizer(), str(tmp_path)).name == tmp_path.name
    assert Loaded(tiny.model(), tiny.tokenizer(), "org/name").name == "org/name"
