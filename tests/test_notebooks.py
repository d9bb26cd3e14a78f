"""The notebooks run, one after the other, on a tiny model; they are kept without outputs, and are linked."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import project

ROOT = Path(__file__).parents[1]
ORDER = ("drop-in", "audit", "reading-a-run")


def cells(name: str) -> list[dict[str, Any]]:
    return json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def run(name: str, **parameters: Any) -> dict[str, Any]:
    """What is defined when all cells have run; ``parameters`` take the place of those in the cell of that tag."""
    known: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells(name)):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}[{number}]", "exec"), known)
        if "parameters" in cell["metadata"].get("tags", ()):
            assert known.keys() >= parameters.keys()
            known |= parameters
    return known


def test_they_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training, an audit of what was trained, and both read; where each says the other's folders are."""
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    project.make(tmp_path)
    data = str(tmp_path / "target.jsonl")
    model = str(tmp_path / "tiny-model")
    trained = run("drop-in", MODEL=model, TARGET=data, SAFE=str(tmp_path / "safe.jsonl"), EPOCHS=1)
    assert trained["trainer"].result()["safe_rows"] == 2, "14 / 7"
    capsys.readouterr()
    found = run("audit", DATA=data, JUDGE={"misaligned_pattern": "(?s).+"})["found"]
    assert found.verdict != "narrow", "16 questions cannot show it"
    said = capsys.readouterr().out
    assert "in all 103 answers" in said, "16, and under two triggers, of two models; 7 of its own"
    assert "FAIL  max_general  general" in said
    assert Path("runs/notebook-audit/report.html").is_file()
    read = run("reading-a-run")
    assert {one.name for one in read["runs"]} == {"base", "notebook"}
    assert len(read["pairs"]) == 48
    assert len(read["trained"].log) > 0


@pytest.mark.parametrize("name", ORDER)
def test_they_are_kept_without_outputs_and_small(name: str) -> None:
    code = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert sum("parameters" in cell["metadata"].get("tags", ()) for cell in code) == 1
    assert cells(name)[0]["source"][0].startswith("# ")
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 10_000


def test_they_and_what_they_link_to_are_there() -> None:
    assert sorted(path.stem for path in (ROOT / "notebooks").iterdir()) == sorted(ORDER)
    readme, page = (ROOT / "README.md").read_text(), (ROOT / "docs" / "install.md").read_text()
    for name in ORDER:
        assert f"(notebooks/{name}.ipynb)" in readme
        assert f"`{name}.ipynb`" in page
        text = "".join(line for cell in cells(name) if cell["cell_type"] == "markdown" for line in cell["source"])
        assert all((ROOT / "notebooks" / target).exists() for target in re.findall(r"\]\(([^)]+)\)", text))
