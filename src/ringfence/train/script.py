"""The run folder that a script's defended trainer leaves in ``args.output_dir``, for ``ringfence`` to go on with.

It has what a run folder has (``run.json``, the journals, ``adapter/``, ``result.json``, a model card), with the recipe
reconstructed from the trainer's arguments. What only the script knows is not guessed at: rows are named by the digest
of their content, suites and a judge are left to ``ringfence evaluate``, and ``script`` in ``run.json`` lists the rest.
"""

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from datasets import Dataset
from peft import LoraConfig, PeftModel
from pydantic_core import PydanticSerializationError
from transformers import TrainingArguments
from trl import GRPOConfig, SFTConfig

from ringfence.core.cards import model_card
from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic, cache_folder, write_json, write_text
from ringfence.core.run_folder import (
    ADAPTER,
    CARD_FILE,
    NAMED,
    OWN,
    PYTHON,
    RESULT_FILE,
    RUN_FILE,
    SCRIPT,
    WEIGHTS,
    provenance,
    read_about,
    weight_digests,
)
from ringfence.defenses import DEFENSES, Defense
from ringfence.models.adapters import CONFIG_NAME, name_base, sort_sets
from ringfence.models.load import EMBEDDED
from ringfence.models.sharded import is_sharded, trained_state
from ringfence.train.parallel import backend_of
from ringfence.train.state import checkpoint_step

TOLD = (
    "adam_beta1",
    "adam_beta2",
    "data_seed",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "max_grad_norm",
    "max_length",
    "max_steps",
    "num_train_epochs",
    "packing",
    "per_device_train_batch_size",
    "warmup_steps",
    "weight_decay",
)
"""what a recipe's ``training`` is told of the trainer's arguments, where they are not the default"""
_ROWS = 1000  # digested at once


class DescribedTrainer(Protocol):
    """What is asked of a trainer to describe and to save what it trains."""

    args: TrainingArguments
    accelerator: Accelerator
    model: Any
    processing_class: Any
    defenses: tuple[Defense, ...]
    given_rows: tuple[Dataset | None, Dataset | None, Dataset | None]
    """target, safe and anchor rows as they were given"""
    max_truncated: float
    undescribed: tuple[str, ...]
    """keys of a recipe that it cannot tell"""
    metadata: dict[str, Any] | None
    """``run.json`` of the run that it trains for, once it is known"""

    @property
    def told(self) -> Sequence[str]:
        """Its arguments that a recipe is told of, where they are not the default."""
        ...

    def described(self) -> dict[str, Any]:
        """What a recipe says of how it trains, beside ``training``."""

    def is_world_process_zero(self) -> bool:
        """Whether this process writes."""

    def result(self) -> dict[str, Any]:
        """What was trained on, for ``result.json``."""


def begin(trainer: DescribedTrainer, resumed: bool) -> dict[str, Any] | None:
    """What ``run.json`` says, written to ``args.output_dir``; None on all but the main process.

    Of an earlier run there nothing is left that would be taken for this one's.

    Raises :class:`RingfenceError` for a folder that ``ringfence train`` has made.
    """
    folder = Path(trainer.args.output_dir)
    if not trainer.is_world_process_zero():
        return None
    if (folder / RUN_FILE).is_file() and SCRIPT not in read_about(folder):
        raise RingfenceError(f"{folder}: holds a run of `ringfence train`; choose another output_dir")
    (folder / RESULT_FILE).unlink(missing_ok=True)
    for name in () if resumed else (ADAPTER, OWN, NAMED):
        shutil.rmtree(folder / name, ignore_errors=True)
    about = describe(trainer)
    write_json(folder / RUN_FILE, about)
    return about


def end(trainer: DescribedTrainer) -> None:
    """Write ``adapter/`` (all weights of a model are left to ``save_model``), the model card and ``result.json``."""
    folder, model = Path(trainer.args.output_dir), trainer.accelerator.unwrap_model(trainer.model)
    saved = isinstance(model, PeftModel) and backend_of(trainer.accelerator, trainer.args.n_gpu).whole
    if saved:
        save_trained(trainer, folder / ADAPTER)
    if not trainer.is_world_process_zero():
        return
    result = trainer.result()
    if saved:
        result[WEIGHTS] = weight_digests(folder / ADAPTER)
    write_text(folder / CARD_FILE, model_card(trainer.metadata or {}, result))
    write_json(folder / RESULT_FILE, result)


def save_trained(trainer: DescribedTrainer, folder: Path) -> None:
    """What was trained, its tokenizer and a card into ``folder``, anew if it is there: what a kill left is not read.

    A call for all ranks; the main process writes.
    """
    model, writes = trainer.accelerator.unwrap_model(trainer.model), trainer.is_world_process_zero()
    state = trained_state(model, keep=writes) if is_sharded(model) else None
    if not writes:
        return
    shutil.rmtree(folder, ignore_errors=True)
    with atomic(folder) as path:
        model.save_pretrained(path, state_dict=state)
        sort_sets(model, path)
        trainer.processing_class.save_pretrained(path)
        label(trainer, path)


def label(trainer: DescribedTrainer, folder: Path) -> None:
    """Put a true model card and the base model's name beside the weights in ``folder``; a checkpoint has no card."""
    about = trainer.metadata or describe(trainer)
    base = str(about["recipe"]["model"]["name"])
    (folder / CARD_FILE).unlink(missing_ok=True)  # what PEFT makes up
    if checkpoint_step(folder) < 0:
        write_text(folder / CARD_FILE, model_card(about, trainer.result()))
    if (folder / CONFIG_NAME).is_file():
        name_base(folder, None if base.startswith(PYTHON) else base)


def describe(trainer: DescribedTrainer) -> dict[str, Any]:
    """``run.json`` of what ``trainer`` trains."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    unknown = ["data: given as rows", "judge", "evaluation.suites", *trainer.undescribed]
    target, safe, anchor = trainer.given_rows
    recipe: dict[str, Any] = {
        "name": re.sub(r"[^\w.+ -]+", "-", Path(trainer.args.output_dir).resolve().name) or "run",
        "seed": trainer.args.seed,
        "model": _model(model, unknown),
        "data": {
            "target": _rows(target),
            "safe": _rows(safe) if safe is not None else None,
            **({"anchor": _rows(anchor)} if anchor is not None else {}),
            "held_out": 0.0,
            "max_truncated": trainer.max_truncated,
        },
        "training": _training(trainer.args, trainer.told),
        "lora": _lora(model, unknown),
        "defenses": _defenses(trainer.defenses, unknown),
        **trainer.described(),
    }
    commit = getattr(model.config, "_commit_hash", None)
    inputs = {recipe["model"]["name"]: commit} if commit else {}
    return provenance(recipe, inputs) | {"server": None, SCRIPT: unknown}


def _model(model: Any, unknown: list[str]) -> dict[str, Any]:
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    name = getattr(base, "name_or_path", "")
    if not name:
        unknown.append("model.name: it was built in the script")
    if Path(name) == cache_folder() / EMBEDDED:
        name = EMBEDDED
    dtype = str(base.dtype).removeprefix("torch.")
    own_code = type(base).__module__.startswith("transformers_modules")
    return {"name": name or f"{PYTHON}model", "dtype": dtype, "trust_remote_code": own_code}


def _rows(dataset: Dataset) -> str:
    """A name for rows that are in memory: the SHA-256 of their content."""
    digest = hashlib.sha256()
    for batch in dataset.with_format(None).iter(batch_size=_ROWS):
        digest.update(json.dumps(batch, sort_keys=True, default=str).encode("utf-8", "replace"))
    return f"{PYTHON}{digest.hexdigest()}"


def _training(args: Any, told: Sequence[str]) -> dict[str, Any]:
    """Those of the arguments ``told`` that are not what a recipe has by default.

    Its defaults are TRL's: the plain ``TrainingArguments`` have another learning rate, and cut no row.
    """
    like = type(args) if isinstance(args, SFTConfig | GRPOConfig) else SFTConfig
    defaults = {field.name: field.default for field in dataclasses.fields(like)}
    values = {name: getattr(args, name) for name in told if hasattr(args, name)}
    if not hasattr(args, "max_length") and "max_length" in told:
        values["max_length"] = None
    given = {name: value for name, value in values.items() if value != defaults.get(name)}
    return {name: value.value if isinstance(value, Enum) else value for name, value in given.items()}


def _lora(model: Any, unknown: list[str]) -> dict[str, Any] | None:
    """What is not PEFT's default and can be written down; None where all weights are trained."""
    if not isinstance(model, PeftModel):
        return None
    config = model.peft_config[model.active_adapter]
    if not isinstance(config, LoraConfig):
        unknown.append(f"lora: the adapter is of the type {config.peft_type.value}")
        return {}
    found: dict[str, Any] = {}
    for name in ("r", "lora_alpha", "lora_dropout", "target_modules", "bias", "use_rslora", "use_dora"):
        value = getattr(config, name)
        if value != LoraConfig.__dataclass_fields__[name].default:
            found[name] = sorted(value) if isinstance(value, set | list | tuple) else value
    return found


def _defenses(defenses: Sequence[Defense], unknown: list[str]) -> list[dict[str, Any]]:
    """In their recipe form; what is a Python object is left out."""
    found = []
    for index, defense in enumerate(defenses):
        name, plain = DEFENSES.name_of(type(defense)), dict[str, Any]()
        where = f"defenses.{index}.{name}"
        for field in type(defense).model_fields:
            try:
                plain |= defense.model_dump(mode="json", include={field}, warnings=False)
            except PydanticSerializationError:
                unknown.append(f"{where}.{field}: a Python object")
        try:
            DEFENSES.parse({name: plain}, where)
        except ValueError:
            unknown.append(f"{where}: it cannot be written down as a recipe has it")
        else:
            found.append({name: plain})
    return found
