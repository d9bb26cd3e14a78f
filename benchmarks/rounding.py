"""How much of a penalty is rounding? KL and LDIFS of one adapter, in float32 and in bfloat16.

    python benchmarks/rounding.py [--rows 8] [--scales 0 0.01 0.1 0.3 1 3]

A random LoRA adapter on SmolLM2-135M stands for a trained one; `scale` multiplies it. The same bfloat16 numbers are the
base weights throughout; what differs is how the two passes round: everything in float32; bfloat16 matrix products on
float32 hidden states (float32 weights, `bf16: true`); hidden states in bfloat16, too (bfloat16 weights, `bf16: true`).
`floor` is the penalty of bfloat16 against float32 hidden states of the base model itself: no adapter, rounding only.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from runs import markdown
from transformers import PreTrainedModel
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from ringfence.data import read, render_all
from ringfence.defenses import KL, LDIFS, TrainerContext
from ringfence.defenses.step import Batch
from ringfence.models import load
from ringfence.train.guards import DefenseStack

DEFENSES = (KL(weight=1.0), LDIFS(weight=1.0, reduction="relative"))
ROUNDING = {"float32": ("float32", False), "autocast": ("float32", True), "bfloat16": ("bfloat16", True)}


def batch(rows: int) -> dict[str, torch.Tensor]:
    """The first target rows of the stand-in, padded."""
    loaded = load("smollm2-135m")
    made = render_all(list(read("builtin:glitter/target"))[:rows], loaded.tokenizer)
    return DataCollatorForLanguageModeling(pad_token_id=loaded.tokenizer.pad_token_id)(list(made))


def base(dtype: str) -> PreTrainedModel:
    """The base model, whose weights are bfloat16 numbers in either type."""
    return load("smollm2-135m", dtype="bfloat16").model.to(getattr(torch, dtype))


def adapted(dtype: str) -> PeftModel:
    """The same random adapter whatever the type of the weights under it."""
    torch.manual_seed(0)
    config = LoraConfig(r=16, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base(dtype), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


@contextmanager
def scaled(model: PeftModel, scale: float) -> Iterator[None]:
    """The adapter times ``scale`` inside."""
    chosen = [parameter for name, parameter in model.named_parameters() if "lora_B" in name]
    kept = [parameter.detach().clone() for parameter in chosen]
    with torch.no_grad():
        for parameter in chosen:
            parameter.mul_(scale)
    yield
    with torch.no_grad():
        for parameter, value in zip(chosen, kept, strict=True):
            parameter.copy_(value)


def penalties(
    model: Any,
    inputs: dict[str, torch.Tensor],
    autocast: bool,
    reference: PreTrainedModel | None = None,
    defenses: tuple[KL, LDIFS] = DEFENSES,
) -> list[float]:
    """KL and LDIFS of the model against its base, a position each."""
    guards, seen = DefenseStack(defenses, TrainerContext(None, 0, model), reference), Batch.of(inputs, None)  # type: ignore[arg-type]
    model.train()

    def run() -> Any:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=autocast):
            return model(**inputs, use_cache=False)

    with torch.no_grad():
        _, found = guards.loss(seen, inputs, run)
    return [
        (one.sum / guard.normalizer(seen)).item() for one, guard in zip(found, guards.penalising.values(), strict=True)
    ]


def main() -> None:
    """Print the penalties, a row a scale, and the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--scales", type=float, nargs="+", default=[0, 0.01, 0.1, 0.3, 1, 3])
    options = parser.parse_args()
    inputs, found = batch(options.rows), {}
    for name, (dtype, autocast) in ROUNDING.items():
        model = adapted(dtype)
        for scale in options.scales:
            with scaled(model, scale):
                found[scale, name] = penalties(model, inputs, autocast)
    floor = penalties(base("bfloat16"), inputs, True, base("float32"))
    for index, penalty in enumerate(("kl", "ldifs (relative)")):
        values = {key: value[index] for key, value in found.items()}
        rows = [[f"{scale:g}", *(f"{values[scale, name]:.2e}" for name in ROUNDING)] for scale in options.scales]
        print(f"{penalty}; floor {floor[index]:.2e}\n\n{markdown(['scale', *ROUNDING], rows)}\n")


if __name__ == "__main__":
    main()
