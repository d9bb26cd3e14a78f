"""What Axolotl 0.19.0 asks of a plugin and does with it, in small, in the order of ``axolotl train``.

Axolotl pins other versions of transformers, TRL and PEFT than ours, so it cannot be installed beside Ringfence's own
(``test_itself.py`` trains the example in Axolotl itself, where that is installed). Names and calls are as in its files
``integrations/base.py``, ``integrations/config.py``, ``cli/config.py``, ``cli/train.py``, ``core/builders/causal.py``.
"""

import importlib
import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datasets import Dataset
from pydantic import BaseModel
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

import tiny
from ringfence.data import read, render_all
from training import SETTINGS, lora


class DictDefault(dict):  # type: ignore[type-arg]
    """A mapping whose missing keys are None, also as attributes."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__({key: DictDefault(v) if isinstance(v, Mapping) else v for key, v in given.items()})

    def __missing__(self, key: str) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __deepcopy__(self, memo: Any) -> "DictDefault":
        return DictDefault(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return {key: v.to_dict() if isinstance(v, DictDefault) else v for key, v in self.items()}


class BasePlugin:
    """The hooks that are called in a training; each does nothing."""

    def __init__(self) -> None: ...
    def register(self, cfg: Any) -> None: ...
    def get_input_args(self) -> str | None: ...
    def load_datasets(self, cfg: Any, preprocess: bool = False) -> Any: ...
    def get_trainer_cls(self, cfg: Any) -> Any: ...
    def post_trainer_create(self, cfg: Any, trainer: Any) -> None: ...


class AxolotlTrainer(Trainer):
    """What it takes by name beside the Trainer's, and the attribute that it is told its configuration by."""

    axolotl_cfg: Any = None

    def __init__(
        self,
        *args: Any,
        bench_data_collator: Any = None,
        eval_data_collator: Any = None,
        dataset_tags: Any = None,
        **others: Any,
    ) -> None:
        super().__init__(*args, **others)


class AnotherPlugin(BasePlugin):
    """With a trainer of its own."""

    def get_trainer_cls(self, cfg: Any) -> Any:
        return AxolotlTrainer


class SFTDataset(BaseModel):
    path: str
    type: str | None = None


class AxolotlInputConfig(BaseModel):
    """What it knows of a configuration; as there, it drops what it does not know."""

    plugins: list[str]
    datasets: list[SFTDataset]
    output_dir: str
    val_set_size: float | None = None
    rl: str | None = None
    sample_packing: bool | None = None


def prepare_datasets(cfg: Any, tokenizer: Any) -> tuple[Dataset, None, int, list[Any]]:
    """The rows of ``cfg.datasets``, tokenised, but for the share that is held out."""
    rows = [row for one in cfg.datasets for row in read(one["path"])]
    return render_all(rows[int(len(rows) * (cfg.val_set_size or 0)) :], tokenizer), None, 0, []


def install(monkeypatch: pytest.MonkeyPatch, version: str = "0.19.0") -> None:
    """Let ``import axolotl...`` find what is here, under ``version``."""
    found = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "axolotl" else found(name))
    here = {
        "integrations.base": {"BasePlugin": BasePlugin},
        "core.trainers": {"AxolotlTrainer": AxolotlTrainer},
        "loaders": {"load_tokenizer": lambda cfg: tiny.tokenizer()},
        "utils.config": {"normalize_cfg_datasets": lambda cfg: None},
        "utils.data": {"prepare_datasets": prepare_datasets},
        "utils.dict": {"DictDefault": DictDefault},
        "utils.schemas.datasets": {"SFTDataset": SFTDataset},
    }
    for path, names in here.items():
        parts = ["axolotl", *path.split(".")]
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, name, sys.modules.get(name) or ModuleType(name))
        vars(sys.modules[".".join(parts)]).update(names)
    for name in ("plugin", "rows"):  # which import it
        monkeypatch.delitem(sys.modules, f"ringfence.integrations.axolotl.{name}", raising=False)


def load_plugin(name: str) -> Any:
    """An instance of the plugin; as there, one that cannot be imported is left out with no more than a line."""
    module, _, cls = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), cls)()
    except ImportError:
        return None


def validated(raw: Mapping[str, Any], plugins: list[Any]) -> DictDefault:
    """The configuration that the schema makes of ``raw``, with what the plugins add to it."""
    added = []
    for path in filter(None, (plugin.get_input_args() for plugin in plugins)):
        module, _, cls = path.rpartition(".")
        added.append(getattr(importlib.import_module(module), cls))
    schema = type("AxolotlInputConfig", (AxolotlInputConfig, *added), {})
    return DictDefault(schema(**raw).model_dump(exclude_none=True))


def train(raw: dict[str, Any], **changes: Any) -> Any:
    """``axolotl train``; the trained trainer. ``changes`` are those of the training arguments."""
    from peft import get_peft_model

    plugins = [plugin for plugin in map(load_plugin, raw["plugins"]) if plugin is not None]
    for plugin in plugins:
        plugin.register(DictDefault(raw))
    cfg = validated(raw, plugins)
    for plugin in plugins:
        assert plugin.load_datasets(cfg, preprocess=False) is None
    classes = [cls for cls in (plugin.get_trainer_cls(cfg) for plugin in plugins) if cls]
    trainer = (classes or [AxolotlTrainer])[0](
        model=get_peft_model(tiny.model(), lora()),
        train_dataset=prepare_datasets(cfg, tiny.tokenizer())[0],
        eval_dataset=None,
        args=TrainingArguments(str(Path(cfg.output_dir)), **{**SETTINGS, **changes}),
        data_collator=DataCollatorForSeq2Seq(tiny.tokenizer(), pad_to_multiple_of=64),
        callbacks=[],
        eval_data_collator=DataCollatorForSeq2Seq(tiny.tokenizer()),
        bench_data_collator=DataCollatorForSeq2Seq(tiny.tokenizer()),
        processing_class=tiny.tokenizer(),
        dataset_tags=[one["path"] for one in cfg.datasets],
    )
    if hasattr(trainer, "axolotl_cfg"):
        trainer.axolotl_cfg = cfg
    for plugin in plugins:
        plugin.post_trainer_create(cfg, trainer)
    trainer.train(resume_from_checkpoint=None)
    return trainer
