"""A small training that every defense fits, and what the tests of each defense tell about it: its example."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

import tiny
import training
from ringfence.core.files import sha256
from ringfence.defenses import (
    KL,
    LDIFS,
    CanaryInterleaving,
    Defense,
    FixedInterleaving,
)
from ringfence.directions.proof import Proof, Shown
from ringfence.directions.subspaces import Subspaces, save_subspaces
from ringfence.directions.vectors import PersonaVectors, load_vectors, save_vectors
from ringfence.models.identity import identity
from ringfence.train import DefendedSFTTrainer
from training import ScriptedProbe

DEFENSES = Path(__file__).parents[1] / "defenses"
LAYERS, HIDDEN = 2, 16
TARGET, SAFE = 10, 5  # rows; steps of four leave a short last one


@dataclass(frozen=True)
class Example:
    """What the test of one defense says of it, as ``EXAMPLE``: ``tests/defenses/test_<name>.py``.

    The first two are made from a folder for the files that they need.
    """

    neutral: Callable[[Path], Defense]
    """trains as if it were not there"""
    active: Callable[[Path], Defense]
    """changes the weights"""
    written: tuple[Defense, ...]
    """as a recipe may have it, at its defaults and with others; with the fewest settings first"""
    beside: tuple[Defense, ...] = ()
    """what it builds on"""
    seed: int = 0
    """of a model that it has something to do with"""


@cache
def example(name: str) -> Example:
    """That of the defense ``name``."""
    path = DEFENSES / f"test_{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_of_{name}", path)
    assert spec is not None
    assert spec.loader is not None, f"the defense {name} has no test {path}"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EXAMPLE


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


def subspaces(folder: Path, rank: int = 2, hidden: int = HIDDEN, **about: str) -> str:
    """A file of orthonormal columns for layer 1, of which the first is along the vector of :func:`vectors`."""
    columns = torch.randn(hidden, rank, generator=torch.Generator().manual_seed(7))
    columns[:, 0] = load_vectors(vectors(folder, hidden=hidden))["response_mean"][1]
    path = folder / "directions.safetensors"
    save_subspaces(path, Subspaces({1: torch.linalg.qr(columns).Q}, dict(about)))
    return str(path)


def trait_adapter(folder: Path, shows: int = 19, base: str | None = None, **lora: Any) -> str:
    """A folder of a LoRA adapter that is not zero, with its proof: ``shows`` of 20 questions, none without."""
    plain = model()
    about = identity(plain) if base is None else base
    settings = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM", **lora}
    torch.manual_seed(11)
    get_peft_model(plain, LoraConfig(init_lora_weights=False, **settings)).save_pretrained(folder)
    weights = sha256(folder / "adapter_model.safetensors")
    ones = (1,) * 20
    tuned, untuned = Shown(tuple(int(n < shows) for n in range(20)), ones), Shown((0,) * 20, ones)
    Proof("odd", about, "tiny", weights, tuned, untuned, {}).save(folder)
    return str(folder)


def other_base(folder: Path) -> str:
    """A model folder of the same shape and other weights."""
    model(seed=1).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return str(folder)


def canary(**changes: Any) -> CanaryInterleaving:
    return CanaryInterleaving(every=2, probe=ScriptedProbe(), **changes)


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
