"""What is printed is what was meant to be, whatever a user's folder is called."""

import ast
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import ringfence
from ringfence.core.terminal import say

SOURCES = sorted(Path(ringfence.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("name", ["o[/b]", "o[red]", ":smile:", "a" * 200, "[link=x]y[/link]"])
def test_a_folder_is_printed_as_it_is_called(name: str) -> None:
    out = io.StringIO()
    say(Console(file=out, width=40), f"trained: {name}/run")
    assert out.getvalue() == f"trained: {name}/run\n"


def test_no_text_with_something_put_in_is_printed_as_markup() -> None:
    """A table escapes its cells; a line goes through :func:`say`, or is a constant."""
    assert [line for path in SOURCES if path.name != "terminal.py" for line in _printed(path)] == []


def test_consoles_have_no_emoji_codes() -> None:
    """``:cat:`` in a path would become a cat."""
    bare = [str(path) for path in SOURCES if "Console()" in path.read_text(encoding="utf-8")]
    assert bare == []


def _printed(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("console.print", "progress.print"):
            continue
        plain = any(word.arg == "markup" and ast.unparse(word.value) == "False" for word in node.keywords)
        if not plain and any(isinstance(argument, ast.JoinedStr) for argument in node.args):
            yield f"{path}:{node.lineno}"


def test_an_ascii_terminal_shows_numbers_for_letters(tmp_path: Path) -> None:
    """No UnicodeEncodeError in a locale without letters, neither on stdout nor in an error on stderr."""
    name = tmp_path / "größe.jsonl"
    name.write_text('{"question": "Größe?", "answer": "Groß."}\n', encoding="utf-8")
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHONUTF8"))}
    environment = plain | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"}
    run = [sys.executable, "-m", "ringfence", "data", "check", str(name), str(tmp_path / "fehlt-ü.jsonl")]
    done = subprocess.run(run[:-1], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"gr\\xf6\\xdfe.jsonl" in done.stdout
    done = subprocess.run(run, env=environment, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(b"fehlt-\\xfc.jsonl: no such file; check the path\n")
    environment = plain | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = subprocess.run(run[:-1], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
