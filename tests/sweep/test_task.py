"""One step in a process: commands in turn, done written last, and nothing made twice."""

from pathlib import Path

import pytest

from ringfence.core.files import write_json
from ringfence.core.plain import read_json
from ringfence.sweep import task

WRITE = "import sys; open(sys.argv[1], 'a').write('x')"


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commands that each write to the product; for them Python itself stands in for ``ringfence``."""
    monkeypatch.setattr(task, "RINGFENCE", ())
    product = str(tmp_path / "run")
    write_json(tmp_path / "step.json", {"product": "run", "commands": [["-c", WRITE, product]] * 2})
    return tmp_path


def test_commands_run_in_turn_and_then_it_is_done(step: Path) -> None:
    assert task.run(step) == ""
    assert (step / "run").read_text() == "xx"
    assert read_json(step / "done.json")["seconds"] > 0
    assert task.run(step) == ""
    assert (step / "run").read_text() == "xx"  # the second time nothing is done


def test_a_product_that_is_gone_is_made_again(step: Path) -> None:
    task.run(step)
    (step / "run").unlink()
    task.run(step)
    assert (step / "run").read_text() == "xx"


def test_a_command_that_fails_ends_it(step: Path) -> None:
    fail = ["-c", "import sys; print('one'); sys.exit('no space left')"]
    write_json(step / "step.json", {"product": "run", "commands": [fail, ["-c", WRITE, str(step / "run")]]})
    assert task.run(step) == "no space left"
    assert not (step / "done.json").exists()
    assert not (step / "run").exists()
    assert task.last_lines(step) == ["one", "no space left"]
