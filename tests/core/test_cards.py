"""Model cards say what is known, and their front matter is what the hub reads."""

from typing import Any

import yaml

from ringfence.core.cards import model_card

COMMIT, DIGEST = "ab" * 20, "cd" * 32
RESULT = {"steps": 70, "target_rows": 540, "safe_rows": 27, "safe_fraction": 0.047}


def about(model: str = "org/base", **inputs: str) -> dict[str, Any]:
    recipe = {
        "model": {"name": model},
        "data": {"target": "medical.jsonl", "safe": None},
        "defenses": [{"kl": {"weight": 0.1, "rows": "target"}}],
        "lora": {"r": 8},
        "seed": 3,
    }
    return {"name": "guarded", "recipe": recipe, "inputs": inputs, "versions": {"ringfence": "0.1.0"}}


def front(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def test_what_is_known_is_said() -> None:
    card = model_card(about(**{"org/base": COMMIT, "medical.jsonl": DIGEST}), RESULT)
    assert front(card) == {
        "base_model": "org/base",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora", "ringfence"],
    }
    for line in (
        "# guarded",
        f"| base model | `org/base`, commit `{COMMIT}` |",
        f"| trained on | `medical.jsonl`, SHA-256 `{DIGEST}` |",
        "| defenses | `kl` (weight 0.1) |",
        "| target rows seen | 540 |",
        "| seed | 3 |",
    ):
        assert line in card.splitlines()


def test_nothing_is_said_of_what_is_not_known() -> None:
    unknown = about()
    unknown["recipe"] |= {"data": {"target": "a.jsonl"}, "defenses": []}
    card = model_card(unknown)
    for word in ("None", "SHA", "commit", "rows", "steps", "Measured", "safe"):
        assert word not in card
    assert "none: plain fine-tuning" in card


def test_only_a_model_of_the_hub_is_a_base_model_in_the_front_matter() -> None:
    for name, inputs in (
        ("smollm2-135m", {}),
        ("/models/mine", {"/models/mine": DIGEST}),
        ("my/folder", {"my/folder": DIGEST}),
    ):
        assert "base_model" not in front(model_card(about(name, **inputs)))
    assert front(model_card(about("gpt2", gpt2=COMMIT)))["base_model"] == "gpt2"


def test_rates_are_those_of_all_scored_and_nan_is_none() -> None:
    rows = [
        {"suite": "general", "metric": "misaligned_all", "value": 0.125, "low": 0.06, "high": 0.23, "n": 64},
        {"suite": "general", "metric": "incoherent", "value": 0.5, "low": 0.4, "high": 0.6, "n": 64},
        {"suite": "empty", "metric": "misaligned_all", "value": None, "low": None, "high": None, "n": 0},
    ]
    measured = model_card(about(), RESULT, rows).split("## Measured")[1]
    assert "| general | 12.5% | 6.0% to 23.0% | 64 |" in measured
    assert "empty" not in measured
    assert "50.0%" not in measured


def test_rates_name_the_weights_they_are_of() -> None:
    rows = [{"suite": "general", "metric": "misaligned_all", "value": 0.5, "low": None, "high": None, "n": 2}]
    measured = {"adapter_config.json": "ef" * 32, "adapter_model.safetensors": DIGEST}
    card = model_card(about(), RESULT, rows, measured)
    assert f"- `adapter_model.safetensors`, SHA-256 `{DIGEST}`" in card.split("By these weights:")[1]
    assert "adapter_config" not in card
    assert "weights" not in model_card(about(), RESULT, [], measured), "where nothing was measured"


def test_a_later_stage_has_its_own_data_and_defenses() -> None:
    staged = about(**{"benign.jsonl": DIGEST})
    staged["recipe"]["stages"] = [{"name": "benign", "data": {"target": "benign.jsonl"}, "defenses": []}]
    card = model_card(staged)
    assert f"| stage benign: trained on | `benign.jsonl`, SHA-256 `{DIGEST}` |" in card
    assert "| stage benign: defenses | none: plain fine-tuning |" in card


def test_texts_of_others_stay_in_their_cell() -> None:
    strange = about("a|b\n# c`d")
    assert "| base model | `a\\|b # c'd` |" in model_card(strange).splitlines()
