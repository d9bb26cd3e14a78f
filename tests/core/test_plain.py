"""Hostile JSON: each is one line, with file and line where there is a file."""

from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import (
    DEEPEST,
    LARGEST,
    JsonError,
    parse_json,
    read_json,
    refuse_pointer,
    refuse_pointer_at,
    require_plain,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested deeper than 100 levels"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested deeper than 100 levels"),
        ('{"a": ' * 200 + "1" + "}" * 200, "nested deeper than 100 levels"),
        ("[" + "9" * 5000 + "]", "an integer has more digits than can be read"),
        (r'{"a": "cut \ud83d"}', "half a surrogate pair"),
        (r'{"\uDC00": 1}', "half a surrogate pair"),
        (r'[{"a": ["\ud83d\ud83d\ude00"]}]', "half a surrogate pair"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8 at byte 8"),
        ("{", "malformed JSON at column 2"),
    ],
)
def test_what_cannot_be_read_is_one_short_line(text: str | bytes, message: str) -> None:
    with pytest.raises(JsonError, match=message) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 150
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * DEEPEST + "]" * DEEPEST, None),
        (r'"\ud83d\ude00"', "😀"),
        (str(10**4000), 10**4000),
        ("[" + ",".join(["[]"] * (LARGEST + 1)) + "]", [[]] * (LARGEST + 1)),
        (b'{"a": "\xc3\xb6"}', {"a": "ö"}),
    ],
)
def test_what_is_unusual_and_right_is_read(text: str | bytes, value: object) -> None:
    found = parse_json(text)
    assert value is None or found == value


def test_the_line_is_told() -> None:
    for text in ("[1,\n2,\n3", b"[1,\n2,\n\xff]"):
        with pytest.raises(JsonError) as caught:
            parse_json(text)
        assert caught.value.line == 3


def test_keys_that_stand_twice_are_told_at_any_depth() -> None:
    repeated: list[str] = []
    assert parse_json('{"a": 1, "b": [{"c": 1, "c": 2, "c": 3}], "a": 4}', repeated.append) == {"a": 4, "b": [{"c": 3}]}
    assert repeated == ["c", "a"]


def test_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(RingfenceError, match=r"a\.json: no such file; train again"):
        read_json(path, "train again")
    path.write_text("[\n" + "[" * 5000)
    with pytest.raises(RingfenceError, match=r"a\.json:1: nested deeper than 100 levels.*; train again"):
        read_json(path, "train again")
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}
    with pytest.raises(RingfenceError, match="cannot be read"):
        read_json(tmp_path)


def test_data_that_refers_to_itself_or_unfolds_without_end_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(RingfenceError, match="nested deeper"):
        require_plain(endless)
    unfolding: list[object] = ["lol"]
    for _ in range(30):  # 2 ** 30 values, as YAML's aliases make them of a few lines
        unfolding = [unfolding, unfolding]
    with pytest.raises(RingfenceError, match=f"more than {LARGEST:,} values"):
        require_plain(unfolding)
    require_plain({"a": [1, 2.0, None, True, {"b": "c"}]})


# --- Git LFS ------------------------------------------------------------------------------------------------


def test_a_pointer_of_git_lfs_is_told_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4567\n")
    with pytest.raises(RingfenceError, match=r"rows\.jsonl: a Git LFS pointer .* `git lfs pull`"):
        refuse_pointer_at(path)
    with pytest.raises(RingfenceError, match=r"^here: a Git LFS pointer"):
        refuse_pointer(path.read_bytes(), "here")
    with pytest.raises(RingfenceError, match=r"rows\.jsonl: a Git LFS pointer"):
        read_json(path)
    path.write_text("version 2\n")
    refuse_pointer_at(path)
    refuse_pointer(b"", "here")
    with pytest.raises(FileNotFoundError):
        refuse_pointer_at(tmp_path / "none")
