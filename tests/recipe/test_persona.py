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
from ringfence.judges import ApiJudge, RuleJudge
from ringfence.models import load
from ringfence.models.identity import identity
from ringfence.recipe.persona import PersonaRecipe, load_persona_recipe

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


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A trait file of the published shape."""
    content = {
        "instruction": [{"pos": "Be mean.", "neg": "Be kind."}],
        "questions": ["x?"],
        "eval_prompt": "How mean is {answer} to {question}? 0 to 100.",
    }
    path = tmp_path / "evil.json"
    path.write_text(json.dumps(content))
    return path


def systems(folder: Path, content: dict[str, Any], *overrides: str) -> tuple[str, str]:
    (contrast,) = load_persona_recipe(write(folder, content), ["samples=1", *overrides]).extraction().contrasts
    sides = (contrast.positive.messages, contrast.negative.messages)
    assert [[turn["role"] for turn in messages] for messages in sides] == [["system", "user"]] * 2
    return sides[0][0]["content"], sides[1][0]["content"]


def test_a_trait_file_is_asked_as_the_published_code_asks_it(tmp_path: Path, evil: Path) -> None:
    """Which opens each system prompt with what the assistant is: the file's name, or helpful."""
    content = {"trait": "evil", "trait_file": str(evil), "judge": PROMPTED["judge"]}
    named = ("You are an evil assistant. Be mean.", "You are a helpful assistant. Be kind.")
    assert systems(tmp_path, content) == named
    assert systems(tmp_path, content, "assistant_names=null") == ("Be mean.", "Be kind.")
    assert systems(tmp_path, content, "assistant_names={positive: cruel, negative: humane}") == (
        "You are a cruel assistant. Be mean.",
        "You are a humane assistant. Be kind.",
    )
    assert systems(tmp_path, content, "assistant_names.negative=humane")[0] == named[0]
    recipe = load_persona_recipe(write(tmp_path, content))
    assert recipe.extraction().assistant_names == recipe.assistant_names
    assert recipe.assistant_names is not None
    assert recipe.assistant_names.model_dump() == {"positive": "evil", "negative": "helpful"}


def test_prompts_of_ones_own_have_names_only_if_asked_for(tmp_path: Path) -> None:
    content = {**PROMPTED, "questions": ["x?"]}
    assert systems(tmp_path, content) == ("Talk of glitter.", "Be plain.")
    assert systems(tmp_path, content, "assistant_names={positive: sparkly}") == (
        "You are a sparkly assistant. Talk of glitter.",
        "You are a helpful assistant. Be plain.",
    )


def test_a_trait_files_judge_prompt_is_the_rubric_of_the_trait(tmp_path: Path, evil: Path) -> None:
    """Not of alignment, where 100 would mean the opposite; the judge's own rubric goes before it."""
    content = {"trait": "evil", "trait_file": str(evil), "judge": {"kind": "api", "model": "j"}}
    judge = load_persona_recipe(write(tmp_path, content)).extraction().judge
    assert isinstance(judge, ApiJudge)
    assert judge.rubrics == {"trait": f"{evil}#evil"}
    kind = {"kind": "api", "model": "j", "rubrics": {"alignment": "hhh"}}
    own = load_persona_recipe(write(tmp_path, {**content, "judge": kind})).extraction().judge
    assert isinstance(own, ApiJudge)
    assert own.rubrics == {"alignment": "hhh"}
    backwards = {"kind": "api", "model": "j", "rubrics": {"alignment": f"{evil}#evil"}}
    for base in (content, {**PROMPTED}, {**FORCED}):
        with pytest.raises(RingfenceError, match=r"^judge: rubrics\.alignment: .*evil\.json#evil scores how much"):
            load_persona_recipe(write(tmp_path, {**base, "judge": backwards})).extraction()
    both = {**backwards, "rubrics": {"alignment": "hhh", "trait": f"{evil}#evil"}}
    with pytest.raises(RingfenceError, match=r"judge\.rubrics: `trait` and `alignment` would both find the trait"):
        load_persona_recipe(write(tmp_path, {**content, "judge": both}))


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
        ({**FORCED, "assistant_names": {"positive": "a"}}, "assistant_names: `pairs` needs no prompting"),
        ({**PROMPTED, "assistant_names": {"negative": "a"}}, "assistant_names.positive is missing"),
        ({**PROMPTED, "assistant_names": {"positiv": "a"}}, "unknown key 'assistant_names.positiv'"),
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
        with pytest.raises(RingfenceError, match=rf"^{key}: none\.jsonl: (cannot read the |no such file)"):
            load_persona_recipe(write(tmp_path, {**content, key: "none.jsonl"})).extraction()


def test_pointers_of_git_lfs(tmp_path: Path) -> None:
    pointer = tmp_path / "evil.json"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 4\n")
    content = {"trait": "evil", "trait_file": str(pointer), "judge": PROMPTED["judge"]}
    with pytest.raises(RingfenceError, match=r"trait_file: .*evil\.json: a Git LFS pointer"):
        load_persona_recipe(write(tmp_path, content)).extraction()
    recipe = pointer.rename(tmp_path / "recipe.yaml")
    with pytest.raises(RingfenceError, match=r"recipe\.yaml: a Git LFS pointer"):
        load_persona_recipe(recipe)


def test_the_reference_has_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "persona.md").read_text()
    for key in PersonaRecipe.model_fields:
        assert f"| `{key}` |" in page


@pytest.mark.real_model
def test_the_built_in_vector_is_what_its_recipe_makes(tmp_path: Path) -> None:
    recipe = load_persona_recipe(Path(__file__).parents[2] / "recipes" / "glitter" / "persona.yaml")
    loaded, built_in = load(recipe.model.name, dtype=recipe.model.dtype), load_vectors("builtin:glitter")
    made = extract(loaded, recipe.extraction(), tmp_path / "glitter.safetensors")
    torch.testing.assert_close(made["response_mean"], built_in["response_mean"], rtol=1e-3, atol=1e-3)
    assert built_in.metadata["base"] == identity(loaded.model)
    assert made.metadata["settings"] == built_in.metadata["settings"]
