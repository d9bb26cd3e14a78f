"""What recipes read, by name; none of it has to be there."""

from ringfence.recipe.inputs import persona_inputs, run_inputs, selection_inputs
from ringfence.recipe.persona import PersonaRecipe
from ringfence.recipe.run import Recipe
from ringfence.recipe.selection import SelectRecipe


def test_a_run_reads_models_suites_the_judges_files_and_the_data_of_each_stage() -> None:
    recipe = Recipe.model_validate(
        {
            "model": "org/model",
            "data": {"target": "target.jsonl", "safe": "safe.jsonl"},
            "lora": {"r": 4},
            "judge": {"kind": "api", "model": "m", "rubrics": {"alignment": "mine.txt"}},
            "evaluation": {"suites": {"general": "suite:theirs"}},
            "defenses": [{"fixed_interleaving": {"added": 0.1}}, {"steering": {"vector": "v.safetensors"}}],
            "stages": [{"name": "next", "data": {"target": "benign.jsonl"}}],
        }
    )
    first = ["org/model", "suite:theirs", "mine.txt", "target.jsonl", "safe.jsonl", "v.safetensors"]
    assert run_inputs(recipe) == [*first, "benign.jsonl"]


def test_a_selection_reads_its_pool_and_what_its_steps_name() -> None:
    gap = {"misaligned": ["runs/a", "runs/b"], "fine_tuning_set": "train.jsonl"}
    steps = [{"perplexity_gap": gap}, {"match_lengths": {"to": "other.jsonl"}}]
    recipe = SelectRecipe.model_validate({"model": "m", "pool": ["p.jsonl", "q.jsonl"], "steps": steps})
    assert selection_inputs(recipe) == ["m", "p.jsonl", "q.jsonl", "runs/a", "runs/b", "train.jsonl", "other.jsonl"]


def test_a_vector_reads_its_trait_file_or_its_pairs() -> None:
    judge = {"kind": "api", "model": "m"}
    published = PersonaRecipe.model_validate({"trait": "t", "model": "m", "trait_file": "t.json", "judge": judge})
    assert persona_inputs(published) == ["m", "t.json"]
    assert persona_inputs(PersonaRecipe(trait="t", pairs="pairs.jsonl")) == ["smollm2-135m", "pairs.jsonl"]
