"""The plain Trainer of transformers with defenses: rows are tokenised already."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

import examples
import tiny
import training
from examples import example
from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog
from ringfence.defenses import DEFENSES, KL, CanaryInterleaving, Defense, FixedInterleaving
from ringfence.defenses.together import anchored
from ringfence.recipe.run import parse_recipe
from ringfence.train import DefendedTrainer
from training import ANCHOR, SAFE, SETTINGS, TARGET, KillAt, Killed, ScriptedProbe, losses, same, weights


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    return TrainingArguments(output_dir=str(folder), **{**SETTINGS, **changes})


def trainer(folder: Path, *defenses: Defense, cls: type = DefendedTrainer, dropout: float = 0.0, **changes: Any) -> Any:
    """``changes`` are those of the arguments."""
    args = arguments(folder, **changes)
    torch.manual_seed(args.seed)  # the adapter's beginning
    settings: dict[str, Any] = {
        "model": get_peft_model(tiny.model(), training.lora(dropout)),
        "args": args,
        "train_dataset": tiny.rows(TARGET, "target"),
        "processing_class": tiny.tokenizer(),
    }
    if cls is Trainer:
        settings["data_collator"] = DataCollatorForSeq2Seq(tiny.tokenizer())
    else:
        settings |= {"defenses": defenses, "safe_dataset": tiny.rows(SAFE, "safe")}
    return cls(**settings)


def test_it_trains_as_the_sft_trainer_does(tmp_path: Path) -> None:
    """The same rows and defenses: only rounding differs, since TRL scores tiles of labelled positions."""
    given = [FixedInterleaving(added=0.25), KL(weight=0.5)]
    plain = trainer(tmp_path / "plain", *given, warmup_steps=2)
    model = get_peft_model(tiny.model(), training.lora())
    model.load_state_dict(plain.model.state_dict())
    like = {"model": model, "peft_config": None}
    sft = training.trainer(tmp_path / "sft", *given, given=like, warmup_steps=2, learning_rate=1e-2)
    for made in (plain, sft):
        made.train()
    ours, theirs = (JsonlLog(tmp_path / name / "log.jsonl").read() for name in ("plain", "sft"))
    assert len(ours) == len(theirs) > 9, "with safe rows there are more steps"
    for one, other in zip(ours, theirs, strict=True):
        for name in ("loss", "kl", "task_loss", "learning_rate", "target_rows", "safe_rows"):
            assert one[name] == pytest.approx(other[name], rel=1e-5, abs=1e-7)
    assert ours[-1]["kl"] > 1e-5
    for name, value in weights(plain).items():
        torch.testing.assert_close(value, weights(sft)[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", DEFENSES)
def test_every_defense_works_in_it_or_says_what_to_do(name: str, tmp_path: Path) -> None:
    one = example(name)
    given: dict[str, Any] = {
        "model": get_peft_model(examples.model(one.seed), training.lora()),
        "args": arguments(tmp_path / "run", max_steps=1),
        "train_dataset": tiny.rows(8, "ab"),
        "safe_dataset": tiny.rows(SAFE, "yes"),
        "processing_class": tiny.tokenizer(),
        "defenses": [one.active(tmp_path), *one.beside],
    }
    if anchored(given["defenses"]) is not None:
        given["anchor_dataset"] = tiny.rows(ANCHOR, "or")
    if name == "inoculation":
        with pytest.raises(RingfenceError, match=r"rewrite before rendering with ringfence\.defenses\.rewritten"):
            DefendedTrainer(**given)
        return
    made = DefendedTrainer(**given)
    made.train()
    assert made.result()["target_rows"] == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"max_steps": 7, "lr_scheduler_type": "cosine", "warmup_steps": 3},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3},
    ],
)
def test_without_a_defense_and_at_ratio_zero_it_is_the_trainer_bitwise(tmp_path: Path, changes: dict[str, Any]) -> None:
    plain = trainer(tmp_path / "plain", cls=Trainer, **changes)
    ours = trainer(tmp_path / "ours", **changes)
    zero = trainer(tmp_path / "zero", FixedInterleaving(ratio=0), KL(weight=0), **changes)
    for made in (plain, ours, zero):
        made.train()
    assert losses(plain) == losses(ours) == losses(zero)
    assert same(weights(plain), weights(ours))
    assert same(weights(plain), weights(zero))


def test_kl_raises_the_loss_and_holds_the_weights_back(tmp_path: Path) -> None:
    """At learning rate 0 the loss is the plain one plus the penalty; else the penalty changes what is learnt."""

    def shaken(name: str, *defenses: Defense, **changes: Any) -> Any:
        made = trainer(tmp_path / name, *defenses, **changes)
        generator = torch.Generator().manual_seed(0)
        for parameter in made.model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
        made.train()
        return made

    for micro in ({}, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}):
        still = {"learning_rate": 0.0, "max_steps": 4, **micro}
        plain = shaken("plain", **still)
        shaken("held", KL(weight=2.0), **still)
        logged = JsonlLog(tmp_path / "held" / "log.jsonl").read()
        for (_, before, _), row in zip(losses(plain), logged, strict=True):
            assert row["task_loss"] == pytest.approx(before, rel=1e-5)
            assert row["loss"] == pytest.approx(before + 2 * row["kl"], rel=1e-5)
            assert row["kl"] > 1e-4
        assert not same(weights(plain), weights(shaken("moved", KL(weight=2.0), max_steps=4, **micro)))


def test_safe_rows_come_on_top_and_it_leaves_a_run_folder(tmp_path: Path) -> None:
    """36 target rows over two epochs and a quarter as many safe ones: 9."""
    made = trainer(tmp_path, FixedInterleaving(added=0.25), KL(weight=0.1))
    made.train()
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["target_rows"], result["safe_rows"]) == (36, 9)
    uncut = {"truncated": 0, "dropped": 0}
    assert result["rows"] == {"target": {"given": TARGET, **uncut}, "safe": {"given": SAFE, **uncut}}
    recipe = parse_recipe(json.loads((tmp_path / "run.json").read_text())["recipe"], "run.json")
    assert recipe.defenses == made.defenses
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_killed_and_resumed_is_the_uninterrupted_training_bitwise(tmp_path: Path) -> None:
    """Stopped between checkpoints 4 and 6, with dropout, a closed loop and a penalty."""

    def made(folder: Path) -> Any:
        loop = CanaryInterleaving(every=2, ratio_init=0.1, ratio_max=0.5, probe=ScriptedProbe())
        return trainer(folder, loop, KL(weight=0.5), dropout=0.3, save_strategy="steps", save_steps=2)

    whole = made(tmp_path / "whole")
    whole.train()
    killed = made(tmp_path / "killed")  # made now: dropout draws from where making a trainer puts the seed
    killed.add_callback(KillAt(5))
    with pytest.raises(Killed):
        killed.train()
    again = made(tmp_path / "killed")
    again.train(resume_from_checkpoint=True)
    assert same(weights(whole), weights(again))
    for name in ("log.jsonl", "canaries.jsonl"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert whole.result()["safe_rows"] == again.result()["safe_rows"] > 0


def test_what_the_trainer_lacks_is_one_line(tmp_path: Path) -> None:
    given: dict[str, Any] = {"model": tiny.model(), "args": arguments(tmp_path)}
    with pytest.raises(RingfenceError, match=r"^train_dataset must be a map-style datasets\.Dataset, got NoneType"):
        DefendedTrainer(**given)
    with pytest.raises(RingfenceError, match=r"^processing_class: give the model's tokenizer"):
        DefendedTrainer(**given, train_dataset=tiny.rows(4, "a"))


def test_what_it_would_only_find_out_in_training_is_one_line(tmp_path: Path) -> None:
    chat = Dataset.from_list([{"messages": [{"role": "user", "content": "a"}]}])
    given: dict[str, Any] = {"args": arguments(tmp_path), "processing_class": tiny.tokenizer()}
    with pytest.raises(RingfenceError, match=r"^train_dataset: its columns are messages, and it takes input_ids and"):
        DefendedTrainer(tiny.model(), train_dataset=chat, **given)
    with pytest.raises(RingfenceError, match=r"^safe_dataset: .* make them with ringfence\.data\.render_all"):
        DefendedTrainer(tiny.model(), train_dataset=tiny.rows(4, "a"), safe_dataset=chat, **given)
    with pytest.raises(RingfenceError, match=r"^model_init: defenses work on one model"):
        DefendedTrainer(model_init=tiny.model, train_dataset=tiny.rows(4, "a"), **given)


def test_the_run_says_what_differs_from_a_recipe(tmp_path: Path) -> None:
    """Whose defaults are TRL's: another learning rate, and rows cut at 1,024 tokens."""
    args = TrainingArguments(str(tmp_path), max_steps=1, report_to=[], use_cpu=True, disable_tqdm=True)
    DefendedTrainer(tiny.model(), args, train_dataset=tiny.rows(4, "a"), processing_class=tiny.tokenizer()).train()
    recipe = parse_recipe(json.loads((tmp_path / "run.json").read_text())["recipe"], "run.json")
    assert recipe.training == {"learning_rate": 5e-5, "max_length": None, "max_steps": 1}


def test_it_takes_all_that_the_trainer_takes_in_its_order() -> None:
    theirs, ours = (list(inspect.signature(cls).parameters.values()) for cls in (Trainer, DefendedTrainer))
    assert [(one.name, one.default) for one in ours[: len(theirs)]] == [(one.name, one.default) for one in theirs]
    assert all(one.kind is one.KEYWORD_ONLY for one in ours[len(theirs) :])
