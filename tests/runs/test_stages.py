"""Stages of a run: what each starts from, what its penalties refer to, and that evaluation sees what was trained."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog, sha256
from ringfence.models import load
from ringfence.recipe.run import Recipe, load_recipe, parse_recipe
from ringfence.runs import train as runs
from ringfence.runs import trainer as trainers
from ringfence.runs.plan import RunPlan
from ringfence.runs.stages import finished_weights, on_base, stages_of, starting_model, tuned_model, weights_of

PLAIN = {"r": 4, "target_modules": ["q_proj", "v_proj"]}  # no dropout, so that two models can be compared
STILL = {"learning_rate": 0.0}


def stage(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "data": {"target": str(folder / "safe.jsonl")}, **changes}


def recipe(folder: Path, *stages: dict[str, Any], **changes: Any) -> Recipe:
    settings = {"lora": PLAIN, "defenses": [], "evaluation": {}, "stages": list(stages)}
    return load_recipe(project.make(folder, **{**settings, **changes}))


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(40).reshape(2, 20) + 3
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits


def adapter(run: Path, stage_folder: str = "") -> dict[str, torch.Tensor]:
    return load_file(run / stage_folder / "adapter" / "adapter_model.safetensors")


def base(folder: Path) -> Any:
    return load(str(folder / "tiny-model")).model


def first_penalty(folder: Path, name: str) -> float:
    return JsonlLog(folder / "log.jsonl").read()[0][name]


def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The trainers that a run makes."""
    made: list[Any] = []

    def remember(*arguments: Any) -> Any:
        made.append(trainers.new_trainer(*arguments))
        return made[-1]

    monkeypatch.setattr(runs, "new_trainer", remember)
    return made


def test_folders_and_parts(tmp_path: Path) -> None:
    made = recipe(tmp_path, stage(tmp_path, "benign"), stage(tmp_path, "more", adapter="new"))
    stages = stages_of(made, tmp_path / "run")
    assert [one.folder.relative_to(tmp_path).as_posix() for one in stages] == [
        "run",
        "run/stages/2-benign",
        "run/stages/3-more",
    ]
    assert [one.recipe for one in stages] == list(made.by_stage())


def test_the_first_stage_has_the_recipes_seed_and_later_ones_their_own() -> None:
    """Also over runs: seed 0's second stage must not be seed 1's."""
    later = [{"name": name, "data": {"target": "b"}} for name in "ab"]
    made = [parse_recipe({"seed": s, "data": {"target": "a"}, "stages": later}, "here") for s in range(5)]
    seeds = [[one.seed for one in stages_of(one_recipe, Path("run"))] for one_recipe in made]
    assert [first for first, *_ in seeds] == list(range(5))
    assert len({seed for row in seeds for seed in row}) == 15
    assert all(0 <= seed < 2**31 for row in seeds for seed in row)


@pytest.mark.parametrize("kinds", [("continue",), ("new",), ("continue", "new"), ("new", "continue"), ("new", "new")])
def test_evaluation_sees_the_model_that_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...]
) -> None:
    made = recipe(tmp_path, *(stage(tmp_path, f"s{i}", adapter=kind) for i, kind in enumerate(kinds)))
    trained = seen(monkeypatch)
    runs.train(RunPlan.load(made, tmp_path / "run"))
    found = tuned_model(base(tmp_path), stages_of(made, tmp_path / "run"))
    assert torch.equal(logits(found), logits(trained[-1].model))
    before = tuned_model(base(tmp_path), stages_of(made, tmp_path / "run")[:1])
    assert not torch.allclose(logits(found), logits(before)), "the later stages must have changed something"


def test_evaluation_sees_what_was_trained_without_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recipe(tmp_path, stage(tmp_path, "benign"), lora=None)
    trained = seen(monkeypatch)
    runs.train(RunPlan.load(made, tmp_path / "run"))
    assert torch.equal(
        logits(tuned_model(base(tmp_path), stages_of(made, tmp_path / "run"))), logits(trained[-1].model)
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            [
                "goes on with the adapter of stage 1",
                "a new adapter; the adapter before it is merged into the float32 w",
            ],
        ),
        ({"lora": None}, ["goes on with the weights of stage 1", "goes on with the weights of stage 2"]),
    ],
)
def test_every_stage_says_what_it_begins_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], said: list[str]
) -> None:
    last = "continue" if "lora" in changes else "new"
    made = recipe(tmp_path, stage(tmp_path, "b"), stage(tmp_path, "c", adapter=last), **changes)
    with caplog.at_level("INFO", logger="ringfence"):
        runs.train(RunPlan.load(made, tmp_path / "run"))
    found = [line for line in caplog.messages if "(of 3)" in line]
    assert found[0] == "stage 1 (of 3): on the model as it is"
    assert len(found) == 3
    for line, title, words in zip(found[1:], ("stage 2, b", "stage 3, c"), said, strict=True):
        assert line.startswith(f"{title} (of 3): {words}")


def test_continue_starts_from_the_adapter_before_it(tmp_path: Path) -> None:
    """At learning rate 0 it also ends there."""
    runs.train(RunPlan.load(recipe(tmp_path, stage(tmp_path, "still", training=STILL)), tmp_path / "run"))
    first, second = adapter(tmp_path / "run"), adapter(tmp_path / "run", "stages/2-still")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(tensor.any() for name, tensor in first.items() if "lora_B" in name)


def test_going_on_with_the_embedded_model_asks_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is the recipe's, in whatever is saved; PEFT would look for it on the hub."""
    made = recipe(tmp_path, stage(tmp_path, "more"), model="smollm2-135m")
    (tmp_path / "smollm2-135m").symlink_to(tmp_path / "tiny-model")
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path))
    asked: list[object] = []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("peft.utils.other.file_exists", lambda *arguments, **_: asked.append(arguments))
    runs.train(RunPlan.load(made, tmp_path / "run"))
    assert not asked
    saved = [json.loads(path.read_text()) for path in (tmp_path / "run").rglob("adapter_config.json")]
    assert len(saved) > 2
    assert {config["base_model_name_or_path"] for config in saved} == {"smollm2-135m"}


def test_a_continued_adapter_is_float32_on_half_weights(tmp_path: Path) -> None:
    model = {"name": str(tmp_path / "tiny-model"), "dtype": "bfloat16"}
    runs.train(RunPlan.load(recipe(tmp_path, stage(tmp_path, "still", training=STILL), model=model), tmp_path / "run"))
    first, second = adapter(tmp_path / "run"), adapter(tmp_path / "run", "stages/2-still")
    assert {tensor.dtype for tensor in (*first.values(), *second.values())} == {torch.float32}
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_new_merges_the_adapter_by_hand_and_starts_afresh(tmp_path: Path) -> None:
    """W + (alpha / r) B A with alpha 8 and r 4; B of the new adapter stays 0 at learning rate 0."""
    stages = [stage(tmp_path, name, adapter="new", training=STILL) for name in ("a", "b")]
    made = recipe(tmp_path, *stages)
    runs.train(RunPlan.load(made, tmp_path / "run"))
    first, second, third = (adapter(tmp_path / "run", at) for at in ("", "stages/2-a", "stages/3-b"))
    assert not any(tensor.any() for name, tensor in second.items() if "lora_B" in name)
    began = [{name: tensor for name, tensor in one.items() if "lora_A" in name} for one in (second, third)]
    assert all(not torch.equal(began[0][name], began[1][name]) for name in began[0]), "seeds of their own"
    merged = starting_model(base(tmp_path), stages_of(made, tmp_path / "run")[:2])
    untouched = base(tmp_path)
    for k in range(2):
        for part in ("q_proj", "v_proj"):
            name = f"model.layers.{k}.self_attn.{part}"
            a, b = (first[f"base_model.model.{name}.lora_{which}.weight"] for which in "AB")
            wanted = untouched.get_parameter(f"{name}.weight") + 8 / 4 * b @ a
            torch.testing.assert_close(merged.get_parameter(f"{name}.weight"), wanted)
    assert torch.equal(merged.get_parameter("model.norm.weight"), untouched.get_parameter("model.norm.weight"))


def test_penalties_of_all_kinds_of_stages_refer_to_the_base_model(tmp_path: Path) -> None:
    """At the first step the model of stage 1 is its reference, so LDIFS is 0; that of a stage after it is not.

    Whether the adapter goes on or is merged, the function is the same but for rounding, and so is the penalty.
    """
    defenses = [{"ldifs": {"every": 1}}, {"kl": {"weight": 0.1}}]
    found = {}
    for kind in ("continue", "new"):
        made = recipe(tmp_path, stage(tmp_path, "b", adapter=kind, defenses=defenses), defenses=defenses)
        runs.train(RunPlan.load(made, tmp_path / kind))
        found[kind] = [first_penalty(tmp_path / kind / "stages" / "2-b", name) for name in ("ldifs", "kl")]
        assert [first_penalty(tmp_path / kind, name) for name in ("ldifs", "kl")] == [0, pytest.approx(0, abs=1e-6)]
    assert found["continue"][0] > 0
    assert found["new"] == pytest.approx(found["continue"], rel=1e-2), "KL is 1e-5 here, so float32 shows"


def test_penalties_after_full_fine_tuning_refer_to_the_base_model(tmp_path: Path) -> None:
    defenses = [{"ldifs": {"every": 1}}]
    made = recipe(tmp_path, stage(tmp_path, "b", defenses=defenses, training=STILL), lora=None)
    runs.train(RunPlan.load(made, tmp_path / "run"))
    trained, untouched = tuned_model(base(tmp_path), stages_of(made, tmp_path / "run")), base(tmp_path)
    assert first_penalty(tmp_path / "run" / "stages" / "2-b", "ldifs") > 0
    assert not torch.equal(logits(trained), logits(untouched))


def test_a_named_reference_is_compared_with(tmp_path: Path) -> None:
    """The base model named anew gives 0 at the first step, another model does not."""
    tiny.model(seed=5).save_pretrained(tmp_path / "other")
    tiny.tokenizer().save_pretrained(tmp_path / "other")
    defenses = [{"ldifs": {"every": 1}}]
    for name, same in (("tiny-model", True), ("other", False)):
        made = recipe(tmp_path, defenses=defenses, reference=str(tmp_path / name))
        runs.train(RunPlan.load(made, tmp_path / f"run-{name}"))
        penalty = first_penalty(tmp_path / f"run-{name}", "ldifs")
        assert penalty == pytest.approx(0, abs=1e-9) if same else penalty > 1e-3
    about = json.loads((tmp_path / "run-other" / "run.json").read_text())
    assert str(tmp_path / "other") in about["inputs"]


def test_a_reference_is_loaded_only_for_a_penalty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    real = trainers.load_model
    monkeypatch.setattr(trainers, "load_model", lambda config: loaded.append(config.name) or real(config))
    other = str(tmp_path / "tiny-model")
    plain = recipe(tmp_path, reference=other, defenses=[{"kl": {"weight": 0}}])
    for defenses, count in (([{"kl": {"weight": 0}}], 1), ([{"kl": {"weight": 1}}], 2)):
        loaded.clear()
        runs.train(
            RunPlan.load(
                parse_recipe({**plain.resolved(), "defenses": defenses}, "here"),
                tmp_path / f"run-{count}-{len(defenses)}",
            )
        )
        assert len(loaded) == count


def test_on_base_and_weights(tmp_path: Path) -> None:
    kinds = ("continue", "new", "continue")
    stages = stages_of(
        recipe(tmp_path, *(stage(tmp_path, f"s{i}", adapter=k) for i, k in enumerate(kinds))), tmp_path / "run"
    )
    assert [on_base(stages[:count]) for count in (1, 2, 3, 4)] == [True, True, False, False]
    assert weights_of(stages) is None
    for one in stages:
        one.weights.mkdir(parents=True)
        (one.folder / "result.json").write_text("{}")
    assert weights_of(stages) == [stages[1].weights, stages[3].weights], "the third stage merges the second's adapter"
    (stages[2].folder / "result.json").unlink()
    assert weights_of(stages) is None


def test_the_weights_of_a_stage_that_are_gone_raise(tmp_path: Path) -> None:
    made = recipe(tmp_path, stage(tmp_path, "b", adapter="new"))
    runs.train(RunPlan.load(made, tmp_path / "run"))
    (tmp_path / "run" / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(RingfenceError, match=r"run/adapter/adapter_model.safetensors: is missing"):
        tuned_model(base(tmp_path), stages_of(made, tmp_path / "run"))


def flip(file: Path) -> None:
    """One bit of the last weight."""
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:200])


@pytest.mark.parametrize(("lora", "kind"), [(PLAIN, "new"), (PLAIN, "continue"), (None, "continue")])
def test_a_stage_does_not_begin_with_damaged_weights(tmp_path: Path, lora: Any, kind: str) -> None:
    """It says which file is damaged; without the folder the stage before saves it again, and all comes out the same."""
    made, run = recipe(tmp_path, stage(tmp_path, "b", adapter=kind), lora=lora), tmp_path / "run"
    runs.train(RunPlan.load(made, run))
    first, last = (one.weights for one in stages_of(made, run))
    (file,) = first.glob("*.safetensors")
    results = [json.loads((at.parent / "result.json").read_text())["weights"] for at in (first, last)]
    assert set(results[0]) >= {file.name, "config.json" if lora is None else "adapter_config.json"}
    assert {name: sha256(first / name) for name in results[0]} == results[0]
    shutil.rmtree(run / "stages")
    for damage, name in ((flip, file.name), (cut, file.name), (Path.unlink, file.name), (cut, sorted(results[0])[0])):
        whole = (first / name).read_bytes()
        damage(first / name)
        said = rf"/{name}: is (damaged, its SHA-256 .*|missing); delete {first}, and run again the command that made it"
        with pytest.raises(RingfenceError, match=said) as caught:
            runs.train(RunPlan.load(made, run))
        assert "\n" not in str(caught.value)
        (first / name).write_bytes(whole)
    flip(file)
    shutil.rmtree(first)
    runs.train(RunPlan.load(made, run))
    assert [json.loads((at.parent / "result.json").read_text())["weights"] for at in (first, last)] == results


def test_damaged_weights_are_not_evaluated(tmp_path: Path) -> None:
    made, run = recipe(tmp_path, stage(tmp_path, "b", adapter="new")), tmp_path / "run"
    runs.train(RunPlan.load(made, run))
    stages = stages_of(made, run)
    assert finished_weights(run, stages) == [one.weights for one in stages]
    for one in reversed(stages):
        flip(one.weights / "adapter_model.safetensors")
        with pytest.raises(RingfenceError, match=rf"^{one.weights}/adapter_model.safetensors: is damaged, its SHA-256"):
            finished_weights(run, stages)
    (run / "README.md").write_text("a card may change")
    (run / "result.json").write_text("[]")
    with pytest.raises(RingfenceError, match=r"run/result.json: is no result of a training; delete it, and run again"):
        finished_weights(run, stages)


def test_what_a_kill_has_left_of_the_weights_is_saved_anew(tmp_path: Path) -> None:
    """Without result.json nobody knows whether they are whole."""
    made, run = recipe(tmp_path), tmp_path / "run"
    before = runs.train(RunPlan.load(made, run))["weights"]
    (run / "result.json").unlink()
    cut(run / "adapter" / "adapter_model.safetensors")
    assert runs.train(RunPlan.load(made, run))["weights"] == before
