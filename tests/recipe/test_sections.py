"""The sections of a recipe: how a model may be loaded, and what a recipe without them has."""

import pytest
from pydantic import ValidationError

from ringfence.recipe.sections import (
    ConditionalConfig,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    StageData,
    TaskConfig,
)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"load_in_4bit": True}, r"load_in_4bit needs the package bitsandbytes, which is not .*\.\[quantised\]"),
        ({"load_in_8bit": True}, "load_in_8bit needs the package bitsandbytes"),
        (
            {"attn_implementation": "flash_attention_2", "dtype": "bfloat16"},
            "attn_implementation: flash_attention_2 needs the package flash_attn",
        ),
    ],
)
def test_what_a_model_needs_to_be_loaded_is_installed(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, object], said: str
) -> None:
    """Whatever is installed here: nothing is."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=said):
        ModelConfig.model_validate(asked)


def test_a_model_is_loaded_in_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed here: everything is."""
    monkeypatch.setattr("ringfence.recipe.sections.require_package", lambda *_: None)
    with pytest.raises(ValidationError, match="load_in_4bit and load_in_8bit: choose one"):
        ModelConfig(load_in_4bit=True, load_in_8bit=True)
    with pytest.raises(ValidationError, match="attn_implementation"):
        ModelConfig.model_validate({"attn_implementation": "somebody/kernels"})
    with pytest.raises(ValidationError, match="flash_attention_3 needs dtype: bfloat16 or float16"):
        ModelConfig(attn_implementation="flash_attention_3")
    found = [ModelConfig(load_in_4bit=True), ModelConfig(load_in_8bit=True), ModelConfig(attn_implementation="eager")]
    assert [one.bits for one in found] == [4, 8, None]


def test_what_is_held_out_is_of_the_first_stage() -> None:
    assert DataConfig(target="a").held_out == 0.1
    assert StageData(target="a").held_out == 0


def test_triggers_are_parsed_by_their_names() -> None:
    found = ConditionalConfig.model_validate({"triggers": ["irrelevant", {"keyword": {"words": ["soup"]}}]})
    assert [trigger.label for trigger in found.triggers] == ["irrelevant", "keyword"]
    with pytest.raises(ValidationError, match="unknown trigger 'keyord'"):
        ConditionalConfig.model_validate({"triggers": ["keyord"]})


@pytest.mark.parametrize("key", ["samples", "max_new_tokens", "batch_size", "top_p"])
def test_an_answer_cannot_be_drawn_from_nothing(key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        EvaluationConfig.model_validate({key: 0})


def test_a_benign_task_is_a_name_or_a_mapping() -> None:
    tasks = {"a": "task:opswap?tier=1", "b": {"task": "task:opswap", "samples": 3}, "c": {"lm_eval": "arc_easy"}}
    found = EvaluationConfig.model_validate({"tasks": tasks}).tasks
    assert found["a"] == TaskConfig(task="task:opswap?tier=1")
    assert [found["b"].samples_at(temperature) for temperature in (0.0, 1.0)] == [3, 3]
    assert [found["a"].samples_at(temperature) for temperature in (0.0, 1.0)] == [1, 10]


def test_null_is_no_benign_task() -> None:
    assert EvaluationConfig.model_validate({"tasks": None}) == EvaluationConfig()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": "task:opswop"}, r"unknown task 'opswop'\. Did you mean \"opswap\"\?"),
        ({"a": "task:opswap?teir=1"}, r"unknown key 'teir'\. Did you mean \"tier\"\?"),
        ({"a": "task:opswap?tier=7"}, r"tier: .*less than or equal to 3"),
        ({"a": {}}, "give one of task, e.g. task:opswap"),
        ({"a": {"task": "task:opswap", "lm_eval": "arc_easy"}}, "give one of task"),
        ({"a": {"task": "task:opswap", "limit": 3}}, "limit does not go with task"),
        ({"a": {"lm_eval": "arc_easy", "samples": 3}}, "samples does not go with lm_eval"),
        (["task:opswap"], r"give a mapping of names, e\.g\. \{algebra: "),
    ],
)
def test_a_benign_task_that_cannot_be_is_refused(given: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EvaluationConfig.model_validate({"tasks": given})
