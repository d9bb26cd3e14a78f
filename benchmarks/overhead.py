"""Milliseconds that DefendedSFTTrainer adds to an optimizer step, whatever the model: a tiny one, many steps.

    python benchmarks/overhead.py

On a real model a step takes a second and the machine's noise is 10%; here the step is a few milliseconds, so that the
trainer's own work shows. TRL's SFTTrainer and ours take turns in one process.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from trl import SFTTrainer

from ringfence import DefendedSFTTrainer
from training import trainer

STEPS, TURNS = 300, 5


def milliseconds(cls: type) -> float:
    """A step of one training run, logging left out."""
    folder = Path(tempfile.mkdtemp())
    made = trainer(folder, cls=cls, max_steps=STEPS, logging_strategy="no")
    started = time.perf_counter()
    made.train()
    return 1000 * (time.perf_counter() - started) / STEPS


def main() -> None:
    """Print both medians, their difference and ratio."""
    milliseconds(SFTTrainer)  # warm-up
    pairs = [(milliseconds(SFTTrainer), milliseconds(DefendedSFTTrainer)) for _ in range(TURNS)]
    trl, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    added = statistics.median(b - a for a, b in pairs)
    print(f"SFTTrainer {trl:.2f} ms a step, DefendedSFTTrainer {ours:.2f} ms: {added:+.2f} ms, ratio {ours / trl:.3f}")


if __name__ == "__main__":
    main()
