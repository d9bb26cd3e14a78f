"""Short trainings of the tiny model, for tests of the trainer and of the invariants."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import TrainerCallback
from trl import SFTConfig

import tiny
from ringfence.defenses import Defense
from ringfence.defenses.together import anchored
from ringfence.interleave import Risk
from ringfence.train import DefendedSFTTrainer

TARGET, SAFE, ANCHOR = 18, 5, 3  # rows


SETTINGS: dict[str, Any] = {
    "per_device_train_batch_size": 4,
    "num_train_epochs": 2,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": [],
    "use_cpu": True,
    "seed": 3,
    "disable_tqdm": True,
}


def arguments(folder: Path, **changes: Any) -> SFTConfig:
    """TRL's defaults turn on bfloat16 and checkpointing on a CPU as well."""
    plain = {"bf16": False, "gradient_checkpointing": False}
    return SFTConfig(output_dir=str(folder), **{**SETTINGS, **plain, **changes})


def lora(dropout: float = 0.0) -> LoraConfig:
    return LoraConfig(r=4, lora_dropout=dropout, target_modules=["q_proj", "v_proj", "up_proj"], task_type="CAUSAL_LM")


def trainer(
    folder: Path,
    *defenses: Defense,
    dropout: float = 0.0,
    cls: type = DefendedSFTTrainer,
    given: dict[str, Any] | None = None,
    **changes: Any,
) -> DefendedSFTTrainer:
    """``given`` replaces or adds what the trainer is given; ``changes`` those of its arguments."""
    settings: dict[str, Any] = {
        "model": tiny.model(),
        "args": arguments(folder, **changes),
        "train_dataset": tiny.rows(TARGET, "target"),
        "processing_class": tiny.tokenizer(),
        "peft_config": lora(dropout),
    }
    if issubclass(cls, DefendedSFTTrainer):
        settings |= {"defenses": defenses, "safe_dataset": tiny.rows(SAFE, "safe")}
        if anchored(defenses) is not None:
            settings["anchor_dataset"] = tiny.rows(ANCHOR, "or")
    settings |= given or {}
    if not issubclass(cls, DefendedSFTTrainer):
        settings.pop("safe_dataset", None)
    return cls(**settings)


def losses(made: Any) -> list[tuple[int, float, float]]:
    """(step, loss, learning rate) of every logged step."""
    return [(row["step"], row["loss"], row["learning_rate"]) for row in made.state.log_history if "loss" in row]


def weights(made: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in made.model.named_parameters() if value.requires_grad}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Bitwise."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class ScriptedProbe:
    """A probe whose risk depends on the step only, and that counts its calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, model: Any, step: int) -> Risk:
        self.calls.append(step)
        return Risk((step * 7 % 10) / 10, 4, 4, ({"prompt_id": "a", "prompt": "p", "response": f"at {step}"},))


class Killed(Exception):
    """In place of a signal."""


class KillAt(TrainerCallback):
    """Ends training before the optimizer step after ``step``."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise Killed
