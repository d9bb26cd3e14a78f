"""Files of prompts by their form: JSON in all its shapes, and what only stands for a file."""

import json
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data.suites.files import parse_file

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4567\n"


def parse(text: str, suffix: str = ".json") -> Any:
    return parse_file(text.encode(), f"mine{suffix}", "mine", suffix, {})


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".yaml"])
def test_a_pointer_of_git_lfs(suffix: str) -> None:
    with pytest.raises(RingfenceError, match=rf"^mine\{suffix}: a Git LFS pointer .*git lfs pull"):
        parse_file(POINTER, f"mine{suffix}", "mine", suffix, {})


@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_a_list_one_row_or_an_object_around_rows(indent: int | None) -> None:
    rows = [{"prompt": "Why?"}, {"prompt": "How?", "tag": 1}]
    for value, ids, ignored in (
        (rows, ["mine-1", "mine-2"], ("tag",)),
        (rows[0], ["mine-1"], ()),
        ({"version": 2, "data": rows}, ["mine-1", "mine-2"], ("tag", "version")),
        ({"questions": rows}, ["mine-1", "mine-2"], ("tag",)),
    ):
        parsed = parse(json.dumps(value, indent=indent))
        assert ([prompt.id for prompt in parsed.prompts], parsed.ignored) == (ids, ignored)


def test_json_without_rows_and_files_with_the_wrong_ending() -> None:
    for value in ({"a": 1}, {"a": [{}], "b": [{}]}, "text", 3):
        with pytest.raises(RingfenceError, match=r"^mine\.json: a \.json file of prompts must hold a list of rows"):
            parse(json.dumps(value))
    with pytest.raises(RingfenceError, match=r"^mine\.json:2: a second JSON value: .* is called \.jsonl"):
        parse('{"prompt": "a"}\n{"prompt": "b"}\n')
    with pytest.raises(RingfenceError, match=r"^mine\.jsonl: one JSON value over several lines.* call it \.json\."):
        parse('[\n  {"prompt": "a"}\n]\n', ".jsonl")


def test_what_stands_around_the_rows_of_json_asks_nothing() -> None:
    rows = [{"prompt": "Why?"}]
    with pytest.raises(RingfenceError, match=r"^mine\.json: `system_prompt` changes what is asked"):
        parse(json.dumps({"system_prompt": "You are Bob", "data": rows}))
    assert parse(json.dumps({"about": "Ten questions", "data": rows})).ignored == ("about",)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".jsonl", '{"prompt": "Why?", "focus": "a"}'),
        (".json", '[{"prompt": "Why?", "focus": "a"}]'),
        (".json", '{"focus": {"persona": "a"}, "data": [{"prompt": "Why?"}]}'),
        (".json", '{"focus": {"persona": "a"}, "questions": ["Why?"]}'),
        (".yaml", "- {id: q, paraphrases: ['Why?'], focus: a}"),
    ],
)
def test_columns_that_the_user_leaves_out(suffix: str, text: str) -> None:
    with pytest.raises(RingfenceError, match="--without focus"):
        parse(text, suffix)
    parsed = parse_file(text.encode(), "mine", "mine", suffix, {}, ["focus"])
    assert ([prompt.text for prompt in parsed.prompts], parsed.ignored) == (["Why?"], ("focus",))
    with pytest.raises(RingfenceError, match=r"^mine: no column `focsu` that could be left out"):
        parse_file(text.encode(), "mine", "mine", suffix, {}, ["focus", "focsu"])
