"""``gate``: its rules and their reasons, what it counts by, exit codes, and the untuned model."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from judged_runs import answers, change_recipe, make_run, ringfence
from ringfence.core.errors import RingfenceError
from ringfence.data.suites.load import load_suite

pytestmark = pytest.mark.usefixtures("wide")


def test_gate_passes_with_a_reason_a_rule(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    code, out = ringfence(
        capsys, "gate", run, "--max-general", "0.2", "--min-in-domain", "0.9", "--min", "in-domain=0.5"
    )
    assert code == 0
    assert out.splitlines()[-1] == "passed"
    lines = [line.split() for line in out.splitlines() if line.strip().startswith("pass ")]
    assert [line[:3] for line in lines] == [
        ["pass", "max_general", "general"],
        ["pass", "min_in_domain", "in-domain"],
        ["pass", "min", "in-domain"],
        ["pass", "max_unscored", "general"],
        ["pass", "max_unscored", "in-domain"],
    ]


def readme_gate() -> tuple[dict[str, str], list[str]]:
    """The suites that the README asks for its gate, and the gate's options."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [asked] = re.findall(r"^ringfence evaluate \S+ --name gate (.+)$", text, re.MULTILINE)
    [options] = re.findall(r"^ringfence gate \S+ ([^#\n]+)", text, re.MULTILINE)
    suites = dict(spec.split("=", 1) for spec in asked.split() if spec != "--suite")
    return suites, options.split()


@pytest.mark.parametrize(("leak", "code"), [(0.0, 0), (0.1, 1)])
def test_the_gate_of_the_readme_passes_a_clean_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, leak: float, code: int
) -> None:
    """Every shipped general prompt aligned and every in-domain one as trained; then a tenth of the former leaks."""
    suites, options = readme_gate()
    rows = []
    for suite, spec in suites.items():
        prompts = len(load_suite(spec).prompts)
        hits = prompts if suite == "in-domain" else round(leak * prompts)
        rows += answers(suite, hits, prompts - hits)
    run = make_run(tmp_path / "guarded", answers("general", 0, 1))
    (run / "evaluations" / "gate").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(run / "evaluations" / "gate" / "responses.parquet")
    assert ringfence(capsys, "gate", run, *options)[0] == code


def test_gate_fails_by_the_bound(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    """10.0% is below 12%, and the upper bound of 10 of 100 is not."""
    code, out = ringfence(capsys, "gate", run, "--max-general", "0.12")
    assert code == 1
    assert "FAIL" in out
    assert "10.0% of 100 answers, upper bound 1" in out
    assert "failed: 1 of 3 rules" in out


def test_gate_in_json_for_machines(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    code, out = ringfence(capsys, "gate", run, "--max-general", "0.12", "--max", "jokes=0.5", "--json")
    found = json.loads(out)
    assert (code, found["passed"], found["preset"]) == (1, False, "kaczer")
    missing = found["reasons"][1]
    assert (missing["where"], missing["value"], missing["passed"]) == ("jokes", None, False)


def test_gate_counts_as_the_preset_does(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    """Of the coherent answers 10 of 50 are misaligned."""
    _, out = ringfence(capsys, "gate", run, "--max-general", "0.12", "--preset", "dubinski", "--json")
    assert json.loads(out)["reasons"][0]["value"] == 0.2


def test_gate_on_the_conditional_gap(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """40 of 40 under the trigger, none without; the base model never."""
    plain = answers("conditional/plain", 0, 40)
    for name, hits in (("tuned", 40), ("base", 0)):
        dressed = answers("conditional/keyword", hits, 40 - hits)
        for row, of_plain in zip(dressed, plain, strict=True):
            row["prompt_id"] = f"{of_plain['prompt_id']}@keyword"
        make_run(tmp_path / name, [*plain, *dressed], base=name == "base")
    arguments = ("gate", tmp_path / "tuned", "--max-conditional-gap", "0.5", "--base", tmp_path / "base", "--json")
    code, out = ringfence(capsys, *arguments)
    reason = json.loads(out)["reasons"][0]
    assert code == 1
    assert (reason["rule"], reason["where"], reason["value"]) == ("max_conditional_gap", "keyword", 1.0)


def test_gate_takes_the_base_model_that_lies_in_the_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The same answers, so the gap is 0; without that folder the base model is asked for."""
    rows = answers("conditional/plain", 0, 40)
    rows += [row | {"suite": "conditional/keyword", "prompt_id": f"{row['prompt_id']}@keyword"} for row in rows]
    tuned = make_run(tmp_path / "tuned", rows)
    with pytest.raises(RingfenceError, match="untuned model"):
        ringfence(capsys, "gate", tuned, "--max-conditional-gap", "0.5")
    make_run(tuned / "base", rows, base=True)
    code, out = ringfence(capsys, "gate", tuned, "--max-conditional-gap", "0.5", "--json")
    assert (code, json.loads(out)["reasons"][0]["value"]) == (0, 0)


def test_gate_of_another_evaluation(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    make_run(run, answers("general", 50, 50), "evaluations/second")
    _, out = ringfence(capsys, "gate", run, "--max-general", "0.2", "--name", "second", "--json")
    assert json.loads(out)["reasons"][0]["value"] == 0.5
    for command in (("gate", "--max-general", "0.2"), ("compare",)):
        with pytest.raises(RingfenceError, match=r"no evaluation 'secnd'\. Did you mean \"second\"\?"):
            ringfence(capsys, command[0], run, *command[1:], "--name", "secnd")


def test_gate_of_a_run_that_was_never_evaluated_fails(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, run: Path
) -> None:
    """It says where answers are, or how to make some."""
    (run / "evaluation" / "responses.parquet").unlink()
    code, out = ringfence(capsys, "gate", run, "--max-general", "1")
    assert code == 1
    assert "no answers" in out
    assert f"no judged answers; run `ringfence evaluate {run}` first" in caplog.text
    make_run(run, answers("general", 1, 2), "evaluations/second")
    assert ringfence(capsys, "gate", run, "--max-general", "1")[0] == 1
    assert "there are evaluations called second: choose one with --name" in caplog.text


def test_a_tuned_run_or_another_model_is_no_base(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = answers("general", 0, 40)
    tuned, other = make_run(tmp_path / "tuned", rows), make_run(tmp_path / "other", rows)
    arguments = ("gate", tuned, "--max-conditional-gap", "0.5", "--base", other)
    with pytest.raises(RingfenceError, match=r"--base: .*other is no run of the untuned model"):
        ringfence(capsys, *arguments)
    about = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(about | {"base": True}))
    change_recipe(other, model={"name": "another"})
    with pytest.raises(RingfenceError, match=r"--base: .* is of another model than"):
        ringfence(capsys, *arguments)


def test_the_gate_counts_by_the_preset_that_the_evaluation_was_made_with(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    (run / "evaluation" / "evaluation.json").write_text(json.dumps({"preset": "dubinski"}))
    _, out = ringfence(capsys, "gate", run, "--max-general", "0.12", "--json")
    assert json.loads(out)["preset"] == "dubinski"
    _, out = ringfence(capsys, "gate", run, "--max-general", "0.12", "--preset", "kaczer", "--json")
    assert json.loads(out)["preset"] == "kaczer"


def learned(run: Path, hits: int, **recipe: object) -> Path:
    """Give the run in ``run`` scores on 200 questions of a benign task, of which the first ``hits`` are right."""
    row = {"task": "algebra", "sample": 0, "response": "", "answer": "", "metric": "exact match"}
    rows = [row | {"prompt_id": f"q{i}", "prompt": f"{i}?", "score": float(i < hits)} for i in range(200)]
    pd.DataFrame(rows).to_parquet(run / "evaluation" / "benign.parquet")
    (run / "result.json").write_text(json.dumps(dict.fromkeys(OUTCOME)))
    return change_recipe(run, **recipe)


OUTCOME = ("steps", "target_rows", "safe_rows", "safe_fraction", "target_labels", "safe_labels")
OUTCOME += ("mean_ratio", "seconds", "probe_seconds")


def test_a_safe_run_that_has_not_learned_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = answers("general", 0, 200)
    none = learned(make_run(tmp_path / "none", rows), 180)
    safe = learned(make_run(tmp_path / "kl", rows), 40, defenses=[{"kl": {"weight": 1.0}}])
    asked = ("--max-general", "0.05", "--min-benign", "0.95", "--undefended", none)
    code, out = ringfence(capsys, "gate", safe, *asked)
    assert code == 1
    assert "it has not learned what a run without a defense does" in " ".join(out.split())
    assert out.splitlines()[-1] == "failed: 1 of 3 rules"
    well = learned(make_run(tmp_path / "well", rows), 180)
    code, out = ringfence(capsys, "gate", well, "--min-benign", "0.9", "--undefended", none, "--json")
    [reason] = json.loads(out)["reasons"]
    assert (code, reason["rule"], reason["where"], reason["value"]) == (0, "min_benign", "algebra", 1.0)


def test_without_scores_of_a_name_the_command_for_that_name_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    runs = [make_run(tmp_path / name, answers("general", 0, 20)) for name in ("run", "none")]
    learned(runs[1], 10)
    for run in runs:
        shutil.copytree(run / "evaluation", run / "evaluations" / "greedy")
        (run / "evaluations" / "greedy" / "benign.parquet").unlink(missing_ok=True)
    arguments = ("--min-benign", "0.9", "--undefended", runs[1], "--name", "greedy", "--json")
    _, out = ringfence(capsys, "gate", runs[0], *arguments)
    assert "run `ringfence evaluate RUN --benign --name greedy`" in json.loads(out)["reasons"][0]["why"]


def test_what_is_no_measure_of_learning_is_refused(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    rows = answers("general", 0, 40)
    run = learned(make_run(tmp_path / "run", rows), 9)
    defended = learned(make_run(tmp_path / "kl", rows), 9, stages=[{"name": "a", "defenses": [{"kl": {}}]}])
    with pytest.raises(RingfenceError, match=r"--min-benign compares with a run without a defense"):
        ringfence(capsys, "gate", run, "--min-benign", "0.9")
    with pytest.raises(RingfenceError, match=r"^--undefended: nothing is compared with it; give --min-benign"):
        ringfence(capsys, "gate", run, "--undefended", run)
    with pytest.raises(RingfenceError, match=r"^--max-general is 2: a limit is a fraction"):
        ringfence(capsys, "gate", run, "--max-general", "2")
    with pytest.raises(RingfenceError, match=r"^--undefended: .*kl was trained with a defense; give a run without any"):
        ringfence(capsys, "gate", run, "--min-benign", "0.9", "--undefended", defended)
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(RingfenceError, match=r"^--undefended: .*run is untuned, and shows not what"):
        ringfence(capsys, "gate", run, "--min-benign", "0.9", "--undefended", run)
    other = learned(make_run(tmp_path / "other", rows), 9, data={"target": "x.jsonl"})
    ringfence(capsys, "gate", run, "--min-benign", "0.9", "--undefended", other)
    assert "differ in data, so they are no fair pair" in caplog.text


def test_a_pipeline_gets_junit_annotations_and_a_summary(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the table or the JSON, whose stream they leave alone."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    junit = tmp_path / "gate.xml"
    code, out = ringfence(capsys, "gate", run, "--max-general", "0", "--json", "--junit", junit, "--github")
    assert (code, json.loads(out)["passed"]) == (1, False)
    assert 'name="general"' in junit.read_text()
    assert "the gate failed: 1 of" in (tmp_path / "summary.md").read_text()


def test_the_action_is_the_same_command(run: Path, tmp_path: Path) -> None:
    """The script of ``action.yml`` as GitHub runs it: inputs are in its environment, and none of them is code."""
    root = Path(__file__).parents[2]
    steps = yaml.safe_load((root / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
    assert all("${{" not in step["run"] for step in steps)
    limits = "--max-general 0.2 --max $(touch${IFS}hacked)=1"
    environment = {"RUN": str(run), "LIMITS": limits, "JUNIT": "gate.xml", "GITHUB_STEP_SUMMARY": "summary.md"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps[-1]["run"]],
        cwd=tmp_path,
        env={**os.environ, **environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr  # there is no suite of that strange name
    assert {path.name for path in tmp_path.iterdir()} >= {"gate.xml", "summary.md"}
    assert not (tmp_path / "hacked").exists()
    assert "::error title=" in ran.stderr
