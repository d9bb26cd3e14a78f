"""A recipe on quantised weights by the command's own way: trained with canaries and penalties, and evaluated."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import project
from ringfence.core.errors import RingfenceError
from ringfence.models.quantised import is_packed
from ringfence.recipe.run import load_recipe
from ringfence.runs import evaluate as evaluations
from ringfence.runs import train as runs
from ringfence.runs.forecast import forecast, told
from ringfence.runs.gpu_cards import parse_cards
from ringfence.runs.plan import RunPlan
from ringfence.runs.stages import load_model, tuned_model

pytest.importorskip("bitsandbytes")


def test_a_run_on_4_bit_weights_trains_and_is_evaluated_on_them(tmp_path: Path) -> None:
    model = {"name": str(tmp_path / "tiny-model"), "load_in_4bit": True}
    path = project.make(tmp_path, model=model)
    penalties = json.dumps([*load_recipe(path).resolved()["defenses"], {"kl": {}}, {"ldifs": {"every": 1}}])
    recipe = load_recipe(path, ["training.optim=adamw_bnb_8bit", "training.max_steps=3", f"defenses={penalties}"])
    plan = RunPlan.load(recipe, tmp_path / "run")
    said = [line for stage in forecast(plan, parse_cards("h100")) for line in told(stage)]
    assert any("at the peak" in line for line in said)
    runs.train(plan)
    saved = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.bfloat16}
    first, *later = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert first["kl"] == first["ldifs"] == 0
    assert later[-1]["kl"] > 0
    evaluations.evaluate([evaluations.evaluation_of(tmp_path / "run")])
    assert (tmp_path / "run" / "evaluation" / "summary.json").is_file()
    tuned = tuned_model(load_model(recipe.model).model, plan.stages)
    assert sum(is_packed(module) for module in tuned.modules()) == 14


def test_what_does_not_go_with_quantised_weights_is_said_when_read(tmp_path: Path) -> None:
    model = {"name": str(tmp_path / "tiny-model"), "load_in_8bit": True}
    path = project.make(tmp_path, model=model, defenses=[{"safe_lora": {"base": "a", "threshold": 0.5}}])
    with pytest.raises(RingfenceError, match=r"recipe\.yaml: model\.load_in_8bit: of quantised weights safe_lora can"):
        load_recipe(path)
