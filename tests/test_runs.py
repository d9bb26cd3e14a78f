"""A recipe becomes a run folder: what is in it, what is reused, and what is refused before anything is written."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file

import project
from ringfence import runs
from ringfence.core.errors import RingfenceError
from ringfence.core.files import Journal, sha256
from ringfence.recipe import load_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(recipe, run folder), trained and evaluated."""
    folder = tmp_path_factory.mktemp("project")
    recipe = project.make(folder)
    runs.train(load_recipe(recipe), folder / "run")
    runs.evaluate(folder / "run")
    return recipe, folder / "run"


def test_the_run_folder_says_where_everything_came_from(trained: tuple[Path, Path]) -> None:
    recipe, run = trained
    about = json.loads((run / "run.json").read_text())
    assert about["recipe"] == load_recipe(recipe).resolved()
    folder = recipe.parent
    assert about["inputs"][str(folder / "target.jsonl")] == sha256(folder / "target.jsonl")
    assert about["inputs"][str(folder / "canaries.jsonl")] == sha256(folder / "canaries.jsonl")
    assert about["inputs"][str(folder / "tiny-model")] == sha256(folder / "tiny-model")
    assert {"torch", "trl", "transformers", "peft", "ringfence", "python"} <= set(about["versions"])
    assert set(about["git"]) == {"revision", "dirty"}
    assert about["seed"] == 0


def test_training_used_the_split_and_the_closed_loop(trained: tuple[Path, Path]) -> None:
    """14 rows, 10% held out (1), so 13 an epoch and 26 in two."""
    _, run = trained
    result = json.loads((run / "result.json").read_text())
    assert result["target_rows"] == 26
    assert result["safe_rows"] > 0
    assert result["safe_fraction"] == result["safe_rows"] / (result["safe_rows"] + 26)
    assert result["probe_seconds"] > 0
    control = Journal(run / "control.jsonl").read()
    assert [row["step"] for row in control] == list(range(1, result["steps"] + 1, 2))
    assert load_file(run / "adapter" / "adapter_model.safetensors")
    assert not list(run.glob("**/*.tmp"))


def test_evaluation_has_exact_rows_and_is_not_done_twice(trained: tuple[Path, Path]) -> None:
    """5 general prompts and 1 held out, 2 samples each."""
    _, run = trained
    frame = pd.read_parquet(run / "evaluation" / "responses.parquet")
    assert frame.groupby("suite").size().to_dict() == {"general": 10, "in-domain": 2}
    assert not frame.duplicated(["suite", "prompt_id", "sample"]).any()
    parts = {path: path.stat().st_mtime_ns for path in (run / "evaluation" / "parts").iterdir()}
    assert len(parts) == 2
    lost = next(path for path in parts if path.name.startswith("general"))
    lost.unlink()
    asked: list[int] = []
    runs.evaluate(run, asked.append)
    assert sum(asked) == 10, "only what was lost is answered again"
    again = pd.read_parquet(run / "evaluation" / "responses.parquet")
    pd.testing.assert_frame_equal(frame, again)


def test_the_evaluation_during_training_is_the_final_one_at_the_last_step(trained: tuple[Path, Path]) -> None:
    """Same prompts, seeds and judge: if the last evaluation came at the last step, it must say the same."""
    _, run = trained
    steps = json.loads((run / "result.json").read_text())["steps"]
    curve = Journal(run / "curve.jsonl").read()
    assert [row["step"] for row in curve] == [step for step in range(3, steps + 1, 3) for _ in range(3)]


def test_a_finished_run_is_not_trained_again(trained: tuple[Path, Path]) -> None:
    recipe, run = trained
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    result = runs.train(load_recipe(recipe), run)
    assert result == json.loads((run / "result.json").read_text())
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_another_recipe_in_the_same_folder_is_refused(trained: tuple[Path, Path]) -> None:
    recipe, run = trained
    with pytest.raises(RingfenceError, match=r"differ: seed, training\.learning_rate; choose another --out"):
        runs.train(load_recipe(recipe, ["training.learning_rate=0.5", "seed=9"]), run)


def test_changed_data_is_refused_too(tmp_path: Path) -> None:
    recipe = project.make(tmp_path, defenses=[], evaluation={})
    runs.train(load_recipe(recipe), tmp_path / "run")
    with (tmp_path / "target.jsonl").open("a") as handle:
        handle.write('{"question": "More?", "answer": "More."}\n')
    with pytest.raises(RingfenceError, match=r"differ: inputs\..*target\.jsonl"):
        runs.train(load_recipe(recipe), tmp_path / "run")


def test_a_base_run_is_not_trained_and_answers_otherwise(trained: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, run = trained
    runs.claim_base(load_recipe(recipe), tmp_path / "base")
    runs.evaluate(tmp_path / "base")
    base = pd.read_parquet(tmp_path / "base" / "evaluation" / "responses.parquet")
    tuned = pd.read_parquet(run / "evaluation" / "responses.parquet")
    assert list(base["prompt"]) == list(tuned["prompt"])
    assert list(base["response"]) != list(tuned["response"])


def test_full_fine_tuning_round_trips(tmp_path: Path) -> None:
    recipe = project.make(tmp_path, lora=None, defenses=[])
    runs.train(load_recipe(recipe), tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert runs.evaluate(tmp_path / "run")["counts"]["general"]["rows"] == 10


def bad(tmp_path: Path, message: str, *overrides: str, **changes: Any) -> None:
    """Training such a project must raise ``message`` on one line and leave no run folder."""
    recipe = project.make(tmp_path, **changes)
    with pytest.raises(RingfenceError, match=message) as caught:
        runs.train(load_recipe(recipe, overrides), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("message", "override"),
    [
        (r"nothing\.jsonl", "data.target=nothing.jsonl"),
        (r"there are none; name safe data", "data.safe=null"),
        (r"canaries.*general", "defenses.0.canary_interleaving.canaries={folder}/general.jsonl"),
        (r"no rows are held out", "data.held_out=0"),
        (r"judge", "judge=null"),
        (r"good.*bad", "defenses=[{canary_interleaving: {probe: likelihood, canaries: '{folder}/general2.jsonl'}}]"),
        (r"'genral' is not in evaluation\.suites", "evaluation.during.suites=[genral]"),
        (r"tiny-mode: no such model folder", "model={folder}/tiny-mode"),
        (r"training: ", "training.lr_scheduler_type=wobbly"),
        (r"training and lora do not fit: .*nosuch", "lora.target_modules=[nosuch]"),
    ],
)
def test_bad_input_raises_before_anything_is_written(tmp_path: Path, message: str, override: str) -> None:
    project.write_jsonl(tmp_path / "general2.jsonl", [{"prompt": "Why is the sky above my house so blue today?"}])
    bad(tmp_path, message, override.replace("{folder}", str(tmp_path)))


def test_bad_files_are_named_with_their_line(tmp_path: Path) -> None:
    recipe = project.make(tmp_path)
    for text, message in (
        ('{"question": "a", "answer": "b"}\n{"question": \n', r"target\.jsonl:2"),
        ('{"messages": [{"role": "user", "content": "a"}]}\n', r"target\.jsonl:1.*assistant"),
        ("", r"target\.jsonl"),
    ):
        (tmp_path / "target.jsonl").write_text(text)
        with pytest.raises(RingfenceError, match=message):
            runs.train(load_recipe(recipe), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_model_folder_without_weights_is_refused(tmp_path: Path) -> None:
    recipe = project.make(tmp_path)
    (tmp_path / "tiny-model" / "model.safetensors").unlink()
    with pytest.raises(RingfenceError, match="without weights"):
        runs.train(load_recipe(recipe), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    recipe = project.make(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(RingfenceError, match="not empty and not a run"):
        runs.train(load_recipe(recipe), tmp_path / "mine")
    with pytest.raises(RingfenceError, match="not a run folder"):
        runs.evaluate(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_adapter_without_weights_is_not_evaluated(tmp_path: Path) -> None:
    recipe = project.make(tmp_path, defenses=[])
    runs.train(load_recipe(recipe), tmp_path / "run")
    (tmp_path / "run" / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(RingfenceError, match="there are no weights"):
        runs.evaluate(tmp_path / "run")


def test_an_unfinished_run_is_not_evaluated(tmp_path: Path) -> None:
    recipe = project.make(tmp_path)
    runs.train(load_recipe(recipe), tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(RingfenceError, match="not finished"):
        runs.evaluate(tmp_path / "run")


def test_an_evaluation_on_changed_prompts_is_refused(tmp_path: Path) -> None:
    recipe = project.make(tmp_path, defenses=[])
    run = tmp_path / "run"
    runs.train(load_recipe(recipe), run)
    assert not runs.is_done(load_recipe(recipe), run)
    runs.evaluate(run)
    assert runs.is_done(load_recipe(recipe), run)
    project.write_jsonl(tmp_path / "general.jsonl", [{"prompt": "Something else?"}])
    for check in (lambda: runs.evaluate(run), lambda: runs.is_done(load_recipe(recipe), run)):
        with pytest.raises(RingfenceError, match=r"differ: inputs\..*general\.jsonl"):
            check()


def test_no_secret_reaches_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_not_to_be_seen")
    recipe = project.make(tmp_path, defenses=[], evaluation={})
    runs.train(load_recipe(recipe), tmp_path / "run")
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            assert b"hf_not_to_be_seen" not in path.read_bytes(), path


def test_a_replayed_run_has_the_recorded_ratios(trained: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, run = trained
    for order, check in (("recorded", list), ("shuffled", sorted)):
        out = tmp_path / order
        runs.train(load_recipe(recipe, [f"defenses=[{{replay_interleaving: {{run: '{run}', order: {order}}}}}]"]), out)
        recorded = [row["ratio"] for row in Journal(run / "control.jsonl").read()]
        replayed = [row["ratio"] for row in Journal(out / "control.jsonl").read()]
        shared = min(len(recorded), len(replayed))
        if order == "recorded":
            assert replayed[:shared] == recorded[:shared]
        elif len(recorded) == len(replayed):
            assert check(replayed) == check(recorded)
    out = tmp_path / "mean"
    mean = runs.train(load_recipe(recipe, [f"defenses=[{{replay_interleaving: {{run: '{run}', order: mean}}}}]"]), out)
    assert mean["mean_ratio"] == pytest.approx(json.loads((run / "result.json").read_text())["mean_ratio"])


def test_the_resolved_recipe_alone_makes_the_run_again(trained: tuple[Path, Path], tmp_path: Path) -> None:
    _, run = trained
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(json.loads((run / "run.json").read_text())["recipe"]))
    runs.train(load_recipe(path), tmp_path / "run")
    weights = "adapter/adapter_model.safetensors"
    assert sha256(tmp_path / "run" / weights) == sha256(run / weights)
