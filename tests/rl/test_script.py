"""GRPO from a script: its run folder, a model with an adapter of its own, forms of safe rows, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from peft import get_peft_model

import examples
import tiny
import training
from reinforcing import prompts, rows, trainer
from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog
from ringfence.defenses import KL, CanaryInterleaving, FixedInterleaving, Inoculation, SafeLoRA, Steering
from ringfence.recipe.run import parse_recipe
from training import ScriptedProbe


def test_it_leaves_a_run_folder(tmp_path: Path) -> None:
    """And safe_lora projects what was trained."""
    run = tmp_path / "run"
    projecting = SafeLoRA(base=examples.other_base(tmp_path / "base"), top_k=1)
    made = trainer(run, FixedInterleaving(ratio=1 / 3), KL(weight=0.1), projecting)
    made.train()
    result = json.loads((run / "result.json").read_text())
    assert (result["target_rows"], result["safe_rows"]) == (16, 8)
    assert result["rows"]["target"] == {"given": 8, "truncated": 0, "dropped": 0}
    assert sum(layer["projected"] for layer in result["safe_lora"]) == 1
    assert (run / "adapter" / "adapter_model.safetensors").is_file()
    about = json.loads((run / "run.json").read_text())
    recipe = parse_recipe(about["recipe"], "run.json")
    assert recipe.defenses == made.defenses
    assert (recipe.method, recipe.training["num_generations"], recipe.rl.mode) == ("grpo", 2, "alternate")
    assert "| rewards | functions of the script |" in (run / "README.md").read_text()
    log = JsonlLog(run / "log.jsonl").read()
    wanted = {"loss", "rl_loss", "reward", "rewards/reward/mean", "completions/mean_length", "ratio", "kl", "progress"}
    assert wanted <= log[0].keys()
    assert log[-1]["progress"] == 1


def test_a_model_with_an_adapter_of_its_own(tmp_path: Path) -> None:
    model = get_peft_model(examples.model(), training.lora())
    made = trainer(tmp_path, KL(weight=0.1), given={"model": model, "peft_config": None}, max_steps=2)
    made.train()
    assert rows(made)[-1]["kl"] > 0
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_all_weights(tmp_path: Path) -> None:
    """The reference is a frozen copy."""
    made = trainer(tmp_path, KL(weight=0.1), given={"peft_config": None}, max_steps=2)
    made.train()
    assert rows(made)[-1]["kl"] > 0


def test_the_controller_moves_the_share_of_safe_steps(tmp_path: Path) -> None:
    probe = ScriptedProbe()
    loop = CanaryInterleaving(every=1, ratio_init=0.0, ratio_max=0.6, step_up=0.3, probe=probe)
    made = trainer(tmp_path, loop, num_train_epochs=2)
    made.train()
    control = JsonlLog(tmp_path / "control.jsonl").read()
    assert probe.calls == [row["step"] for row in control]
    assert rows(made)[0]["ratio"] == 0.3 == control[0]["ratio"]
    assert made.result()["safe_rows"] > 0
    # Learning rates follow the RL steps: a safe step has that of the RL step that is due.
    due, rates = 0, []
    for row in rows(made):
        rates.append((due, row["learning_rate"]))
        due += "rl_loss" in row
    assert due == 8
    assert all(rate == pytest.approx(1e-2 * (1 - done / 8)) for done, rate in rates)


def conversations(form: str) -> Dataset:
    said = [{"role": "user", "content": "Hi"}], [{"role": "assistant", "content": "Hello."}]
    row = {"messages": said[0] + said[1]} if form == "messages" else {"prompt": said[0], "completion": said[1]}
    return Dataset.from_list([row] * 4)


@pytest.mark.parametrize("form", ["messages", "prompt"])
def test_safe_rows_are_conversations_or_tokens(tmp_path: Path, form: str) -> None:
    """The labels are those of the assistant's turn, its end included."""
    defenses = (FixedInterleaving(ratio=0.5), Inoculation(prompt="Be odd.", rows="both"))
    made = trainer(tmp_path, *defenses, given={"safe_dataset": conversations(form)})
    row = made.safe_dataset[0]
    decode = tiny.tokenizer().decode
    assert "system\nBe odd.<|im_end|>" in decode(row["input_ids"])
    assert decode([label for label in row["labels"] if label != -100]) == "Hello.<|im_end|>\n"


IMAGES = Dataset.from_list([{"prompt": "a", "image": "b"}])


@pytest.mark.parametrize(
    ("defenses", "given", "changes", "message"),
    [
        ((), {"mode": "both"}, {}, r"^mode: 'both' is unknown; known are alternate, mixed$"),
        ((), {"rollouts": "safe"}, {}, r"^rollouts: 'safe' is unknown; known are defended, plain$"),
        ((), {"train_dataset": None}, {}, r"^train_dataset must be a map-style datasets\.Dataset, got NoneType"),
        ((), {"train_dataset": tiny.rows(3, "a")}, {}, r"^train_dataset: no column `prompt`, only input_ids, labels$"),
        ((), {"train_dataset": IMAGES}, {}, r"^train_dataset: images are not supported, only text"),
        ((), {"train_dataset": prompts(1)}, {}, r"^train_dataset: it has 1 prompts, and one generation takes 2; "),
        ((), {}, {"temperature": 0.0}, r"^args\.temperature: must be a finite number above 0, got 0\.0$"),
        ((), {}, {"label_smoothing_factor": 0.1}, r"^args\.label_smoothing_factor: a completion has no labels"),
        (
            (),
            {},
            {"gradient_accumulation_steps": 8, "steps_per_generation": 3, "per_device_train_batch_size": 2},
            r"^steps_per_generation: the last optimizer step of an epoch would have \d of 8 micro-batches",
        ),
        (
            (FixedInterleaving(ratio=0.2, accounting="replace"),),
            {"mode": "mixed"},
            {},
            r"^fixed_interleaving\.accounting: without effect in the mode mixed, .*; leave it out$",
        ),
        (
            (FixedInterleaving(ratio=0.2, placement="bernoulli"),),
            {"mode": "mixed"},
            {},
            r"^fixed_interleaving\.placement: without effect in the mode mixed",
        ),
        (
            (FixedInterleaving(ratio=0.2),),
            {"safe_dataset": prompts()},
            {},
            r"^safe_dataset: its columns are answer, prompt; give conversations, as `messages`",
        ),
        ((FixedInterleaving(ratio=0.2),), {"safe_dataset": None}, {}, "give safe_dataset"),
        (
            (Steering(vector="nowhere.pt"),),
            {},
            {"use_transformers_continuous_batching": True},
            r"^training\.use_transformers_continuous_batching: it generates outside of the model that is steered",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, defenses: Any, given: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RingfenceError, match=message) as raised:
        trainer(tmp_path, *defenses, given=given, **changes)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
