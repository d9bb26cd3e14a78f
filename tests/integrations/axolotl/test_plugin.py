"""The plugin, by Axolotl's interface and order of calls (:mod:`axolotl_interface`)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from pydantic import ValidationError
from transformers import DataCollatorForSeq2Seq, TrainingArguments

import axolotl_interface
import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.data import read, render_all
from ringfence.defenses import KL, FixedInterleaving
from ringfence.integrations import axolotl
from ringfence.integrations.axolotl.settings import PLUGIN
from ringfence.recipe.run import parse_recipe
from ringfence.train import DefendedTrainer
from training import SETTINGS, lora, losses, same, weights

DEFENSES: list[Any] = [{"fixed_interleaving": {"added": 0.25}}, {"kl": {"weight": 0.5}}]


@pytest.fixture(autouse=True)
def interface(monkeypatch: pytest.MonkeyPatch) -> None:
    axolotl_interface.install(monkeypatch)


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    project.make(tmp_path)
    return {
        "plugins": [PLUGIN],
        "datasets": [{"path": str(tmp_path / "target.jsonl"), "type": "chat_template"}],
        "output_dir": str(tmp_path / "run"),
        "val_set_size": 0.5,
        "ringfence": {"defenses": DEFENSES, "safe": [{"path": str(tmp_path / "safe.jsonl"), "type": "chat_template"}]},
    }


def test_it_trains_as_the_plain_trainer_does_bitwise(config: dict[str, Any], tmp_path: Path) -> None:
    made = axolotl_interface.train(config)
    target, safe = (render_all(read(str(tmp_path / f"{name}.jsonl")), tiny.tokenizer()) for name in ("target", "safe"))
    plain = DefendedTrainer(
        get_peft_model(tiny.model(), lora()),
        TrainingArguments(str(tmp_path / "plain"), **SETTINGS),
        DataCollatorForSeq2Seq(tiny.tokenizer(), pad_to_multiple_of=64),
        target.select(range(7, 14)),
        processing_class=tiny.tokenizer(),
        safe_dataset=safe,
        defenses=[FixedInterleaving(added=0.25), KL(weight=0.5)],
    )
    plain.train()
    assert losses(made) == losses(plain)
    assert same(weights(made), weights(plain))
    assert made.result()["safe_rows"] > 0
    assert made.row_counts()["safe"]["given"] == len(safe), "none of them is held out"
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert parse_recipe(run["recipe"], "run.json").defenses == plain.defenses
    assert "axolotl: the rest of its configuration" in run["script"]
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ringfence": None}, r"ringfence: plugins has .* and there is no such block; add one"),
        ({"ringfence": {"defences": []}}, r"defences"),
        ({"ringfence": {"defenses": [{"kl": {"wait": 1}}]}}, r"defenses\.0\.kl: .*wait"),
        ({"ringfence": {"defenses": ["magic"]}}, r"magic"),
        ({"rl": "dpo"}, r"rl: only supervised fine-tuning of text is defended here"),
        ({"sample_packing": True}, r"sample_packing: a row would hold many conversations or few"),
    ],
)
def test_what_it_cannot_do_is_told_by_the_schema(config: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        axolotl_interface.train({**config, **change})


def test_safe_rows_that_a_defense_needs_are_asked_for(config: dict[str, Any]) -> None:
    config["ringfence"] = {"defenses": DEFENSES}
    with pytest.raises(RingfenceError, match=r"there are no safe rows; give safe_dataset"):
        axolotl_interface.train(config)


def test_another_plugins_trainer_is_never_trained_without_a_defense(config: dict[str, Any]) -> None:
    config["plugins"] = ["axolotl_interface.AnotherPlugin", PLUGIN]
    with pytest.raises(RingfenceError, match=r"plugins: AxolotlTrainer .* would train, without a defense; put"):
        axolotl_interface.train(config)


def test_another_version_is_refused_unless_any_will_do(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    axolotl_interface.install(monkeypatch, "0.20.1")
    with pytest.raises(RingfenceError, match=r"^axolotl 0\.20\.1: ringfence was made for 0\.19.*any_version"):
        axolotl_interface.train(config)
    config["ringfence"] |= {"any_version": True}
    torch.manual_seed(0)
    assert axolotl_interface.train(config, max_steps=1).result()["steps"] > 0


def test_what_cannot_be_imported_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Axolotl trains on without a plugin whose import fails by an ``ImportError``."""
    monkeypatch.setitem(axolotl_interface.sys.modules, "axolotl.integrations.base", None)
    with pytest.raises(RingfenceError, match="needs Axolotl and cannot import it"):
        axolotl_interface.load_plugin(PLUGIN)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = axolotl.nonsense
