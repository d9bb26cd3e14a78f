"""A script's trainer leaves a run folder that evaluation and the report take, with a true model card."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from datasets import Dataset, IterableDataset
from safetensors.torch import load_file

import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.defenses import KL, CanaryInterleaving, FixedInterleaving, Steering
from ringfence.interleave import Risk
from ringfence.recipe.run import parse_recipe
from ringfence.train import script
from training import SAFE, ScriptedProbe, trainer


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The tiny model in a folder, and files beside it."""
    project.make(tmp_path)
    return tmp_path / "tiny-model"


def loaded(base: Path) -> Any:
    from ringfence.models import load

    return load(str(base)).model


def about(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def test_a_script_leaves_a_run_that_is_reported_evaluated_gated_and_compared(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    judge = tmp_path / "judge.yaml"
    judge.write_text("misaligned_pattern: 'glitter|e'\n")
    runs = []
    for name, defenses in (("plain", []), ("guarded", [FixedInterleaving(added=0.25)])):
        out = tmp_path / name
        made = trainer(out, *defenses, given={"model": loaded(base)}, max_steps=2)
        made.train()
        assert json.loads((out / "result.json").read_text())["steps"] == made.result()["steps"]
        runs.append(out)
    for command in (
        ["report", *runs, "--out", tmp_path / "page.html"],
        ["evaluate", *runs, "--suite", f"general={tmp_path / 'general.jsonl'}", "--judge", judge, "--name", "mine"],
        ["report", *runs, "--name", "mine", "--out", tmp_path / "page.html"],
        ["gate", runs[1], "--name", "mine", "--max-general", "1.0"],
        ["differences", *runs, "--name", "mine", "--baseline", "plain"],
    ):
        code, said, complained = project.in_process(capsys, *command)
        assert code in (0, 1) if command[0] == "gate" else code == 0, complained
        assert command[0] == "gate" or "guarded" in said
    code, _, complained = project.in_process(capsys, "evaluate", runs[0])
    assert code == 2
    assert "was trained by a script, which names no suites and no judge; give --suite, --judge and --name" in complained


def test_a_model_built_in_memory_is_named_by_the_user(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base of ``project`` is the model that ``trainer`` builds, so both runs are one."""
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "judge.yaml").write_text("misaligned_pattern: 'e'\n")
    given = ["--suite", f"general={tmp_path / 'general.jsonl'}", "--judge", tmp_path / "judge.yaml", "--name", "mine"]
    runs = {name: tmp_path / name for name in ("built", "loaded")}
    trainer(runs["built"], max_steps=2).train()
    trainer(runs["loaded"], given={"model": loaded(base)}, max_steps=2).train()
    code, _, complained = project.in_process(capsys, "evaluate", runs["built"], *given)
    assert code == 2
    assert "the script built the base model in memory; save it there" in complained
    assert "give --model FOLDER" in complained
    assert not (runs["built"] / "evaluations").exists()
    assert project.in_process(capsys, "evaluate", runs["built"], *given, "--model", base)[0] == 0
    assert project.in_process(capsys, "evaluate", runs["loaded"], *given)[0] == 0
    answers = [pd.read_parquet(run / "evaluations" / "mine" / "responses.parquet") for run in runs.values()]
    pd.testing.assert_frame_equal(*answers)
    assert about(runs["built"])["recipe"]["model"]["name"] == "python:model", "what the run says of itself stays"
    other = shutil.copytree(base, tmp_path / "other")
    for run, name, message in (
        ("loaded", "mine", f"was trained on {base}, not on {other}; leave --model out"),
        ("built", "mine", "holds another evaluation; these keys differ: recipe.model.name"),
        ("built", "new", "give the --model that it was asked of, or delete "),
    ):
        code, _, complained = project.in_process(capsys, "evaluate", runs[run], *given[:-1], name, "--model", other)
        assert code == 2
        assert message in " ".join(complained.split())


def test_the_recipe_is_what_the_trainer_was_given(base: Path, tmp_path: Path) -> None:
    given = [FixedInterleaving(added=0.25), KL(weight=0.5)]
    made = trainer(tmp_path / "out", *given, given={"model": loaded(base)}, max_steps=1, learning_rate=0.02)
    made.train()
    found = about(tmp_path / "out")
    recipe = parse_recipe(found["recipe"], "run.json")
    assert (recipe.name, recipe.seed, recipe.model.name, recipe.model.dtype) == ("out", 3, str(base), "float32")
    assert recipe.training["learning_rate"] == 0.02
    assert recipe.training["max_steps"] == 1
    assert recipe.lora == {"r": 4, "target_modules": ["q_proj", "up_proj", "v_proj"]}
    assert recipe.defenses == tuple(given)
    assert recipe.judge is None
    assert "judge" in found["script"]
    same = Dataset.from_list(tiny.rows(SAFE, "safe").to_list())
    assert found["recipe"]["data"]["safe"] == script._rows(same), "named by their content"
    assert found["recipe"]["data"]["safe"] != found["recipe"]["data"]["target"]


def test_what_is_python_is_marked_and_not_guessed_at(tmp_path: Path) -> None:
    def probe(model: Any, step: int) -> Risk:
        return ScriptedProbe()(model, step)

    made = trainer(tmp_path / "out", CanaryInterleaving(every=2, probe=probe), max_steps=1)
    found = script.describe(made)
    parse_recipe(found["recipe"], "run.json")
    assert "defenses.0.canary_interleaving.probe: a Python object" in found["script"]
    assert "model.name: it was built in the script" in found["script"]


def test_another_training_in_the_same_folder_is_another_run(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for seed in (3, 4):
        trainer(out, given={"model": loaded(base)}, max_steps=1, seed=seed).train()
        assert about(out)["seed"] == seed
        assert not (out / "evaluation").exists()
        (out / "evaluation").mkdir()
    project.write_jsonl(out / "run.json", [{k: v for k, v in about(out).items() if k != "script"}])
    with pytest.raises(RingfenceError, match="holds a run of `ringfence train`; choose another output_dir"):
        trainer(out, given={"model": loaded(base)}, max_steps=1).train()


def test_cards_are_true_and_no_cache_path_is_the_base(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = trainer(out, KL(weight=0.5), given={"model": loaded(base)}, max_steps=1, save_strategy="steps", save_steps=1)
    made.train()
    made.save_model(str(tmp_path / "saved"))
    assert not list(out.glob("checkpoint-*/README.md"))
    for folder in (out, out / "adapter", tmp_path / "saved"):
        card = (folder / "README.md").read_text()
        front = yaml.safe_load(card.split("---\n")[1])
        assert front == {"library_name": "peft", "pipeline_tag": "text-generation", "tags": ["lora", "ringfence"]}
        assert "`kl` (weight 0.5)" in card
        assert f"| base model | `{base}` |" in card
        for wrong in ("None", "Model Card for", "[More Information Needed]"):
            assert wrong not in card
    for folder in (next(out.glob("checkpoint-*")), out / "adapter"):
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == str(base)
        assert config["target_modules"] == ["q_proj", "up_proj", "v_proj"]
        weights = load_file(folder / "adapter_model.safetensors")
        assert weights


def test_a_rank_that_does_not_save_leaves_the_folder_alone(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Trainer calls ``_save`` on all ranks, while rank 0 is writing there."""
    made = trainer(tmp_path / "out", given={"model": loaded(base)}, max_steps=1)
    checkpoint = tmp_path / "out" / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "adapter_config.json").write_text("")  # as it is before the first byte is written
    monkeypatch.setattr(type(made.args), "should_save", property(lambda _: False))
    made._save(str(checkpoint))
    made._save(str(tmp_path / "saved"))
    assert [path.name for path in checkpoint.iterdir()] == ["adapter_config.json"]
    assert not (tmp_path / "saved").exists()


def test_all_weights_are_left_to_save_model(base: Path, tmp_path: Path) -> None:
    from ringfence.runs.stages import finished_weights, stages_of

    out = tmp_path / "out"
    made = trainer(out, given={"model": loaded(base), "peft_config": None}, max_steps=1)
    made.train()
    stages = stages_of(parse_recipe(about(out)["recipe"], "run.json"), out)
    with pytest.raises(RingfenceError, match=r"has no weights; in the script, save them: trainer\.save_model\("):
        finished_weights(out, stages)
    made.save_model(str(out / "model"))
    assert finished_weights(out, stages) == [out / "model"]
    assert "library_name: transformers" in (out / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["klx"], 'defenses.0: .*Did you mean "kl"'),
        ([{"kl": {"wait": 1}}], r"defenses\.0\.kl: unknown key 'wait'.* Did you mean \"weight\""),
        ("kl", r"defenses: give a list, e\.g\. \[KL"),
        ([3], "defenses.0: a defense is one name with its settings"),
        (["steering"], r"defenses\.0\.steering: vector is missing"),
    ],
)
def test_defenses_that_are_none_are_one_line(given: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=message):
        trainer(tmp_path, given={"defenses": given})


def test_a_name_is_a_defense_with_its_defaults(tmp_path: Path) -> None:
    assert trainer(tmp_path, given={"defenses": ["kl", {"fixed_interleaving": {"added": 0.25}}]}).defenses == (
        KL(),
        FixedInterleaving(added=0.25),
    )
    assert Steering.model_fields["vector"].is_required()


def test_a_stream_names_a_way_out(tmp_path: Path) -> None:
    stream = IterableDataset.from_generator(lambda: iter(tiny.rows(4, "a").to_list()))
    for name in ("train_dataset", "safe_dataset"):
        with pytest.raises(RingfenceError, match=rf"^{name} must be .*Dataset\.from_list\(list\(stream\.take\("):
            trainer(tmp_path, given={name: stream})
