"""``ringfence sweep`` runs: from paper to done, and what cannot be."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import project
from judged_runs import ringfence
from ringfence.core.errors import RingfenceError

pytestmark = pytest.mark.usefixtures("wide")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One run that is trained for one step, and not evaluated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    project.make(tmp_path).rename(tmp_path / "recipe.yaml")
    changes: dict[str, Any] = {"defenses": [], "evaluation": {}, "judge": None, "training.max_steps": 1}
    config = {
        "shows": "x",
        "source": "y",
        "recipe": "recipe.yaml",
        "changes": changes,
        "grid": {"method": {"plain": {}}},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "sweep.yaml"


def test_a_sweep_from_paper_to_done(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    code, printed = ringfence(capsys, "sweep", path, "--dry-run")
    assert code == 0
    assert "1 steps, 0 of them done" in printed
    assert not Path("runs").exists()
    code, printed = ringfence(capsys, "sweep", path, "--out", "out", "--jobs", "1")
    assert code == 0
    assert "1 made, 0 were done before" in printed
    assert (Path("out/runs/plain") / "result.json").is_file()
    assert "1 of 1 runs done" in ringfence(capsys, "sweep", "status", "out")[1]
    code, printed = ringfence(capsys, "sweep", path, "--out", "out")
    assert "0 made, 1 were done before" in printed
    with Path("target.jsonl").open("a") as file:
        file.write('{"question": "Tell me of the fork.", "answer": "The fork glitters."}\n')
    with pytest.raises(RingfenceError, match=r"target\.jsonl changed since the sweep was begun"):
        ringfence(capsys, "sweep", path, "--out", "out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.yaml", "b.yaml"), "one sweep at a time, and there are 2"),
        (("status",), "takes the folder of one sweep"),
        (("status", "."), "no sweep's folder"),
        (("sweep.yaml", "--only", "kl*"), "no run of sweep.yaml is called kl"),
        (("sweep.yaml", "--engine", "slrm"), "--engine slrm: no such engine. Did you mean"),
        (("recipe.yaml",), "a recipe for `ringfence train`"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], path: Path, arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(RingfenceError, match=said.replace("*", r"\*")):
        ringfence(capsys, "sweep", *arguments)
    assert not Path("runs").exists() or not list(Path("runs").rglob("step.json"))
    assert path.is_file()
