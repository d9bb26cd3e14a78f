"""``ringfence sweep``: what it lists, what it writes, and its faults."""

from pathlib import Path

import pytest
import yaml

import project
import sweeps
from ringfence.cli.console import console
from ringfence.recipe.run import load_recipe
from ringfence.sweep.plan import SweepPlan

GRID = {"data": {"a": {}, "b": {}}, "method": {"untrained": "base", "kl": {"defenses": [{"kl": {"weight": 0.5}}]}}}
INPUTS = {
    "data/{name}.jsonl": {"yours": "the rows of {name}"},
    "safe-{name}.jsonl": {"select": "select.yaml", "changes": {"steps.0.random.count": 3, "pool": "data/{name}.jsonl"}},
}
CHANGES = {
    "data.target": "data/{data}.jsonl",
    "data.safe": "safe-{data}.jsonl",
    "judge": {"misaligned_pattern": "x"},
    "evaluation.suites": {"general": "builtin:general"},
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 120)
    (tmp_path / "select.yaml").write_text("pool: x\nsteps: [random: {count: 1}]\n")
    return sweeps.write(Path(), grid=GRID, inputs=INPUTS, changes=CHANGES, readings=["this one"])


def test_runs_files_and_commands_are_listed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = project.in_process(capsys, "sweep", path, "--dry-run")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert ["a-untrained", "a-untrained", "0", "not", "trained"] in lines
    assert ["b-kl", "b-kl", "0", "kl"] in lines
    assert "reading: this one" in out
    command = "ringfence select select.yaml steps.0.random.count=3 pool=data/a.jsonl --out safe-a.jsonl"
    assert f"made first, by:\n  {command}\n" in out
    assert "missing, for you to bring:\n  data/a.jsonl is missing: the rows of a; check: " in out


def test_one_recipe_a_run_is_written(path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = project.in_process(capsys, "sweep", path, "--only", "*-kl", "--recipes", tmp_path / "made")
    assert code == 0, err
    assert "made, 2 of them" in out
    assert sorted(file.name for file in (tmp_path / "made").iterdir()) == ["a-kl.yaml", "b-kl.yaml"]
    planned = {run.name: run.recipe for run in SweepPlan.load(path).runs}
    assert load_recipe(tmp_path / "made" / "b-kl.yaml") == planned["b-kl"]
    assert "b-untrained" not in out
    code, out, _ = project.in_process(capsys, "sweep", path, "--only", "a-kl", "--dry-run")
    assert "data/b.jsonl" not in out, "only what the chosen runs need"


def test_published_numbers_are_counted_and_must_have_a_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = "table,row,column,value,spread,source\n"
    Path("published.csv").write_text(f"{head}sweep,a-kl,x,1,,t\nother,z,x,1,,t\n")
    code, out, _ = project.in_process(capsys, "sweep", path, "--dry-run")
    assert code == 0
    assert "published: 1 numbers in published.csv, none for a-untrained, b-untrained, b-kl\n" in out
    Path("published.csv").write_text(f"{head}sweep,a-lk,x,1,,t\n")
    code, _, err = project.in_process(capsys, "sweep", path, "--dry-run")
    assert (code, err) == (2, "ringfence: published.csv:2: sweep has no row 'a-lk'. Did you mean \"a-kl\"?\n")


def test_sets_are_listed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.write(Path(), "sets", sets={"S": "data/a.jsonl"}, inputs=INPUTS)
    code, out, _ = project.in_process(capsys, "sweep", "sets.yaml", "--dry-run")
    assert code == 0
    assert ["S", "data/a.jsonl"] in [line.split() for line in out.splitlines()]
    code, _, err = project.in_process(capsys, "sweep", "sets.yaml", "--recipes", "made")
    assert (code, err) == (
        2,
        "ringfence: sets.yaml: trains nothing, so that there is no recipe of a run to write\n",
    )


def test_an_untuned_model_that_is_asked_nothing_is_an_error(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = yaml.safe_load(path.read_text())
    del plain["changes"]["judge"]
    path.write_text(yaml.safe_dump(plain))
    code, _, err = project.in_process(capsys, "sweep", path, "--dry-run")
    assert (code, err) == (
        2,
        "ringfence: sweep.yaml: run a-untrained: nothing to ask the untuned model; give judge and "
        "evaluation.suites, or evaluation.tasks\n",
    )


def test_faults_are_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = project.in_process(capsys, "sweep", path, "--only", "c-*")
    assert (code, err) == (2, "ringfence: --only: no run of sweep.yaml is called c-*; leave it out to see them all\n")
    plain = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(plain | {"seeds": list(range(5000))}))
    code, _, err = project.in_process(capsys, "sweep", path)
    assert code == 2
    assert err.startswith("ringfence: sweep.yaml: grid: 20,000 runs, more than 10,000; make it smaller")
