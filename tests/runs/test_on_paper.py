"""What is known of a run before anything is loaded, and what it is refused for."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import project
from ringfence.core.errors import RingfenceError
from ringfence.recipe.run import load_recipe
from ringfence.runs import on_paper as module
from ringfence.runs import train as runs
from ringfence.runs import trainer as trainers
from ringfence.runs.arguments import training_arguments
from ringfence.runs.forecast import Forecast, forecast, told
from ringfence.runs.gpu_cards import Card, Cards, parse_cards
from ringfence.runs.plan import RunPlan

GIB = 2**30
ON_H100 = parse_cards("h100")


def planned(path: Path, *overrides: str) -> RunPlan:
    return RunPlan.load(load_recipe(path, overrides), path.parent / "run")


def on_card(plan: RunPlan, cards: Cards = ON_H100) -> list[Forecast]:
    found = forecast(plan, cards)
    assert all(isinstance(one, Forecast) for one in found)
    return list(found)  # type: ignore[arg-type]


def lines(plan: RunPlan, cards: Cards = ON_H100) -> dict[str, str]:
    """What is said of the first stage, by how each line begins."""
    said = (line.partition(":") for line in told(on_card(plan, cards)[0]))
    return {start: rest for start, _, rest in said}


def test_a_named_card_has_gpu_defaults_hours_and_room(tmp_path: Path) -> None:
    """`bf16` and checkpointing are on; the longest row decides memory; eight ranks divide time."""
    path = project.make(tmp_path, defenses=[{"fixed_interleaving": {"added": 0.5}}], evaluation={})
    args = training_arguments(planned(path).stages[0], True)
    assert (args.bf16, args.gradient_checkpointing) == (True, True)
    plain = on_card(planned(path))[0]
    assert plain.batch.rows == 4
    assert plain.batch.tokens == max(int(cut.lengths.max()) for cut in plain.cuts.values())
    assert on_card(planned(path, "training.max_length=50", "data.max_truncated=1"))[0].batch.tokens == 50
    found = lines(planned(path))
    assert found["h100"] == " 79.1 GiB, fits"
    assert found["time"].startswith(" about 0 s on 1 x h100, 1.5 times more or less for models of 3B and more in ")
    eight = on_card(planned(path), parse_cards("8xh100"))[0]
    assert "memory on each rank" in lines(planned(path), parse_cards("8xh100"))
    assert eight.drawn[0].step < plain.drawn[0].step
    assert eight.seconds[0] < plain.seconds[0] / 4


def test_penalties_keep_states_and_full_fine_tuning_a_copy(tmp_path: Path) -> None:
    path = project.make(tmp_path, defenses=[{"kl": {}}, {"ldifs": {"every": 1}}], evaluation={})
    both = on_card(planned(path))[0]
    alone = on_card(planned(path, "defenses=[]"))[0]
    assert both.memory.reference == 0
    assert (both.memory.working or 0) > (alone.memory.working or 0)
    assert both.seconds[0] == pytest.approx(1.292 * alone.seconds[0])
    full = on_card(planned(path, "lora=null"))[0]
    assert full.memory.reference == full.memory.weights
    other = on_card(planned(path, f"reference={tmp_path / 'tiny-model'}"))[0]
    assert other.memory.reference == other.memory.weights


def test_a_merged_stage_has_a_reference_of_its_own(tmp_path: Path) -> None:
    data = {"target": str(tmp_path / "safe.jsonl")}
    stages = [{"name": "next", "adapter": "new", "data": data, "defenses": ["kl"]}]
    first, second = on_card(planned(project.make(tmp_path, defenses=[], evaluation={}, stages=stages)))
    assert (first.memory.reference, second.memory.reference) == (0, second.memory.weights)


def test_a_card_that_the_weights_do_not_fit_is_refused_before_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainers, "load_model", lambda *_: pytest.fail("a model is loaded"))
    plan = planned(project.make(tmp_path, defenses=[], evaluation={}))
    small = Cards(Card("small", 1e-5, 1.0))
    with pytest.raises(RingfenceError) as caught:
        runs.train(plan, small)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(
        f"model: {tmp_path / 'tiny-model'} has 0.0 MiB of weights in float32, and small "
    )
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(runs, "card_here", lambda: small.card)
    with pytest.raises(RingfenceError, match=r"^model: "):
        runs.train(plan)
    assert lines(plan, small)["small"].endswith("too small: the weights alone are more")


def test_a_peak_that_may_not_fit_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At 4 rows of max_length; the rows themselves are shorter."""
    plan = planned(project.make(tmp_path, defenses=[], evaluation={}))
    peak = on_card(plan)[0].memory.peak
    assert peak is not None
    tight = Cards(Card("tight", 1.0 + peak / GIB, 1.0))
    with caplog.at_level(logging.WARNING):
        module.refuse_too_small(plan, ON_H100)
        assert not caplog.records
        module.refuse_too_small(plan, tight)
    assert "stage 1 may not fit tight: about " in caplog.text
    assert "with 4 rows of max_length 1,024" in caplog.text
    assert "may not fit: what is left is within the estimate's error" in lines(plan, tight)["tight"]
    assert "too small; take gradient_checkpointing" in lines(plan, Cards(Card("tight", 1.0001, 1.0)))["tight"]


def test_no_numbers_without_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = project.make(tmp_path, defenses=[], evaluation={})
    (tmp_path / "tiny-model" / "config.json").unlink()
    with pytest.raises(RingfenceError, match=r"^model: cannot load the model .*tiny-model"):
        forecast(planned(path), ON_H100)
    with pytest.raises(RingfenceError, match=r"^model: cannot load the model .*tiny-model"):
        module.refuse_too_small(planned(path), ON_H100)


def test_weights_are_not_needed(tmp_path: Path) -> None:
    path = project.make(tmp_path, defenses=[], evaluation={})
    before = on_card(planned(path))[0].memory
    bare = tmp_path / "bare"
    shutil.copytree(tmp_path / "tiny-model", bare, ignore=shutil.ignore_patterns("*.safetensors"))
    assert on_card(planned(path, f"model={bare}"))[0].memory == before


def test_grpo_says_what_is_known(tmp_path: Path) -> None:
    training = {"per_device_train_batch_size": 4, "num_generations": 2, "max_steps": 2}
    changes: dict[str, Any] = {"training": training, "method": "grpo", "defenses": [], "evaluation": {}}
    path = project.make(tmp_path, **changes)
    rows = [{"messages": [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "1"}], "answer": "1"}] * 4
    recipe = yaml.safe_load(path.read_text())
    recipe["data"] |= {"target": str(project.write_jsonl(tmp_path / "counting.jsonl", rows)), "held_out": 0}
    path.write_text(yaml.safe_dump(recipe))
    said = told(forecast(planned(path), ON_H100)[0])
    assert "no peak, since how much rollouts take is not known beforehand" in said[-3]
    assert said[-2] == "h100: 79.1 GiB; the weights fit, and no more is known"
    assert said[-1].startswith("time: not estimated")
    with pytest.raises(RingfenceError, match=r"^model: "):
        module.refuse_too_small(planned(path), Cards(Card("small", 1e-5, 1.0)))
