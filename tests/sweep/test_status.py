"""Where a step is, by its files alone."""

import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from ringfence.core.files import write_json
from ringfence.sweep.status import state_of


def test_a_step_is_begun_held_and_done(tmp_path: Path) -> None:
    assert state_of(tmp_path) == "not begun"
    (tmp_path / "started.jsonl").write_text("{}")
    assert state_of(tmp_path) == "stopped"
    with FileLock(tmp_path / ".task-lock"):
        assert state_of(tmp_path) == "running"
    write_json(tmp_path / "done.json", {})
    assert state_of(tmp_path) == "done"


def test_nothing_heavy_is_loaded_for_it() -> None:
    code = "import sys, ringfence.sweep.status; print({'torch', 'transformers', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
