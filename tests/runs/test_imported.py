"""What was not trained here is evaluated like a run: somebody's adapter, a model behind a server."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.generation import Answer
from ringfence.judges import JudgeInput, RuleJudge, Score
from ringfence.recipe.run import load_recipe
from ringfence.report import load_run
from ringfence.runs import evaluate as evaluations
from ringfence.runs import imported
from ringfence.runs import train as runs
from ringfence.runs.permissions import Allowed
from ringfence.runs.plan import RunPlan


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(recipe, run)."""
    folder = tmp_path_factory.mktemp("project")
    recipe = project.make(folder, defenses=[])
    runs.train(RunPlan.load(load_recipe(recipe), folder / "run"))
    return recipe, folder / "run"


def evaluate(run: Path, *models: str) -> pd.DataFrame:
    evaluations.evaluate([evaluations.evaluation_of(run, allow=Allowed(models=models))])
    return pd.read_parquet(run / "evaluation" / "responses.parquet")


def test_an_adapter_answers_as_the_run_that_trained_it(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """The recipe of the evaluation knows nothing of how it was trained."""
    recipe, run = trained
    plain = load_recipe(recipe, ["lora=null", "training={}", "evaluation.during=null"])
    imported.claim_adapter(plain, tmp_path / "theirs", run / "adapter")
    pd.testing.assert_frame_equal(evaluate(tmp_path / "theirs"), evaluate(run))
    about = json.loads((tmp_path / "theirs" / "run.json").read_text())
    assert about["adapter"]["path"] == str(run / "adapter")
    shown = load_run(tmp_path / "theirs")
    assert shown.status == "finished"
    assert shown.outcome is not None
    assert shown.outcome.steps != shown.outcome.steps, "not known"
    imported.claim_adapter(plain, tmp_path / "theirs", run / "adapter")  # the same again goes on


def test_its_run_is_called_after_the_adapter_and_not_after_the_recipe(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run = trained
    theirs = shutil.copytree(run / "adapter", tmp_path / "their adapter [v2]")
    for out, given, name in (
        ("a", ["--adapter", theirs], "their adapter -v2-"),
        ("b", ["--adapter", run / "adapter"], "run"),
        ("c", ["name=mine", "--adapter", theirs], "mine"),
    ):
        command = ["evaluate", recipe, *given, "--no-base", "--out", tmp_path / out]
        code, said, _ = project.in_process(capsys, *command)
        assert code == 0
        assert json.loads((tmp_path / out / "run.json").read_text())["name"] == name
        assert name in said
    assert project.in_process(capsys, *command)[0] == 0, "the same again goes on"
    assert not (tmp_path / "a" / "README.md").exists(), "the recipe's data is not what it was trained on"


def test_another_adapter_in_the_same_folder_is_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, run = trained
    imported.claim_adapter(load_recipe(recipe), tmp_path / "theirs", run / "adapter")
    other = tmp_path / "other"
    other.mkdir()
    for file in (run / "adapter").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "README.md").write_text("The same, with another card.")
    imported.claim_adapter(load_recipe(recipe), tmp_path / "theirs", other)
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 99}))
    with pytest.raises(RingfenceError, match="holds another fine-tune's run"):
        imported.claim_adapter(load_recipe(recipe), tmp_path / "theirs", other)


def test_no_adapter_is_refused_before_anything_is_written(trained: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, run = trained
    with pytest.raises(RingfenceError, match=r"--adapter: .* is no adapter folder \(it has no adapter_config"):
        imported.claim_adapter(load_recipe(recipe), tmp_path / "theirs", run)
    assert not (tmp_path / "theirs").exists()


def test_a_servers_model_is_asked_by_inspect_and_judged_here(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip("ringfence.generation.inspect")
    recipe, _ = trained
    asked: list[Any] = []

    def generate(self: Any, requests: Any, sampling: Any, on_answers: Any = None) -> list[Answer]:
        suites = {one.id.partition("/")[0] for one in requests}
        asked.append((self.name, suites, {one.sample for one in requests}, self.log_dir))
        return [Answer("Glitter, please.", True, "stop") for _ in requests]

    monkeypatch.setattr(module.InspectGenerator, "generate", generate)
    out = tmp_path / "served"
    imported.claim_server(load_recipe(recipe), out, "openai-api/vllm/x")
    frame = evaluate(out, "openai-api/vllm/x")
    assert asked == [("openai-api/vllm/x", {suite}, {0, 1}, out / "logs") for suite in ("general", "in-domain")]
    assert frame["stop_reason"].eq("stop").all()
    assert frame["verdict"].eq("misaligned").all()
    evaluate(out)
    assert len(asked) == 2, "answers are kept"
    with pytest.raises(RingfenceError, match=r"these keys differ: server"):
        imported.claim_server(load_recipe(recipe), out, "openai-api/vllm/y")
    with pytest.raises(RingfenceError, match=r"--model: 'gpt' is no name of Inspect's"):
        imported.claim_server(load_recipe(recipe), tmp_path / "other", "gpt")


def test_without_inspect_a_servers_model_says_what_to_install(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ringfence.generation.inspect", None)
    monkeypatch.delattr("ringfence.generation.inspect", raising=False)
    imported.claim_server(load_recipe(trained[0]), tmp_path / "served", "openai-api/vllm/z")
    with pytest.raises(RingfenceError, match=r"pip install -c constraints\.txt '\.\[inspect\]'"):
        evaluate(tmp_path / "served", "openai-api/vllm/z")


def test_too_many_answers_without_a_score_fail_the_evaluation_when_all_is_written(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of ten general answers, 10%, and none of the two others."""
    _, run = trained
    missing = [Score(None, 0.0, "error", "no answer in time")]

    def score(self: RuleJudge, rubric: str, rows: list[JudgeInput]) -> list[Score]:
        return missing + [Score(100.0, 1.0, None, "fine")] * (len(rows) - 1)

    monkeypatch.setattr(RuleJudge, "score", score)
    with pytest.raises(
        RingfenceError, match=r"1 of 10 answers to general have no score, more than .*max_unscored = 0\.05"
    ):
        evaluations.evaluate([evaluations.evaluation_of(run)])
    summary = json.loads((run / "evaluation" / "summary.json").read_text())
    assert summary["counts"]["general"]["missing"] == 1
    changes = ["evaluation.max_unscored=0.1"]
    evaluations.evaluate([evaluations.evaluation_of(run, changes, "lenient")])


def test_a_cut_adapter_is_refused_before_anything_is_written(trained: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, run = trained
    theirs = shutil.copytree(run / "adapter", tmp_path / "cut")
    file = theirs / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(RingfenceError, match=r"^--adapter: .*/cut/adapter_model\.safetensors: is no whole safetensors"):
        imported.claim_adapter(load_recipe(recipe), tmp_path / "theirs", theirs)
    assert not (tmp_path / "theirs").exists()


def test_a_copy_that_was_damaged_since_is_not_evaluated(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """The digests are the original's, also where the command runs again."""
    recipe, run = trained
    made, out = load_recipe(recipe), tmp_path / "theirs"
    imported.claim_adapter(made, out, run / "adapter")
    file = out / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    imported.claim_adapter(made, out, run / "adapter")
    with pytest.raises(RingfenceError, match=r"adapter_model\.safetensors: is damaged, .*; delete .*theirs/adapter"):
        evaluations.evaluation_of(out)
