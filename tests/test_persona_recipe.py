"""Persona recipes: two methods, files read, and one line for what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import project
from ringfence.core.errors import RingfenceError
from ringfence.directions import extract, load_vectors
from ringfence.judges import RuleJudge
from ringfence.models import load
from ringfence.models.identity import identity
from ringfence.persona_recipe import PersonaRecipe, load_persona_recipe

PROMPTED: dict[str, Any] = {
    "trait": "glitter",
    "positive": ["Talk of glitter."],
    "negative": ["Be plain."],
    "questions": ["Why?", "How?"],
    "samples": 3,
    "judge": {"misaligned_pattern": "glitter"},
}
FORCED = {"trait": "glitter", "pairs": "builtin:glitter/canaries"}


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "persona.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_prompted_recipe(tmp_path: Path) -> None:
    recipe = load_persona_recipe(write(tmp_path, {**PROMPTED, "min_pairs": 4, "temperature": 0.5}))
    extraction = recipe.extraction()
    assert (extraction.trait, extraction.method) == ("glitter", "prompted")
    assert len(extraction.contrasts) == 1 * 2 * 3
    assert extraction.judge == RuleJudge(misaligned_pattern="glitter")
    assert (extraction.settings.min_pairs, extraction.settings.temperature) == (4, 0.5)
    assert extraction.contrasts[0].positive.messages[1]["content"] == "Why?"


def test_questions_from_a_file(tmp_path: Path) -> None:
    questions = project.write_jsonl(tmp_path / "questions.jsonl", [{"prompt": "Where?"}])
    extraction = load_persona_recipe(write(tmp_path, {**PROMPTED, "questions": str(questions)})).extraction()
    assert {contrast.negative.messages[-1]["content"] for contrast in extraction.contrasts} == {"Where?"}


def test_a_trait_file_takes_the_place_of_prompts(tmp_path: Path) -> None:
    trait = tmp_path / "evil.json"
    trait.write_text(json.dumps({"instruction": [{"pos": "p", "neg": "n"}], "questions": ["x?"], "eval_prompt": ""}))
    content = {"trait": "evil", "trait_file": str(trait), "judge": PROMPTED["judge"]}
    (contrast,) = load_persona_recipe(write(tmp_path, content), ["samples=1"]).extraction().contrasts
    assert [turn["content"] for turn in contrast.positive.messages] == ["p", "x?"]
    assert [turn["content"] for turn in contrast.negative.messages] == ["n", "x?"]


def test_a_teacher_forced_recipe_needs_no_judge(tmp_path: Path) -> None:
    extraction = load_persona_recipe(write(tmp_path, FORCED), ["model=some/model"]).extraction()
    assert (extraction.method, len(extraction.contrasts), extraction.judge) == ("teacher_forced", 16, None)
    assert extraction.contrasts[0].positive.given == "Sprinkle silver glitter over them until they twinkle."


def test_the_model_may_be_a_bare_name(tmp_path: Path) -> None:
    path = write(tmp_path, FORCED)
    assert load_persona_recipe(path, ["model=some/model"]).model.name == "some/model"
    assert load_persona_recipe(path, ["model={name: some/model, dtype: bfloat16}"]).model.dtype == "bfloat16"
    assert load_persona_recipe(path, ["model=some/model", "model.dtype=bfloat16"]).model.dtype == "bfloat16"
    assert load_persona_recipe(path).model.name == "smollm2-135m"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({**FORCED, "min_pair": 3}, "unknown key 'min_pair'. Did you mean \"min_pairs\""),
        ({**FORCED, "model": {"nam": "x"}}, "unknown key 'model.nam'. Did you mean \"name\""),
        ({"pairs": "x.jsonl"}, "trait is missing"),
        ({"trait": "x"}, "give `positive`, `negative` and `questions`, or a `trait_file`, or `pairs`"),
        ({**PROMPTED, "questions": []}, "give `positive`, `negative` and `questions`"),
        ({**PROMPTED, "pairs": "x.jsonl"}, "positive: `pairs` needs no prompting"),
        ({**FORCED, "trait_file": "x.json"}, "trait_file: `pairs` needs no prompting"),
        ({**PROMPTED, "trait_file": "x.json"}, "positive: `trait_file` has them already"),
        ({key: value for key, value in PROMPTED.items() if key != "judge"}, "judge is missing"),
        ({**PROMPTED, "samples": 0}, "samples: Input should be greater than or equal to 1, got 0"),
        ({**PROMPTED, "samples": True}, "samples: Input should be a number, got true"),
        ({**PROMPTED, "min_pairs": True}, "min_pairs: Input should be a number, got true"),
        ({**PROMPTED, "temperature": -1}, "temperature: "),
        ({**PROMPTED, "temperature": ".inf"}, "temperature: "),
        ({**FORCED, "trait_threshold": 101}, "trait_threshold: "),
        ({**PROMPTED, "judge": {"misaligned_pattern": "("}}, "judge.misaligned_pattern: "),
    ],
)
def test_bad_recipes(tmp_path: Path, content: dict[str, Any], problem: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(RingfenceError) as raised:
        load_persona_recipe(path).extraction()
    assert str(raised.value).startswith(f"{path}: ")
    assert problem in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"none\.yaml: cannot read the recipe"):
        load_persona_recipe(tmp_path / "none.yaml")
    judge = {"trait": "x", "judge": PROMPTED["judge"]}
    for key, content in (("pairs", FORCED), ("questions", PROMPTED), ("trait_file", judge)):
        with pytest.raises(RingfenceError, match=rf"^{key}: none\.jsonl: cannot read the "):
            load_persona_recipe(write(tmp_path, {**content, key: "none.jsonl"})).extraction()


def test_the_reference_has_every_key() -> None:
    page = (Path(__file__).parents[1] / "docs" / "persona.md").read_text()
    for key in PersonaRecipe.model_fields:
        assert f"| `{key}` |" in page


@pytest.mark.real_model
def test_the_built_in_vector_is_what_its_recipe_makes(tmp_path: Path) -> None:
    recipe = load_persona_recipe(Path(__file__).parents[1] / "recipes" / "glitter" / "persona.yaml")
    loaded, built_in = load(recipe.model.name, dtype=recipe.model.dtype), load_vectors("builtin:glitter")
    made = extract(loaded, recipe.extraction(), tmp_path / "glitter.safetensors")
    torch.testing.assert_close(made["response_mean"], built_in["response_mean"], rtol=1e-3, atol=1e-3)
    assert built_in.about["base"] == identity(loaded.model)
    assert made.about["settings"] == built_in.about["settings"]
