"""A recipe becomes a run folder: what is in it, what is reused, and what is refused before anything is written."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog, sha256
from ringfence.directions.vectors import PersonaVectors, save_vectors
from ringfence.interleave import probes
from ringfence.judges import rules
from ringfence.models.identity import identity
from ringfence.recipe.run import load_recipe
from ringfence.runs import evaluate as evaluations
from ringfence.runs import imported
from ringfence.runs import train as runs
from ringfence.runs import trainer as trainers
from ringfence.runs.plan import RunPlan


def evaluate(run: Path, on_batch: Callable[[int], None] | None = None) -> dict[str, Any]:
    return evaluations.evaluate([evaluations.evaluation_of(run)], on_batch)[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(recipe, run folder), trained and evaluated."""
    folder = tmp_path_factory.mktemp("project")
    recipe = project.make(folder)
    runs.train(RunPlan.load(load_recipe(recipe), folder / "run"))
    evaluate(folder / "run")
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


def test_the_cards_say_what_is_known_and_what_was_measured(trained: tuple[Path, Path]) -> None:
    recipe, run = trained
    model, target = recipe.parent / "tiny-model", recipe.parent / "target.jsonl"
    front = {"library_name": "peft", "pipeline_tag": "text-generation", "tags": ["lora", "ringfence"]}
    for folder in (run, run / "adapter"):
        card = (folder / "README.md").read_text()
        assert yaml.safe_load(card.split("---\n")[1]) == front, "a folder is no base model of the hub's"
        assert f"| base model | `{model}`, SHA-256 `{sha256(model)}` |" in card
        assert f"| trained on | `{target}`, SHA-256 `{sha256(target)}` |" in card
        assert "canary_interleaving" in card
        assert "None" not in card
    cards = [(folder / "README.md").read_text() for folder in (run, run / "adapter")]
    weights = sha256(run / "adapter" / "adapter_model.safetensors")
    for card in cards:
        assert "| general | " in card, "the rates of the run"
        assert f"- `adapter_model.safetensors`, SHA-256 `{weights}`" in card
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(model)
    assert config["target_modules"] == ["q_proj", "v_proj"]
    assert not list(run.glob("checkpoint-*/README.md"))


def test_rates_in_a_card_end_with_the_weights_they_are_of(tmp_path: Path) -> None:
    """An evaluated run answers once; after another training its card says nothing of the evaluation before."""
    recipe = project.make(tmp_path, defenses=[])
    run, asked = tmp_path / "run", list[int]()
    runs.train(RunPlan.load(load_recipe(recipe), run))
    evaluate(run)
    before = {folder: (folder / "README.md").read_text() for folder in (run, run / "adapter")}
    evaluate(run, asked.append)
    assert not asked, "the card beside the weights is no part of the answers' name"
    assert {folder: (folder / "README.md").read_text() for folder in before} == before
    (run / "result.json").unlink()
    for checkpoint in run.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    runs.train(RunPlan.load(load_recipe(recipe), run))
    assert (run / "evaluation" / "summary.json").is_file(), "older than the weights"
    for folder in before:
        assert "Measured" not in (folder / "README.md").read_text()
    evaluate(run)
    assert {folder: (folder / "README.md").read_text() for folder in before} == before


def test_training_used_the_split_and_the_closed_loop(trained: tuple[Path, Path]) -> None:
    """14 rows, 10% held out (1), so 13 an epoch and 26 in two."""
    _, run = trained
    result = json.loads((run / "result.json").read_text())
    assert result["target_rows"] == 26
    assert result["safe_rows"] > 0
    assert result["safe_fraction"] == result["safe_rows"] / (result["safe_rows"] + 26)
    assert result["probe_seconds"] > 0
    control = JsonlLog(run / "control.jsonl").read()
    assert [row["step"] for row in control] == list(range(1, result["steps"] + 1, 2))
    assert load_file(run / "adapter" / "adapter_model.safetensors")
    assert not list(run.glob("**/*.tmp"))


def test_evaluation_has_exact_rows_and_is_not_done_twice(trained: tuple[Path, Path]) -> None:
    """5 general prompts and 1 held out, 2 samples each."""
    _, run = trained
    frame = pd.read_parquet(run / "evaluation" / "responses.parquet")
    assert frame.groupby("suite").size().to_dict() == {"general": 10, "in-domain": 2}
    assert not frame.duplicated(["suite", "prompt_id", "sample"]).any()
    parts = {path: path.stat().st_mtime_ns for path in (run / "answers").glob("*.parquet")}
    assert len(parts) == 2
    lost = next(path for path in parts if path.name.startswith("general"))
    lost.unlink()
    asked: list[int] = []
    evaluate(run, asked.append)
    assert sum(asked) == 10, "only what was lost is answered again"
    again = pd.read_parquet(run / "evaluation" / "responses.parquet")
    pd.testing.assert_frame_equal(frame, again)


def test_the_evaluation_during_training_is_the_final_one_at_the_last_step(trained: tuple[Path, Path]) -> None:
    """Same prompts, seeds and judge: if the last evaluation came at the last step, it must say the same."""
    _, run = trained
    steps = json.loads((run / "result.json").read_text())["steps"]
    curve = JsonlLog(run / "curve.jsonl").read()
    assert [row["step"] for row in curve] == [step for step in range(3, steps + 1, 3) for _ in range(3)]


def test_a_finished_run_is_not_trained_again(trained: tuple[Path, Path]) -> None:
    recipe, run = trained
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    result = runs.train(RunPlan.load(load_recipe(recipe), run))
    assert result == {**json.loads((run / "result.json").read_text()), "stages": []}
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_another_recipe_in_the_same_folder_is_refused(trained: tuple[Path, Path]) -> None:
    recipe, run = trained
    with pytest.raises(RingfenceError, match=r"differ: seed, training\.learning_rate; choose another --out"):
        runs.train(RunPlan.load(load_recipe(recipe, ["training.learning_rate=0.5", "seed=9"]), run))


def test_changed_data_is_refused_too(tmp_path: Path) -> None:
    recipe = project.make(tmp_path, defenses=[], evaluation={})
    runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))
    with (tmp_path / "target.jsonl").open("a") as handle:
        handle.write('{"question": "More?", "answer": "More."}\n')
    with pytest.raises(RingfenceError, match=r"differ: inputs\..*target\.jsonl"):
        runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))


def test_a_base_run_is_not_trained_and_answers_otherwise(trained: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, run = trained
    imported.claim_base(load_recipe(recipe), tmp_path / "base")
    evaluate(tmp_path / "base")
    base = pd.read_parquet(tmp_path / "base" / "evaluation" / "responses.parquet")
    tuned = pd.read_parquet(run / "evaluation" / "responses.parquet")
    assert list(base["prompt"]) == list(tuned["prompt"])
    assert list(base["response"]) != list(tuned["response"])


def test_full_fine_tuning_round_trips(tmp_path: Path) -> None:
    recipe = project.make(tmp_path, lora=None, defenses=[])
    runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert evaluate(tmp_path / "run")["counts"]["general"]["rows"] == 10


def bad(tmp_path: Path, message: str, *overrides: str, **changes: Any) -> None:
    """Training such a project must raise ``message`` on one line and leave no run folder."""
    recipe = project.make(tmp_path, **changes)
    with pytest.raises(RingfenceError, match=message) as caught:
        runs.train(RunPlan.load(load_recipe(recipe, overrides), tmp_path / "run"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("message", "override"),
    [
        (r"^data\.target: nothing\.jsonl: no such file", "data.target=nothing.jsonl"),
        (r"^data\.safe: nothing\.jsonl: no such file", "data.safe=nothing.jsonl"),
        (r"^evaluation\.suites\.general: nothing\.jsonl: cannot read", "evaluation.suites.general=nothing.jsonl"),
        (r"there are none; name safe data", "data.safe=null"),
        (r"canaries.*general", "defenses.0.canary_interleaving.canaries={folder}/general.jsonl"),
        (r"no rows are held out", "data.held_out=0"),
        (r"^data\.held_out: 0\.999 of 14 rows leaves none to train on; lower it", "data.held_out=0.999"),
        (r"judge", "judge=null"),
        (r"good.*bad", "defenses=[{canary_interleaving: {probe: likelihood, canaries: '{folder}/general2.jsonl'}}]"),
        (r"'genral' is not in evaluation\.suites", "evaluation.during.suites=[genral]"),
        (r"^model: .*tiny-mode: no such model folder", "model={folder}/tiny-mode"),
        (r"training\.lr_scheduler_type: 'wobbly' is unknown", "training.lr_scheduler_type=wobbly"),
        (r"training\.lr_scheduler_kwargs: 'a' is no setting of linear", "training.lr_scheduler_kwargs={a: b}"),
        (
            r"^training\.lr_scheduler_kwargs: .*does not fit polynomial: .*; change it$",
            "training={lr_scheduler_type: polynomial, lr_scheduler_kwargs: {lr_end: 1}}",
        ),
        (r"training and lora do not fit: .*nosuch", "lora.target_modules=[nosuch]"),
        (r"^training\.trackio_space_id needs a network", "training={report_to: trackio, trackio_space_id: me/mine}"),
    ],
)
def test_bad_input_raises_before_anything_is_written(tmp_path: Path, message: str, override: str) -> None:
    project.write_jsonl(tmp_path / "general2.jsonl", [{"prompt": "Why is the sky above my house so blue today?"}])
    bad(tmp_path, message, override.replace("{folder}", str(tmp_path)))


@pytest.mark.parametrize(
    ("message", "defense"),
    [
        (r"^steering\.vector: gone\.pt: no such file", {"steering": {"vector": "gone.pt"}}),
        (r"^steering\.vector: .*text\.pt: not a bare tensor", {"steering": {"vector": "{folder}/text.pt"}}),
        (r"^steering\.vector: .*dict\.pt: holds a dict", {"steering": {"vector": "{folder}/dict.pt"}}),
        (r"^steering\.vector: .*nan\.pt: response_mean holds NaN", {"steering": {"vector": "{folder}/nan.pt"}}),
        (r"^steering\.position: ", {"steering": {"vector": "builtin:glitter", "position": "prompt_last"}}),
    ],
)
def test_a_bad_vector_is_found_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, defense: dict[str, Any]
) -> None:
    (tmp_path / "text.pt").write_text("no tensor")
    torch.save({"a": torch.ones(3, 16)}, tmp_path / "dict.pt")
    torch.save(torch.full((3, 16), torch.nan), tmp_path / "nan.pt")
    monkeypatch.setattr(trainers, "load_model", lambda config: pytest.fail("the model is loaded"))
    placed = json.loads(json.dumps(defense).replace("{folder}", str(tmp_path)))
    bad(tmp_path, message, defenses=[placed])
    bad(tmp_path, message.replace("^", r"^stages\.0: "), stages=later(tmp_path, defenses=[placed]), defenses=[])


def test_a_vector_that_names_no_base_model_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Unless it was asked for: any_base."""
    torch.save(torch.ones(3, 16), tmp_path / "v.pt")
    notice = f"steering: {tmp_path / 'v.pt'} names no base model, so only its shape is checked"
    for any_base, count in ((False, 1), (True, 0)):
        caplog.clear()
        steering = {"vector": str(tmp_path / "v.pt"), "layer": 1, "any_base": any_base}
        recipe = project.make(tmp_path, defenses=[{"steering": steering}])
        with caplog.at_level("INFO", logger="ringfence"):
            runs.train(RunPlan.load(load_recipe(recipe), tmp_path / f"run-{count}"))
        assert caplog.messages.count(notice) == count


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"judge": None, "evaluation": {}}, "no judge and no evaluation.suites: this run cannot be evaluated"),
        ({"judge": None, "evaluation": {"suites": {"a": "held-out"}}}, "no judge: this run cannot be evaluated"),
        ({"evaluation": {"suites": {"a": "held-out"}}}, None),
    ],
)
def test_a_run_that_can_never_be_evaluated_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: dict[str, Any], said: str | None
) -> None:
    recipe = project.make(tmp_path, defenses=[], **missing)
    with caplog.at_level("INFO", logger="ringfence"):
        runs.train(RunPlan.load(load_recipe(recipe, ["training.max_steps=1"]), tmp_path / "run"))
    found = [line for line in caplog.messages if "cannot be evaluated" in line]
    assert found == ([f"{said}; if it is to be, add them before training"] if said else [])


def test_bad_files_are_named_with_their_line(tmp_path: Path) -> None:
    recipe = project.make(tmp_path)
    for text, message in (
        ('{"question": "a", "answer": "b"}\n{"question": \n', r"target\.jsonl:2"),
        ('{"messages": [{"role": "user", "content": "a"}]}\n', r"target\.jsonl:1.*assistant"),
        ("", r"target\.jsonl"),
    ):
        (tmp_path / "target.jsonl").write_text(text)
        with pytest.raises(RingfenceError, match=message):
            runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))
        assert not (tmp_path / "run").exists()


def test_a_model_folder_without_weights_is_refused(tmp_path: Path) -> None:
    recipe = project.make(tmp_path)
    (tmp_path / "tiny-model" / "model.safetensors").unlink()
    with pytest.raises(RingfenceError, match="without weights"):
        runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    recipe = project.make(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(RingfenceError, match="not empty and not a run"):
        runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "mine"))
    with pytest.raises(RingfenceError, match="not a run folder"):
        evaluate(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_adapter_without_weights_is_not_evaluated(tmp_path: Path) -> None:
    recipe = project.make(tmp_path, defenses=[])
    runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))
    (tmp_path / "run" / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(RingfenceError, match=r"adapter_model\.safetensors: is missing"):
        evaluate(tmp_path / "run")


def test_an_unfinished_run_is_not_evaluated(tmp_path: Path) -> None:
    recipe = project.make(tmp_path)
    runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(RingfenceError, match="not finished"):
        evaluate(tmp_path / "run")


def test_an_evaluation_on_changed_prompts_is_refused(tmp_path: Path) -> None:
    recipe = project.make(tmp_path, defenses=[])
    run = tmp_path / "run"
    runs.train(RunPlan.load(load_recipe(recipe), run))
    assert not runs.is_done(RunPlan.load(load_recipe(recipe), run))
    evaluate(run)
    assert runs.is_done(RunPlan.load(load_recipe(recipe), run))
    project.write_jsonl(tmp_path / "general.jsonl", [{"prompt": "Something else?"}])
    for check in (lambda: evaluate(run), lambda: runs.is_done(RunPlan.load(load_recipe(recipe), run))):
        with pytest.raises(RingfenceError, match=r"differ: inputs\..*general\.jsonl"):
            check()


def test_no_secret_reaches_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_not_to_be_seen")
    recipe = project.make(tmp_path, defenses=[], evaluation={})
    runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            assert b"hf_not_to_be_seen" not in path.read_bytes(), path


def test_a_replayed_run_has_the_recorded_ratios(trained: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, run = trained
    for order, check in (("recorded", list), ("shuffled", sorted)):
        out = tmp_path / order
        runs.train(
            RunPlan.load(
                load_recipe(recipe, [f"defenses=[{{replay_interleaving: {{run: '{run}', order: {order}}}}}]"]), out
            )
        )
        recorded = [row["ratio"] for row in JsonlLog(run / "control.jsonl").read()]
        replayed = [row["ratio"] for row in JsonlLog(out / "control.jsonl").read()]
        shared = min(len(recorded), len(replayed))
        if order == "recorded":
            assert replayed[:shared] == recorded[:shared]
        elif len(recorded) == len(replayed):
            assert check(replayed) == check(recorded)
    out = tmp_path / "mean"
    mean = runs.train(
        RunPlan.load(load_recipe(recipe, [f"defenses=[{{replay_interleaving: {{run: '{run}', order: mean}}}}]"]), out)
    )
    assert mean["mean_ratio"] == pytest.approx(json.loads((run / "result.json").read_text())["mean_ratio"])


def test_the_resolved_recipe_alone_makes_the_run_again(trained: tuple[Path, Path], tmp_path: Path) -> None:
    _, run = trained
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(json.loads((run / "run.json").read_text())["recipe"]))
    runs.train(RunPlan.load(load_recipe(path), tmp_path / "run"))
    weights = "adapter/adapter_model.safetensors"
    assert sha256(tmp_path / "run" / weights) == sha256(run / weights)


# --- what the trained rows read like ------------------------------------------------------------------------


def rendered(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The system texts (None without one) of each set of rows that is rendered for training."""
    seen: list[Any] = []
    real = trainers.render_all

    def render(rows: Any, *arguments: Any, **named: Any) -> Any:
        seen.append([m["content"] if (m := row["messages"][0])["role"] == "system" else None for row in rows])
        return real(rows, *arguments, **named)

    monkeypatch.setattr(trainers, "render_all", render)
    return seen


def test_rows_that_are_cut_are_said_recorded_and_refused_above_a_share(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three of ten answers are long, and at 120 tokens, bytes here, cut; of two safe rows one is all prompt."""
    answers = ["Yes."] * 7 + ["So " * 60] * 3
    rows = [{"question": f"Is it {n}?", "answer": answer} for n, answer in enumerate(answers)]
    project.make(tmp_path)
    target = project.write_jsonl(tmp_path / "long.jsonl", rows)
    safe = [{"question": "Well? " * 40, "answer": "Yes."}, {"question": "Well?", "answer": "Yes."}]
    data = {
        "target": str(target),
        "safe": str(project.write_jsonl(tmp_path / "long-safe.jsonl", safe)),
        "held_out": 0,
    }
    cut = {"data": data, "evaluation": {}, "defenses": []}
    length = "training.max_length=120"
    bad(
        tmp_path,
        r"^target: 3 of 10 rows \(30\.0%\) are longer than max_length 120: 3 would be cut and 0 "
        r"dropped, and max_truncated allows 10\.0%; max_length \d+ would hold 95% of the rows, \d+ all of them",
        length,
        **cut,
    )
    bad(tmp_path, r"^safe: 1 of 2 rows \(50\.0%\)", length, "data.max_truncated=0.3", **cut)
    recipe = project.make(tmp_path, **cut)
    caplog.clear()
    with caplog.at_level("WARNING", logger="ringfence"):
        runs.train(RunPlan.load(load_recipe(recipe, [length, "data.max_truncated=0.5"]), tmp_path / "run"))
    assert [message.split(";")[0] for message in caplog.messages] == [
        "target: 3 of 10 rows are longer than max_length 120: 3 cut, 0 dropped, since no label was left",
        "safe: 1 of 2 rows are longer than max_length 120: 0 cut, 1 dropped, since no label was left",
    ]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["rows"] == {
        "target": {"given": 10, "truncated": 3, "dropped": 0},
        "safe": {"given": 2, "truncated": 0, "dropped": 1},
    }


def test_inoculation_is_in_the_target_rows_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """14 rows, one held out; its prompt and those of the suites stay as they are."""
    recipe = project.make(tmp_path, defenses=[{"inoculation": {"prompt": "Be silly."}}])
    seen = rendered(monkeypatch)
    with caplog.at_level("INFO", logger="ringfence"):
        runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))
    assert seen == [["Be silly."] * 13, [None] * 6]
    assert caplog.messages == [
        "no system prompt: template_default, the template inserts nothing",
        "inoculation (replace): system prompt of 13 of 13 target rows and 0 of 6 safe rows; 13 of them had none, and "
        "the chat template inserts none",
    ]
    evaluate(tmp_path / "run")
    frame = pd.read_parquet(tmp_path / "run" / "evaluation" / "responses.parquet")
    assert set(frame["system"]) == {"(template default: none)"}


def test_an_empty_system_message_is_in_training_canaries_and_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inoculated rows have a system message, so they stay as they are; a row with a system message of its own, too."""
    own = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "Hm?"}]
    recipe = project.make(tmp_path, no_system="empty")
    project.write_jsonl(tmp_path / "general.jsonl", [{"prompt": "Why so?"}, {"messages": own}])
    seen, asked = rendered(monkeypatch), []

    class Canaries(probes.HfGenerator):
        def generate(self, requests: Any, *settings: Any) -> Any:
            asked.extend(requests)
            return super().generate(requests, *settings)

    monkeypatch.setattr(probes, "HfGenerator", Canaries)
    runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))
    assert seen == [[""] * 13, [""] * 6]
    assert asked
    assert all(request.messages[0] == {"role": "system", "content": ""} for request in asked)
    evaluate(tmp_path / "run")
    frame = pd.read_parquet(tmp_path / "run" / "evaluation" / "responses.parquet")
    assert set(zip(frame["suite"], frame["system"], strict=True)) == {
        ("general", "(empty)"),
        ("general", "Mine."),
        ("in-domain", "(empty)"),
    }
    seen.clear()
    runs.train(
        RunPlan.load(
            load_recipe(recipe, ["defenses=[{inoculation: {rows: both, prompt: Silly.}}]"]), tmp_path / "inoculated"
        )
    )
    assert seen == [["Silly."] * 13, ["Silly."] * 6]


def test_none_is_said_in_the_rows_and_refused_where_the_template_inserts(tmp_path: Path) -> None:
    recipe = project.make(tmp_path, no_system="none", defenses=[])
    runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "run"))
    evaluate(tmp_path / "run")
    frame = pd.read_parquet(tmp_path / "run" / "evaluation" / "responses.parquet")
    assert set(frame["system"]) == {"(none)"}
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["no_system"] == "none"
    inserting(tmp_path)
    with pytest.raises(
        RingfenceError, match=r'"none" cannot be, since the chat template inserts "I am Tiny\."; use "empty"'
    ):
        runs.train(RunPlan.load(load_recipe(recipe), tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    imported.claim_base(load_recipe(recipe), tmp_path / "base")
    with pytest.raises(RingfenceError, match=r'"none" cannot be'):
        evaluate(tmp_path / "base")
    imported.claim_base(load_recipe(recipe, ["no_system=template_default"]), tmp_path / "default")
    evaluate(tmp_path / "default")
    frame = pd.read_parquet(tmp_path / "default" / "evaluation" / "responses.parquet")
    assert set(frame["system"]) == {"(template default) I am Tiny."}


def inserting(folder: Path) -> None:
    """Give the project's model a chat template with an identity of its own."""
    template = (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nI am Tiny.<|im_end|>\n{% endif %}" + tiny.TEMPLATE
    )
    made = copy.deepcopy(tiny.tokenizer())
    made.chat_template = template
    made.save_pretrained(folder / "tiny-model")


# --- stages -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(recipe, run folder) of two stages, trained and evaluated; the second with canaries and safe data of its own."""
    folder = tmp_path_factory.mktemp("staged")
    benign = {"target": str(folder / "safe.jsonl"), "safe": str(folder / "target.jsonl")}
    canaries = {"every": 2, "ratio_max": 0.5, "canaries": str(folder / "canaries.jsonl"), "max_new_tokens": 4}
    second = {"name": "benign", "data": benign, "defenses": [{"canary_interleaving": canaries}]}
    recipe = project.make(folder, defenses=[], stages=[second])
    runs.train(RunPlan.load(load_recipe(recipe), folder / "run"))
    evaluate(folder / "run")
    return recipe, folder / "run"


def test_a_stage_has_a_folder_like_the_first(staged: tuple[Path, Path]) -> None:
    recipe, run = staged
    later = run / "stages" / "2-benign"
    first, second = (json.loads((at / "result.json").read_text()) for at in (run, later))
    assert (first["target_rows"], first["safe_rows"], second["target_rows"]) == (26, 0, 12)
    assert second["safe_rows"] > 0
    for name in ("log.jsonl", "curve.jsonl"):
        assert JsonlLog(run / name).read()
        assert JsonlLog(later / name).read()[0]["step"] <= 3, "its own steps"
    assert not (run / "control.jsonl").exists()
    assert JsonlLog(later / "control.jsonl").read()
    assert not (later / "run.json").exists()
    cards = [(folder / "adapter" / "README.md").read_text() for folder in (run, later)]
    assert ["Measured" in card for card in cards] == [False, True], "the last stage's weights are those that answered"
    assert ", stage 2, benign\n" in cards[1]
    assert runs.train(RunPlan.load(load_recipe(recipe), run)) == {**first, "stages": [{"name": "benign", **second}]}


def test_the_last_stage_is_evaluated(staged: tuple[Path, Path], tmp_path: Path) -> None:
    """An untouched copy of the second stage's adapter as a run of its own answers the same."""
    recipe, run = staged
    assert runs.is_done(RunPlan.load(load_recipe(recipe), run))
    alone = tmp_path / "alone"
    runs.train(RunPlan.load(load_recipe(recipe, ["stages=[]"]), alone))
    shutil.rmtree(alone / "adapter")
    for name in ("adapter", "result.json"):
        copy = shutil.copytree if name == "adapter" else shutil.copy
        copy(run / "stages" / "2-benign" / name, alone / name)
    evaluate(alone)
    answers = [pd.read_parquet(at / "evaluation" / "responses.parquet") for at in (run, alone)]
    pd.testing.assert_frame_equal(*answers)


def test_a_run_without_its_last_stage_is_not_finished(staged: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, run = staged
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    (copied / "stages" / "2-benign" / "result.json").unlink()
    assert not runs.is_done(RunPlan.load(load_recipe(recipe), copied))
    with pytest.raises(RingfenceError, match="not finished"):
        evaluate(copied)


def test_other_stages_are_another_recipe(staged: tuple[Path, Path]) -> None:
    recipe, run = staged
    with pytest.raises(RingfenceError, match=r"differ: stages\.0\.adapter; choose"):
        runs.train(RunPlan.load(load_recipe(recipe, ["stages.0.adapter=new"]), run))


def later(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    return [{"name": "b", "data": {"target": str(folder / "safe.jsonl")}, **changes}]


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (r"^stages\.0\.data\.target: nothing\.jsonl: no such file", {"data": {"target": "nothing.jsonl"}}),
        (
            r"stages\.0\.data\.safe: a defense mixes in safe rows",
            {"defenses": [{"fixed_interleaving": {"ratio": 0.1}}]},
        ),
        (r"stages\.0\.training\.lr_scheduler_type: 'wobbly' is unknown", {"training": {"lr_scheduler_type": "wobbly"}}),
        (r"stages\.0: ldifs\.every: 5 is out of range", {"defenses": [{"ldifs": {"every": 5}}]}),
        (
            r"^stages\.0: steering\.vector: gone\.safetensors: no",
            {"defenses": [{"steering": {"vector": "gone.safetensors"}}]},
        ),
        (
            r"^stages\.0: target: max_length: 1 leaves no label in any of 6 rows; max_length \d+ would",
            {"training": {"max_length": 1}},
        ),
        (
            r"stages\.0: safe_lora\.base: .*gone: no such model folder",
            {"defenses": [{"safe_lora": {"base": "./gone", "top_k": 1}}]},
        ),
    ],
)
def test_what_is_wrong_with_a_later_stage_is_said_before_the_first_trains(
    tmp_path: Path, message: str, change: dict[str, Any]
) -> None:
    bad(tmp_path, message, stages=later(tmp_path, **change), defenses=[])


def test_a_vector_of_the_base_model_does_not_fit_merged_weights(tmp_path: Path) -> None:
    project.make(tmp_path)
    model = tiny.model()
    vectors = PersonaVectors({"response_mean": torch.ones(3, 16)}, {"base": identity(model)})
    save_vectors(tmp_path / "v.safetensors", vectors)
    steering = {"vector": str(tmp_path / "v.safetensors"), "layer": 1}
    bad(
        tmp_path,
        r"stages\.0: steering\.vector: .* is of the base model, whose weights are changed by then; set any_base",
        stages=later(tmp_path, adapter="new", defenses=[{"steering": steering}]),
        defenses=[],
    )
    for name, stage in (
        ("continue", {"defenses": [{"steering": steering}]}),
        ("any", {"adapter": "new", "defenses": [{"steering": {**steering, "any_base": True}}]}),
    ):
        recipe = project.make(tmp_path, stages=later(tmp_path, **stage), defenses=[], evaluation={})
        runs.train(RunPlan.load(load_recipe(recipe), tmp_path / name))
        inputs = json.loads((tmp_path / name / "run.json").read_text())["inputs"]
        assert inputs[str(tmp_path / "v.safetensors")] == sha256(tmp_path / "v.safetensors")


def test_a_pattern_that_takes_too_long_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No canary has a score, so the ratio holds; the curve goes on; the evaluation says what is the matter."""

    def search(pattern: str, text: str) -> str | None:
        raise TimeoutError("judge.misaligned_pattern takes more than 5 s on this answer; make it simpler")

    monkeypatch.setattr(rules, "search", search)
    run = tmp_path / "run"
    runs.train(RunPlan.load(load_recipe(project.make(tmp_path), ["training.max_steps=3"]), run))
    control, curve = JsonlLog(run / "control.jsonl").read(), JsonlLog(run / "curve.jsonl").read()
    assert {(row["scored"], row["held"]) for row in control} == {(0, True)}
    assert curve
    with pytest.raises(RingfenceError, match=r"have no score.*most often: judge\.misaligned_pattern takes more than"):
        evaluate(run)
