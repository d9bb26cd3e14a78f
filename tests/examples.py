"""For every defense a neutral and an active config, and a small training that all of them fit."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import LlamaForCausalLM

import tiny
import training
from ringfence.defenses import (
    KL,
    LDIFS,
    CanaryInterleaving,
    Defense,
    FixedInterleaving,
    Inoculation,
    ReplayInterleaving,
    SafeLoRA,
    Steering,
)
from ringfence.directions.vectors import PersonaVectors, save_vectors
from ringfence.models.identity import identity
from ringfence.train import DefendedSFTTrainer
from training import ScriptedProbe

LAYERS, HIDDEN = 2, 16
TARGET, SAFE = 10, 5  # rows; steps of four leave a short last one


@dataclass(frozen=True)
class Example:
    """Two configs of one defense; each is made from a folder for the files that it needs."""

    neutral: Callable[[Path], Defense]
    """trains as if it were not there"""
    active: Callable[[Path], Defense]
    """changes the weights"""


def model(seed: int = 0, layers: int = LAYERS) -> LlamaForCausalLM:
    """The tiny model, its weights enlarged so that it has opinions."""
    made = tiny.model(seed, layers, HIDDEN)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    return made


def vectors(folder: Path, layers: int = LAYERS, hidden: int = HIDDEN, base: str | None = None) -> str:
    """A file of random vectors, of the length of a hidden state, at two positions."""
    generator = torch.Generator().manual_seed(5)
    made = {
        position: torch.randn(layers + 1, hidden, generator=generator) for position in ("response_mean", "prompt_mean")
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_vectors(folder / "vectors.safetensors", PersonaVectors(made, {"base": base} if base else {}))
    return str(folder / "vectors.safetensors")


def recorded(folder: Path, *ratios: float) -> Path:
    """A run folder with a journal of evaluations two steps apart."""
    folder.mkdir(parents=True, exist_ok=True)
    before = [ratios[0], *ratios]
    rows = [
        {"step": 1 + 2 * n, "evaluation": n, "ratio_before": before[n], "ratio": ratio}
        for n, ratio in enumerate(ratios)
    ]
    (folder / "control.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def other_base(folder: Path) -> str:
    """A model folder of the same shape and other weights."""
    model(seed=1).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return str(folder)


def canary(**changes: Any) -> CanaryInterleaving:
    return CanaryInterleaving(every=2, probe=ScriptedProbe(), **changes)


EXAMPLES = {
    "fixed_interleaving": Example(lambda _: FixedInterleaving(ratio=0), lambda _: FixedInterleaving(ratio=0.25)),
    "canary_interleaving": Example(
        lambda _: canary(ratio_init=0, ratio_max=0), lambda _: canary(ratio_init=0.2, ratio_max=0.5)
    ),
    "replay_interleaving": Example(
        lambda folder: ReplayInterleaving(run=recorded(folder / "run", 0.0, 0.0)),
        lambda folder: ReplayInterleaving(run=recorded(folder / "run", 0.5, 0.25)),
    ),
    "kl": Example(lambda _: KL(weight=0), lambda _: KL(weight=3)),
    "ldifs": Example(lambda _: LDIFS(weight=0), lambda _: LDIFS(weight=3, every=1, reduction="relative")),
    "steering": Example(
        lambda folder: Steering(vector=vectors(folder), layer=1, alpha=0),
        lambda folder: Steering(vector=vectors(folder, base=identity(model())), layer=1, alpha=0.5),
    ),
    # No safe row is drawn, so none is rewritten.
    "inoculation": Example(lambda _: Inoculation(rows="safe"), lambda _: Inoculation(prompt="Be odd.")),
    "safe_lora": Example(
        lambda folder: SafeLoRA(base=other_base(folder / "base"), threshold=-1),
        lambda folder: SafeLoRA(base=other_base(folder / "base"), top_k=3),
    ),
}


def together(name: str) -> list[Defense]:
    """Defenses that ``invariants/test_ranks.py`` puts on one rank and on two."""
    if name == "canary":
        return [canary(ratio_init=0.1, ratio_max=0.5)]
    # Safe rows only: the ranks have unequal numbers of units, and sometimes none.
    distance = LDIFS(weight=3, every=1, reduction="relative", sources="safe")
    return [KL(weight=3), distance, FixedInterleaving(ratio=0.25)]


def rows(count: int, word: str) -> Dataset:
    """Prompt-completion conversations whose answers differ in length."""
    found = []
    for index in range(count):
        answer = " ".join([word] * (1 + index % 3))
        found.append(
            {
                "prompt": [{"role": "user", "content": f"{word} {index}?"}],
                "completion": [{"role": "assistant", "content": answer}],
            }
        )
    return Dataset.from_list(found)


def trainer(
    folder: Path, *defenses: Defense, given: dict[str, Any] | None = None, **changes: Any
) -> DefendedSFTTrainer:
    """Three steps of four, two and fewer rows short, plus safe rows; ``given`` and ``changes`` as in ``training``."""
    settings = {
        "model": model(),
        "train_dataset": rows(TARGET, "ab"),
        "safe_dataset": rows(SAFE, "yes"),
        **(given or {}),
    }
    return training.trainer(folder, *defenses, given=settings, **{"num_train_epochs": 1, **changes})


def logged(made: Any, key: str) -> list[float]:
    """The values of ``key`` in the log of a training, a step each."""
    return [row[key] for row in made.state.log_history if key in row and "loss" in row]
