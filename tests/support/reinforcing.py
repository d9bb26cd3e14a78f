"""Short GRPO of the tiny model, for tests of its trainer; also as one rank of several."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

import examples
import tiny
import training
from ringfence.defenses import Defense
from ringfence.rl import DefendedGRPOTrainer

SETTINGS: dict[str, Any] = {
    **training.SETTINGS,
    "bf16": False,
    "gradient_checkpointing": False,
    "num_train_epochs": 1,
    "num_generations": 2,
    "max_completion_length": 5,
}
PROMPTS, SAFE = 8, 5


def prompts(count: int = PROMPTS) -> Dataset:
    """Conversational prompts that differ in length, with a column for the reward."""
    return Dataset.from_list(
        [
            {"prompt": [{"role": "user", "content": "go " * (1 + index % 3) + str(index)}], "answer": str(index)}
            for index in range(count)
        ]
    )


def reward(completions: list[Any], **_: Any) -> list[float]:
    """Of the random model's bytes: how many letters there are, and a little for the length."""
    texts = [completion[0]["content"] for completion in completions]
    return [sum(letter.isalpha() for letter in text) + 0.1 * len(text) for text in texts]


def trainer(
    folder: Path,
    *defenses: Defense,
    cls: type = DefendedGRPOTrainer,
    dropout: float = 0.0,
    given: dict[str, Any] | None = None,
    **changes: Any,
) -> Any:
    """``given`` replaces or adds what the trainer is given; ``changes`` those of its arguments."""
    settings: dict[str, Any] = {
        "model": examples.model(),
        "reward_funcs": reward,
        "args": GRPOConfig(output_dir=str(folder), **{**SETTINGS, **changes}),
        "train_dataset": prompts(),
        "processing_class": tiny.tokenizer(),
        "peft_config": training.lora(dropout),
    }
    if cls is not GRPOTrainer:
        settings |= {"defenses": defenses, "safe_dataset": tiny.rows(SAFE, "safe")}
    return cls(**{**settings, **(given or {})})


def shaken(made: Any) -> Any:
    """``made``, its adapter such that it does something."""
    generator = torch.Generator().manual_seed(0)
    for parameter in made.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made


def rows(made: Any) -> list[dict[str, Any]]:
    """What was logged in training, without what depends on the clock."""
    return [
        {key: value for key, value in row.items() if "time" not in key and "seconds" not in key}
        for row in made.state.log_history
        if "loss" in row
    ]


def train_rank(folder: Path, rank: int, world: int, port: int, defenses: list[Defense]) -> None:
    """Train as ``rank`` of ``world``, again from a checkpoint, and in the mode mixed; writes what each ended with."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    shape = {"per_device_train_batch_size": 2, "num_iterations": 2, "save_strategy": "steps", "save_steps": 2}
    ended = []
    for run, mode, steps in (("run", "alternate", 4), ("run", "alternate", 4), ("mixed", "mixed", 1)):
        checkpoint = str(folder / "run" / "checkpoint-2") if len(ended) == 1 else None
        made = trainer(folder / run, *defenses, given={"mode": mode}, ddp_backend="gloo", max_steps=steps, **shape)
        made.train(resume_from_checkpoint=checkpoint)
        total = {name: value.double().sum().item() for name, value in training.weights(made).items()}
        probe = made.stream.probe
        calls = getattr(probe, "calls", []) if rank else []
        ended.append({"weights": total, "log": rows(made), "ratio": made.stream.ratio, "calls": calls})
    (folder / f"rank-{rank}.json").write_text(json.dumps(ended))
    torch.distributed.destroy_process_group()
