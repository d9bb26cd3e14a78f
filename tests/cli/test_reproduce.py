"""``ringfence reproduce``: a table at toy scale from its graph to its files, and bad input."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

import project
import sweeps
import tiny
from judged_runs import ringfence
from ringfence.core.errors import RingfenceError
from ringfence.sweep import engines
from ringfence.sweep.steps import DONE_FILE, STEP_FILE

pytestmark = pytest.mark.usefixtures("wide")
SMALL = {"training.max_steps": 1, "evaluation.max_new_tokens": 4, "lora.layers_to_transform": None}


class Here:
    """An engine and its handle: each step is done at once, in this process, which has all imports."""

    slots = 1

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys, self.made = capsys, list[str]()

    def start(self, folder: Path) -> "Here":
        about = json.loads((folder / STEP_FILE).read_text())
        for command in about["commands"]:
            code, _, err = project.in_process(self.capsys, *command)
            assert code == 0, err
        (folder / DONE_FILE).write_text('{"seconds": 1, "attempts": 1}')
        self.made.append(about["label"])
        return self

    def has_ended(self) -> bool:
        return True

    def fault(self) -> str:
        return ""

    def stop(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """A folder whose toy scale is of a random model, and an engine in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    tiny.model().save_pretrained(tmp_path / "tiny-model")
    tiny.tokenizer().save_pretrained(tmp_path / "tiny-model")
    toy = yaml.safe_load((sweeps.ROOT / "recipes/toy.yaml").read_text())
    toy |= {"model": {"name": "tiny-model"}, "changes": toy["changes"] | SMALL}
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/toy.yaml").write_text(yaml.safe_dump(toy))
    engine = Here(capsys)
    monkeypatch.setattr(engines, "engine_of", lambda *_: engine)
    monkeypatch.setattr("ringfence.sweep.runner.EVERY", 0)
    return engine


def reproduced(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    arguments: Sequence[str] = ("fars-2026/table-1", "--scale", "toy", "--only", "canary-*", *more)
    code, printed = ringfence(capsys, "reproduce", *arguments, "--out", "out")
    assert code == 0
    return printed


def test_a_table_at_toy_scale(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    printed = reproduced(capsys)
    assert here.made == ["base of canary-s42", "canary-s42"]
    assert "TOY SCALE, not the paper's table: no defense" in printed
    markdown, table, latex = (Path(f"out/table-1.toy.{suffix}").read_text() for suffix in ("md", "csv", "tex"))
    assert markdown.startswith("**TOY SCALE, not the paper's table: ")
    assert "| canary | general/misaligned_all | " in markdown
    assert "TOY SCALE" in latex
    assert table.splitlines()[0] == "scale,row,column,measured,low,high,spread,runs"
    assert table.splitlines()[1].startswith("toy,canary,general/misaligned_all,")
    assert "| canary | ratio/last | " in markdown
    for text in (printed, markdown, table, latex):
        assert "published" not in text
        assert "19.37" not in text, "the paper's number"
    reproduced(capsys, "--measured")
    assert len(here.made) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a table"),
        (("fars-2026/table-9",), "no such table"),
        (("fars-2026/table-1", "--seeds", "4"), r"--seeds 4: .*table-1\.yaml has 3"),
        (("kaczer-2025/table-7", "--scale", "toy"), r"table-7\.yaml: nothing of it has a stand-in: there is one size"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(RingfenceError, match=said):
        ringfence(capsys, "reproduce", *arguments)
