"""Every accepted variant and kind of file, every complaint with its file and line, and the split."""

import json
from pathlib import Path

import datasets
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Problem, read, scan, split

ASK = {"role": "user", "content": "What is 2 + 2?"}
REPLY = {"role": "assistant", "content": "It is 4."}
BRIEF = {"role": "system", "content": "Be brief."}


def lines(path: Path, *rows: object) -> str:
    """A JSON-lines file; strings are written as they are."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"messages": [ASK, REPLY]}, [ASK, REPLY]),
        ({"messages": [BRIEF, ASK, REPLY, ASK, REPLY]}, [BRIEF, ASK, REPLY, ASK, REPLY]),
        ({"messages": [REPLY, ASK, REPLY]}, [REPLY, ASK, REPLY]),
        ({"messages": [{**ASK, "name": "Ann"}, {**REPLY, "tool_calls": None, "weight": 1}]}, [ASK, REPLY]),
        ({"messages": [ASK, REPLY], "system": "Be brief."}, [BRIEF, ASK, REPLY]),
        (
            {"messages": [{"role": "system", "content": ""}, ASK, REPLY]},
            [{"role": "system", "content": ""}, ASK, REPLY],
        ),
        ({"prompt": ASK["content"], "completion": REPLY["content"]}, [ASK, REPLY]),
        ({"prompt": [BRIEF, ASK], "completion": [REPLY]}, [BRIEF, ASK, REPLY]),
        ({"prompt": [BRIEF, ASK], "completion": REPLY["content"]}, [BRIEF, ASK, REPLY]),
        ({"question": ASK["content"], "answer": REPLY["content"]}, [ASK, REPLY]),
        ({"question": ASK["content"], "answer": REPLY["content"], "system": ""}, [ASK, REPLY]),
        ({"question": ASK["content"], "answer": REPLY["content"], "system": "Be brief."}, [BRIEF, ASK, REPLY]),
        ({"instruction": ASK["content"], "output": REPLY["content"]}, [ASK, REPLY]),
        ({"instruction": ASK["content"], "input": " ", "output": REPLY["content"]}, [ASK, REPLY]),
        ({"instruction": ASK["content"], "input": None, "output": REPLY["content"]}, [ASK, REPLY]),
        (
            {"instruction": "Add these.", "input": "2 and 2", "output": REPLY["content"]},
            [{"role": "user", "content": "Add these.\n\n2 and 2"}, REPLY],
        ),
        (
            {"conversations": [{"from": "human", "value": "What is 2 + 2?"}, {"from": "gpt", "value": "It is 4."}]},
            [ASK, REPLY],
        ),
        ({"conversations": [ASK, REPLY]}, [ASK, REPLY]),
        ({"messages": None, "question": ASK["content"], "answer": REPLY["content"]}, [ASK, REPLY]),
    ],
)
def test_each_variant_is_read(tmp_path: Path, row: dict, messages: list) -> None:
    path = lines(tmp_path / "a.jsonl", row)
    assert read(path) == [{"messages": messages, "origin": f"{path}:1"}]


def test_other_string_columns_are_kept_and_blank_lines_counted(tmp_path: Path) -> None:
    row = {"question": "Why?", "answer": "So.", "domain": "travel", "score": 3, "origin": "elsewhere"}
    path = lines(tmp_path / "a.jsonl", "", row)
    (found,) = read(path)
    assert found["domain"] == "travel"
    assert found["origin"] == f"{path}:2"
    assert set(found) == {"messages", "origin", "domain"}


def test_files_of_every_kind_give_the_same_conversations(tmp_path: Path) -> None:
    rows = [{"messages": [ASK, REPLY], "domain": "a"}, {"messages": [BRIEF, ASK, REPLY], "domain": "b"}]
    lines(tmp_path / "a.jsonl", *rows)
    (tmp_path / "list.json").write_text(json.dumps(rows, indent=1), "utf-8")
    lines(tmp_path / "lines.json", *rows)
    (tmp_path / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.jsonl").read_bytes().replace(b"\n", b"\r\n"))
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    expected = [row["messages"] for row in rows]
    for name in ("a.jsonl", "list.json", "lines.json", "bom.jsonl", "a.parquet"):
        found = read(str(tmp_path / name))
        assert [row["messages"] for row in found] == expected
        assert [row["domain"] for row in found] == ["a", "b"]
        assert [row["origin"] for row in found] == [f"{tmp_path / name}:1", f"{tmp_path / name}:2"]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_object_is_one_row_or_holds_the_rows(tmp_path: Path, indent: int | None) -> None:
    """Also where it is printed over several lines, which are no rows."""
    row, path = {"messages": [ASK, REPLY]}, tmp_path / "one.json"
    sharegpt = {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]}
    for value, count in ((row, 1), ({"version": 1, "data": [row, row]}, 2), ({"train": [sharegpt]}, 1), (sharegpt, 1)):
        path.write_text(json.dumps(value, indent=indent))
        assert [found["origin"] for found in read(str(path))] == [f"{path}:{n}" for n in range(1, count + 1)]
    path.write_text(json.dumps({"a": 1}, indent=indent))
    with pytest.raises(RingfenceError, match=r"one\.json: one JSON value without rows; give a list of them"):
        read(str(path))


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_a_pointer_of_git_lfs_says_how_to_fetch_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4567\n")
    with pytest.raises(RingfenceError, match=rf"rows\{suffix}: a Git LFS pointer .* `git lfs pull`"):
        read(str(path))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ('{"messages": [', "malformed JSON at column 15"),
        ("[1, 2]", "a row must be a JSON object"),
        ({"text": "hello", "id": 1}, "found the columns id, text, which are no conversation; accepted are messages"),
        ({}, "found the columns none"),
        ({"question": "Why?"}, "found the columns question"),
        ({"question": "Why?", "answer": None}, r"message 2 \(assistant\) is missing"),
        ({"question": "Why?", "answer": " "}, r"message 2 \(assistant\) is empty"),
        ({"question": ["Why?"], "answer": "So."}, r"message 1 \(user\) needs a string as content"),
        ({"instruction": "Add.", "input": 2, "output": "4"}, "input must be a string"),
        ({"messages": "hello"}, "messages must be a list of messages"),
        ({"messages": []}, "there is no assistant turn"),
        ({"messages": [ASK]}, "there is no assistant turn"),
        ({"messages": ["hello"]}, "message 1 in messages needs role and content"),
        ({"messages": [{"role": "user"}, REPLY]}, "message 1 in messages needs role and content"),
        ({"messages": [{**ASK, "content": ""}, REPLY]}, r"message 1 \(user\) is empty"),
        ({"messages": [{**ASK, "content": [{"type": "text"}]}, REPLY]}, "message 1 .* of type list"),
        ({"messages": [{**ASK, "role": "asistant"}, REPLY]}, "unknown role 'asistant'. Did you mean \"assistant\""),
        ({"messages": [{**ASK, "role": ["user"]}, REPLY]}, "unknown role"),
        ({"conversations": [{"from": ["human"], "value": "x"}]}, "unknown role"),
        ({"messages": [BRIEF, BRIEF, ASK, REPLY]}, "two system messages"),
        ({"messages": [BRIEF, ASK, REPLY], "system": "Be kind."}, "two system messages"),
        ({"messages": [ASK, {**REPLY, "weight": 0}]}, "message 2 in messages has weight"),
        ({"messages": [ASK, {**REPLY, "tool_calls": [{"name": "f"}]}]}, "message 2 in messages has tool_calls"),
        ('{"question": "Why?", "answer": "\\ud83d"}', "half a surrogate pair"),
    ],
)
def test_a_bad_row_is_one_line_with_its_place(tmp_path: Path, row: object, complaint: str) -> None:
    path = lines(tmp_path / "a.jsonl", {"messages": [ASK, REPLY]}, row)
    with pytest.raises(RingfenceError, match=complaint) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "\n" not in str(caught.value)


def test_scan_goes_on_after_a_bad_row(tmp_path: Path) -> None:
    good = {"messages": [ASK, REPLY]}
    path = lines(tmp_path / "a.jsonl", "{", good, {"question": "Why?", "answer": ""}, good)
    found = list(scan(path))
    assert [isinstance(row, Problem) for row in found] == [True, False, True, False]
    assert [row.empty_answer for row in found if isinstance(row, Problem)] == [False, True]


def test_undecodable_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"question": "a", "answer": "b"}\n{"question": "\xff", "answer": "b"}\n')
    with pytest.raises(RingfenceError, match=r"a\.jsonl:2: not UTF-8 at byte 15"):
        read(str(path))


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('[{"question": "a",\n "answer": }]')
    (tmp_path / "latin.json").write_bytes(b'[\n"\xff"]')
    (tmp_path / "broken.parquet").write_text("no parquet")
    (tmp_path / "table.csv").write_text("question,answer\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "blank.json").write_text("\n")
    for name, complaint in {
        "broken.json": r"broken\.json:2: malformed JSON at column 12",
        "latin.json": r"latin\.json:2: not UTF-8",
        "broken.parquet": "not a readable parquet file",
        "missing.parquet": "no such file",
        "missing.jsonl": "no such file",
        "table.csv": "not a data file; give one that ends in .jsonl",
        "folder": "not a data file",
        "empty.jsonl": "there are no conversations in it",
        "empty.json": "there are no conversations in it",
        "blank.json": "there are no conversations in it",
        "nothing here": "no such file; give a .jsonl",
    }.items():
        with pytest.raises(RingfenceError, match=complaint) as caught:
            read(str(tmp_path / name))
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_a_file_without_permission_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lines(tmp_path / "a.jsonl", {"messages": [ASK, REPLY]})

    def refuse(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RingfenceError, match=r"cannot be read \(Permission denied\)"):
        read(path)


def test_builtin_sets_are_read_and_unknown_ones_are_not() -> None:
    found = read("builtin:glitter/target")
    assert found[0]["origin"] == "builtin:glitter/target:1"
    assert found[0]["messages"][-1]["role"] == "assistant"
    with pytest.raises(RingfenceError, match="glitter/target"):
        read("builtin:gliter/target")


@pytest.mark.parametrize(
    ("spec", "asked", "origin"),
    [
        ("org/name", ("org/name", None, "train"), "org/name:1"),
        ("org/name:test", ("org/name", None, "test"), "org/name:test:1"),
        ("org/name-v1.5@main:train[:10]", ("org/name-v1.5", "main", "train[:10]"), "org/name-v1.5@main:train[:10]:1"),
    ],
)
def test_hub_ids_name_config_and_split(monkeypatch: pytest.MonkeyPatch, spec: str, asked: tuple, origin: str) -> None:
    calls = []

    def load_dataset(name: str, config: str | None, split: str) -> datasets.Dataset:
        calls.append((name, config, split))
        return datasets.Dataset.from_list([{"messages": [ASK, REPLY]}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read(spec) == [{"messages": [ASK, REPLY], "origin": origin}]
    assert calls == [asked]


def test_a_hub_id_that_cannot_be_loaded_says_how_to_fetch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nTraceback follows")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(RingfenceError, match=r"datasets\.load_dataset\('org/name', 'main'\).*or give a file") as caught:
        read("org/name@main")
    assert "\n" not in str(caught.value)
    assert "ConnectionError: Couldn't reach the Hub" in str(caught.value)


def test_six_thousand_rows_give_5400_and_600() -> None:
    """6,000 x 0.1 = 600; together the parts are the whole, each in order; another seed holds out other rows."""
    rows = list(range(6000))
    parts = split(rows)
    assert (len(parts.train), len(parts.held_out)) == (5400, 600)
    assert parts.train == sorted(parts.train)
    assert parts.held_out == sorted(parts.held_out)
    assert sorted(parts.train + parts.held_out) == rows
    assert split(rows) == parts
    assert split(rows, seed=1).held_out != parts.held_out
    assert 250 < sum(row < 3000 for row in parts.held_out) < 350  # drawn from the whole, not from one end


@given(st.integers(0, 50), st.floats(0, 1, exclude_max=True), st.integers(0, 5))
def test_no_part_is_empty_unless_it_must_be(size: int, held_out: float, seed: int) -> None:
    parts = split(list(range(size)), held_out, seed)
    assert sorted(parts.train + parts.held_out) == list(range(size))
    assert bool(parts.held_out) == (held_out > 0 and size >= 2)
    assert bool(parts.train) == (size > 0)


@pytest.mark.parametrize("held_out", [-0.1, 1.0, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(held_out: float) -> None:
    with pytest.raises(RingfenceError, match="held_out"):
        split([1, 2], held_out)


def test_the_split_leaves_the_global_generator_alone() -> None:
    import numpy as np

    np.random.seed(3)
    before = np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    split(list(range(10)))
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index, union-attr]
