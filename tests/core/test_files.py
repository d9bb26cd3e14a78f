"""What a kill leaves behind: a whole file, the old file, or a journal without its torn last line."""

import errno
import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.core import files
from ringfence.core.errors import RingfenceError
from ringfence.core.files import (
    JsonlLog,
    atomic,
    cache_folder,
    jsonable,
    sha256,
    write_json,
    write_text,
)


def strict(text: str):
    """Parse JSON that holds no NaN and no infinity, which Python's reader lets pass."""

    def reject(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=reject)


# --- atomic -------------------------------------------------------------------------------------------------


def test_a_file_appears_whole_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.name == path.name  # writers that look at the suffix see the right one
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with atomic(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("w")
        assert not (tmp_path / "model").exists()
    assert [file.name for file in tmp_path.rglob("*")] == ["model", "weights"]


def test_writing_nothing_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "file.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_write_text_is_utf8_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    write_text(path, "née 茶\n")
    assert path.read_bytes() == "née 茶\n".encode()


# --- JSON ---------------------------------------------------------------------------------------------------


def test_write_json_holds_nan_as_null(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": [1.5, math.nan, (math.inf, -math.inf)], "é": None, "n": 3, "t": True})
    assert strict(path.read_text(encoding="utf-8")) == {
        "a": [1.5, None, [None, None]],
        "é": None,
        "n": 3,
        "t": True,
    }
    assert "é" in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").endswith("}\n")


def test_write_json_of_what_json_cannot_hold_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert strict(path.read_text()) == 1


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_LIKE)
def test_jsonable_always_makes_strict_json(value: Any) -> None:
    text = json.dumps(jsonable(value), allow_nan=False)
    assert strict(text) == jsonable(value)


# --- sha256 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sha256_of_a_file(tmp_path: Path, size: Any) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    assert sha256(tmp_path / "file") == hashlib.sha256(b"x" * size).hexdigest()


def test_sha256_of_a_folder_knows_names_and_contents_and_not_its_place(tmp_path: Path) -> None:
    def folder(name, **files):
        (tmp_path / name / "sub").mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / name / "sub" / file).write_text(text)
        return sha256(tmp_path / name)

    same = folder("one", a="1", b="2")
    assert folder("two", b="2", a="1") == same
    assert folder("three", a="2", b="1") != same
    assert folder("four", a="1", c="2") != same
    assert folder("five", a="1") != same


def test_sha256_of_a_folder_leaves_out_what_is_said_to_readers(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights").write_text("w")
    before = sha256(tmp_path)
    (tmp_path / "README.md").write_text("rates")
    assert sha256(tmp_path) == before
    (tmp_path / "inner" / "README.md").write_text("of something else")
    assert sha256(tmp_path) != before


def test_sha256_of_nothing_is_not_a_digest_of_nothing(tmp_path: Path) -> None:
    assert sha256(tmp_path) == hashlib.sha256().hexdigest()  # an empty folder


# --- journal ------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path) -> JsonlLog:
    return JsonlLog(tmp_path / "run" / "log.jsonl")


def test_journal_without_a_file_is_empty(journal: JsonlLog) -> None:
    assert journal.read() == []
    journal.truncate_after(3)
    assert not journal.path.exists()


def test_journal_appends(journal: JsonlLog) -> None:
    journal.append([{"step": 1, "loss": 2.5}, {"step": 2, "text": "two\nlines \u2028 é"}])
    journal.append([])
    journal.append(row for row in [{"step": 3, "loss": math.nan}])
    assert journal.read() == [
        {"step": 1, "loss": 2.5},
        {"step": 2, "text": "two\nlines \u2028 é"},
        {"step": 3, "loss": None},
    ]
    assert len(journal.path.read_text(encoding="utf-8").split("\n")) == 4  # three lines and what follows the last


def test_a_bad_row_writes_none_of_its_batch(journal: JsonlLog) -> None:
    journal.append([{"step": 1}])
    with pytest.raises(TypeError):
        journal.append([{"step": 2}, {"step": 3, "bad": object()}])
    assert journal.read() == [{"step": 1}]


def test_a_torn_last_line_is_left_out_at_every_cut(journal: JsonlLog) -> None:
    """Cut after every byte, inside a two-byte letter too: exactly the rows whose newline is there remain."""
    journal.append([{"step": 1, "text": "é"}, {"step": 2, "text": "é"}])
    whole = journal.path.read_bytes()
    for cut in range(len(whole) + 1):
        journal.path.write_bytes(whole[:cut])
        assert [row["step"] for row in journal.read()] == [1, 2][: whole[:cut].count(b"\n")]


def test_rewind_keeps_up_to_the_step_and_drops_a_torn_line(journal: JsonlLog) -> None:
    journal.append({"step": step, "text": "é"} for step in (1, 2, 2, 3))
    with journal.path.open("a", encoding="utf-8") as handle:
        handle.write('{"step": 4, "te')
    journal.truncate_after(2)
    assert [row["step"] for row in journal.read()] == [1, 2, 2]
    journal.append([{"step": 3}])
    assert [row["step"] for row in journal.read()] == [1, 2, 2, 3]


def test_rewind_without_a_step_raises_and_keeps_the_file(journal: JsonlLog) -> None:
    journal.append([{"loss": 1}])
    with pytest.raises(RingfenceError, match=r"log\.jsonl:1: no step, a whole number; remove the line"):
        journal.truncate_after(1)
    assert journal.read() == [{"loss": 1}]


def test_broken_json_before_the_last_line_raises(journal: JsonlLog) -> None:
    journal.append([{"step": 1}])
    journal.path.write_text('{"step": 1\n' + journal.path.read_text())
    with pytest.raises(RingfenceError, match=r"log\.jsonl:1: malformed JSON.*; remove the line"):
        journal.read()


@pytest.mark.parametrize("line", ["[1]", "3", "null"])
def test_a_row_that_is_no_object_raises(journal: JsonlLog, line: str) -> None:
    journal.append([{"step": 1}])
    journal.path.write_text(f"{line}\n{journal.path.read_text()}")
    for act in (journal.read, lambda: journal.truncate_after(1)):
        with pytest.raises(RingfenceError, match=r"log\.jsonl:1: expected a JSON object, found \w+; remove the line"):
            act()


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RINGFENCE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / "home" / ".cache" / "ringfence"
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # the XDG specification treats empty as unset
    assert cache_folder() == tmp_path / "home" / ".cache" / "ringfence"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "ringfence"
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


# --- what a kill leaves, and a full disk -----------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from ringfence.core.files import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("x")
    print(folder, flush=True)
    time.sleep(600)
"""


@contextmanager
def holding(parent: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process with a temporary folder in ``parent``, which looks as old as one that a kill left yesterday."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(parent)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        os.utime(folder, (0, 0))
        try:
            yield process, folder
        finally:
            process.kill()


def test_the_next_writer_clears_away_what_a_kill_left_and_nothing_that_is_in_use(tmp_path: Path) -> None:
    (tmp_path / ".tmp-mine").mkdir()
    (tmp_path / ".tmp-mine" / "thesis").touch()
    with holding(tmp_path) as (living, used), holding(tmp_path) as (dead, left):
        dead.kill()
        dead.wait()
        assert (left / "half").is_file()
        files._tidy_once.cache_clear()  # as in another process
        write_text(tmp_path / "new", "x")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".tmp-mine", used.name, "new"])
        assert living.poll() is None
    assert (tmp_path / ".tmp-mine" / "thesis").is_file()


def test_a_folder_that_is_just_being_made_is_let_alone(tmp_path: Path) -> None:
    """Its lock is there, and not yet held."""
    (tmp_path / ".tmp-a").mkdir()
    (tmp_path / ".tmp-a" / ".in-use").touch()
    files.remove_leftovers(tmp_path)
    assert (tmp_path / ".tmp-a").is_dir()
    os.utime(tmp_path / ".tmp-a", (0, 0))
    files.remove_leftovers(tmp_path)
    assert not (tmp_path / ".tmp-a").exists()


def test_on_a_full_disk_the_file_is_named_and_the_old_one_kept(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the system's own error, which names no file."""
    (tmp_path / "file").write_text("old")
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom ringfence.core.files import write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_text(Path(sys.argv[1]), 'x' * 5000)\nexcept OSError as error:\n    print(error.filename)\n"
    )
    path = str(tmp_path / "file")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == path
    assert (tmp_path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_another_fault_inside_names_no_file(tmp_path: Path) -> None:
    """A network's error is no fault of the file that is being written."""
    with pytest.raises(OSError, match="refused") as caught, atomic(tmp_path / "file"):
        raise OSError(errno.ECONNREFUSED, "refused")
    assert caught.value.filename is None
