"""Memory and speed of Qwen2.5's shapes on paper: what `ringfence train --dry-run --card` says, for 0.5B to 32B.

    python benchmarks/on_paper.py             # a minute of one core; loads no weights

bfloat16, 4 x 2,048 tokens of which half have a loss, gradient checkpointing, AdamW; LoRA of rank 32 on all linear
layers but in the column `full`. Memory in GiB, on one card.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

import torch
from rich.console import Console
from rich.table import Table

import qwen
from ringfence.runs.gpu_cards import CARDS
from ringfence.runs.hours import Work, seconds
from ringfence.runs.memory import MicroBatch, Penalties, Training, estimate, weight_bytes

USUAL = Training(torch.bfloat16, None, torch.bfloat16, checkpointing=True, optimizer="adamw_torch_fused")
QUANTISED = replace(USUAL, bits=4, optimizer="paged_adamw_8bit")
BATCH = MicroBatch(4, 2048, 4 * 1024)


def row(size: str) -> list[str]:
    """One model."""
    bare, adapted = qwen.unloaded(size), qwen.adapted(size)
    weights, quantised = weight_bytes(bare, None), weight_bytes(bare, 4)
    every = qwen.SHAPES[size][2] // 5
    work = Work.of(adapted, True, (False, False))
    assert work is not None, "Qwen2.5 is known"
    speed = 1 / seconds(work.operations(1, 0.5, 2048), CARDS["h100"], 1)

    def peak(model: Any, taken: int, training: Training, penalties: Penalties) -> str:
        found = estimate(taken, model, training, BATCH, penalties).peak
        assert found is not None, "Qwen2.5 is known"
        return f"{found / 2**30:.1f}"

    return [
        size,
        f"{weights / 2**30:.1f}",
        peak(adapted, weights, USUAL, Penalties()),
        peak(adapted, weights, USUAL, Penalties(last=True, layers=every)),
        peak(adapted, weights, replace(USUAL, checkpointing=False), Penalties()),
        peak(adapted, quantised, QUANTISED, Penalties()),
        peak(bare, weights, USUAL, Penalties()),
        f"{speed:,.0f}",
    ]


def main() -> None:
    """Print the table."""
    names = ("weights", "LoRA", "kl and ldifs", "no checkpointing", "4 bits, 8-bit AdamW", "full", "tokens/s, h100")
    table = Table("Qwen2.5", *names)
    for size in qwen.SHAPES:
        table.add_row(*row(size))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
