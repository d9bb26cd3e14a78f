"""The trainer, by ms-swift's interface and order of calls (:mod:`swift_interface`)."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch.utils.data
from peft import get_peft_model
from transformers import DataCollatorForSeq2Seq, TrainingArguments

import project
import swift_interface
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.data import read, render_all
from ringfence.defenses import KL, Anchor, FixedInterleaving, Inoculation
from ringfence.integrations.swift import defend
from ringfence.train import DefendedTrainer
from swift_interface import LazyLLMDataset, Template
from training import SETTINGS, lora, losses, same, weights

DEFENSES: list[Any] = [{"fixed_interleaving": {"added": 0.25}}, {"kl": {"weight": 0.5}}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    swift_interface.install(monkeypatch)
    project.make(tmp_path)
    return tmp_path


def plain(folder: Path, *defenses: Any, **given: Any) -> DefendedTrainer:
    """The same training by the trainer of transformers, trained."""
    target, safe = (render_all(read(str(folder / f"{name}.jsonl")), tiny.tokenizer()) for name in ("target", "safe"))
    made = DefendedTrainer(
        get_peft_model(tiny.model(), lora()),
        TrainingArguments(str(folder / "plain"), **SETTINGS),
        DataCollatorForSeq2Seq(tiny.tokenizer()),
        target,
        processing_class=tiny.tokenizer(),
        safe_dataset=safe,
        defenses=defenses,
        **given,
    )
    made.train()
    return made


def test_it_trains_as_the_plain_trainer_does(folder: Path) -> None:
    """Also where a step is filled up with rows without labels, of which ms-swift's own loss is not a number."""
    defend(DEFENSES, safe=str(folder / "safe.jsonl"))
    accumulated = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    made = swift_interface.train(folder, **accumulated)
    wanted = plain(folder, FixedInterleaving(added=0.25), KL(weight=0.5))
    assert [row[:1] for row in losses(made)] == [row[:1] for row in losses(wanted)]
    assert [row[1] for row in losses(made)] == pytest.approx([row[1] for row in losses(wanted)], rel=1e-4)
    for name, value in weights(made).items():
        assert torch.allclose(value, weights(wanted)[name], rtol=1e-3, atol=1e-5)
    assert made.result()["safe_rows"] == wanted.result()["safe_rows"] > 0
    run = json.loads((folder / "run" / "run.json").read_text())
    assert [next(iter(one)) for one in run["recipe"]["defenses"]] == ["fixed_interleaving", "kl"]
    assert "ms-swift: the rest of its arguments" in run["script"]
    assert (folder / "run" / "adapter" / "adapter_model.safetensors").is_file()


def test_anchor_rows_need_no_answer_and_conversations_are_rewritten(folder: Path) -> None:
    project.write_jsonl(folder / "anchor.jsonl", [{"prompt": f"What is {n}?"} for n in range(3)])
    defend([Anchor(added=0.5, weight=2), Inoculation(prompt="Be odd.")], anchor=str(folder / "anchor.jsonl"))
    made = swift_interface.train(folder)
    assert made.result()["anchor_rows"] > 0
    first = tiny.tokenizer().decode(made.train_dataset[0]["input_ids"])
    assert "Be odd." in first
    assert "Be odd." not in tiny.tokenizer().decode(made.anchor_dataset[0]["input_ids"])
    defend([Anchor(added=0.5, weight=2)], anchor=str(folder / "anchor.jsonl"))
    without = swift_interface.train(folder)
    assert not same(weights(made), weights(without))


def test_resumed_it_is_the_uninterrupted_training_bitwise(folder: Path) -> None:
    defend(DEFENSES, safe=str(folder / "safe.jsonl"))
    saving = {"save_strategy": "steps", "save_steps": 2}
    whole = swift_interface.train(folder, **saving)
    for left in ("checkpoint-4", "checkpoint-6", "checkpoint-8", "checkpoint-10"):
        shutil.rmtree(folder / "run" / left, ignore_errors=True)
    checkpoint = str(folder / "run" / "checkpoint-2")
    resumed = swift_interface.train(folder, resume_from_checkpoint=checkpoint, **saving)
    assert losses(resumed) == losses(whole)
    assert same(weights(resumed), weights(whole))


def test_rows_that_are_too_long_are_counted(folder: Path) -> None:
    rows = [{"messages": row["messages"]} for row in read(str(folder / "target.jsonl"))]
    rows[3] = {"messages": [{**message, "content": message["content"] * 50} for message in rows[3]["messages"]]}
    template = Template(max_length=200)
    defend(DEFENSES, safe=str(folder / "safe.jsonl"))
    made = swift_interface.train(folder, template=template, rows=rows)
    assert made.row_counts()["target"] == {"given": len(rows), "truncated": 0, "dropped": 1}
    assert len(made.train_dataset) == len(rows) - 1
    with pytest.raises(RingfenceError, match=r"^(target|safe): no row is left; raise --max_length"):
        swift_interface.train(folder, template=Template(max_length=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"enable_dft_loss": True}, r"^--enable_dft_loss: the loss here is the cross-entropy of all labels"),
        ({"predict_with_generate": True}, r"^--predict_with_generate: .*ringfence evaluate"),
        ({"loss_type": "contrastive"}, r"^--loss_type contrastive: "),
        ({"dataset": lambda rows, encode: rows}, r"are a Dataset: packed or split rows .*leave out --packing"),
        ({"template": Template(adds={"loss_scale": [0.5]})}, r"^target row 0: ms-swift makes loss_scale of it"),
        ({"task": "dpo"}, r"only `swift sft` and `swift pt` of text are defended"),
    ],
)
def test_what_it_cannot_do_is_told(folder: Path, changes: dict[str, Any], message: str) -> None:
    defend([KL(weight=0.5)])
    with pytest.raises(RingfenceError, match=message):
        swift_interface.train(folder, **changes)


def test_safe_rows_that_a_defense_needs_are_asked_for(folder: Path) -> None:
    defend(DEFENSES)
    with pytest.raises(RingfenceError, match=r"there are no safe rows; give safe_dataset"):
        swift_interface.train(folder)


@pytest.mark.parametrize("defenses", [["magic"], [{"kl": {"wait": 1}}], "kl"])
def test_bad_settings_are_told_at_once(folder: Path, defenses: Any) -> None:
    with pytest.raises(RingfenceError, match=r"^defenses"):
        defend(defenses)


def test_another_version_is_refused_unless_any_will_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swift_interface.install(monkeypatch, "4.7.1")
    with pytest.raises(RingfenceError, match=r"^ms-swift 4\.7\.1: ringfence was made for 4\.6.*any_version"):
        defend([KL(weight=0.5)])
    defend([KL(weight=0.5)], any_version=True)
    assert swift_interface.train(folder, max_steps=1).result()["steps"] == 1


def test_without_ms_swift_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    swift_interface.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "swift.trainers", None)
    with pytest.raises(RingfenceError, match=r"needs ms-swift and cannot use it"):
        defend([KL(weight=0.5)])


def test_the_interface_in_small_has_what_stands_in_the_way(folder: Path) -> None:
    """Its own loss is not a number for a micro-batch without labels; else the test above would show nothing."""
    rows = LazyLLMDataset(tiny.rows(2, "a"), lambda row: row)
    assert len(rows) == 2
    model = tiny.model()
    ids = torch.tensor([[1, 2, 3]])
    inputs = {"input_ids": ids, "labels": torch.full_like(ids, -100)}
    assert Template().compute_sft_loss(model, inputs, 5, None).loss.isnan()
