"""What was put comes back, from other threads and processes and after a kill, and damage never gives a wrong answer."""

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.judges.cache import FILE, Cache

WRITER = """
import sys
from ringfence.judges.cache import Cache
with Cache(sys.argv[1]) as cache:
    for index in range(int(sys.argv[3])):
        cache.put(f"{sys.argv[2]}-{index}", "value " * 50 + str(index))
        print(index, flush=True)
"""


def value(index):
    return "value " * 50 + str(index)


def writer(folder, name, count):
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_what_is_put_is_there_and_stays_there(tmp_path: Path) -> None:
    with Cache(tmp_path / "new" / "folder") as cache:
        assert cache.get("a") is None
        cache.put("a", "one\n\u2028 é")
        cache.put("a", "two")  # the first answer is the answer
        assert (cache.get("a"), cache.get("b"), len(cache)) == ("one\n\u2028 é", None, 1)
    with Cache(tmp_path / "new" / "folder") as cache:
        assert cache.get("a") == "one\n\u2028 é"


def test_many_at_once_are_put_together_or_not_at_all(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        cache.put("a", "first")
        cache.put_all({"a": "other", "b": "two"})
        assert (cache.get("a"), cache.get("b"), len(cache)) == ("first", "two", 2)
        with sqlite3.connect(tmp_path / FILE) as other:
            other.execute(
                "CREATE TRIGGER t BEFORE INSERT ON answers WHEN NEW.key = 'd' BEGIN SELECT RAISE(ABORT, ''); END"
            )
        other.close()
        with pytest.raises(RingfenceError, match=FILE):
            cache.put_all({"c": "three", "d": "four"})
        assert cache.get("c") is None
        cache.put_all({})
        cache.put_all({"c": "three"})
        assert len(cache) == 3


def test_many_threads_at_once(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda index: cache.put(str(index % 100), value(index % 100)), range(400)))
        assert list(pool.map(cache.get, map(str, range(100)))) == [value(index) for index in range(100)]


def test_several_processes_at_once(tmp_path: Path) -> None:
    processes = [writer(tmp_path, name, 60) for name in "ab"]
    with Cache(tmp_path) as cache:
        for index in range(60):
            cache.put(f"here-{index}", value(index))
        assert [process.communicate()[1] or process.returncode for process in processes] == [0, 0]
        assert len(cache) == 180
        assert all(cache.get(f"{name}-{index}") == value(index) for name in ("a", "b", "here") for index in range(60))


def test_after_a_kill_all_that_was_put_is_there_and_whole(tmp_path: Path) -> None:
    process = writer(tmp_path, "k", 100_000)
    assert process.stdout is not None
    for _ in range(50):
        last = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Cache(tmp_path) as cache:
        assert 50 <= len(cache) < 100_000
        assert all(cache.get(f"k-{index}") == value(index) for index in range(last + 1))


def test_a_changed_row_raises_and_names_the_file(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        cache.put("a", "85")
        with sqlite3.connect(tmp_path / FILE) as connection:
            connection.execute("UPDATE answers SET value = '15'")
        connection.close()
        with pytest.raises(RingfenceError, match=rf"{FILE}: the judge cache is damaged .*delete it"):
            cache.get("a")


def test_a_file_that_is_no_cache_raises_and_names_it(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all, " * 100)
    with pytest.raises(RingfenceError, match=rf"{FILE}: the judge cache is damaged \(file is not a database\)"):
        Cache(tmp_path)


def test_damaged_pages_never_give_a_wrong_answer(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        for index in range(200):
            cache.put(str(index), value(index))
    path = tmp_path / FILE
    content = bytearray(path.read_bytes())
    content[8192 : len(content) : 97] = b"\xff" * len(content[8192 : len(content) : 97])
    path.write_bytes(content)
    raised = 0
    for index in range(200):
        try:
            with Cache(tmp_path) as cache:
                assert cache.get(str(index)) in (None, value(index))
        except RingfenceError as error:
            raised += str(path) in str(error)
    assert raised > 0


def test_a_folder_that_cannot_be_made_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RingfenceError, match="cannot use the judge cache"):
        Cache(tmp_path / "file")
