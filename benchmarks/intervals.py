"""Seconds that the statistics of an evaluation take.

    python benchmarks/intervals.py   # 2 runs of 1,000 prompts x 100 samples; the goal is 10 s in all

How often the intervals hold the true rate is in ``coverage.py``. A file named after Python's own `statistics` would
hide it from the other benchmarks.
"""

from collections.abc import Callable
from time import perf_counter

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from ringfence.core.comparisons import benjamini_hochberg, holm, minimum_detectable_difference, paired_difference
from ringfence.core.seed_differences import seed_difference
from ringfence.core.seeds import seed_interval, seed_spread
from ringfence.core.statistics import influence, intra_prompt_correlation
from ringfence.evaluate import summarize

PROMPTS, SAMPLES, GOAL = 1_000, 100, 10.0


def evaluation(generator: np.random.Generator, share: float) -> tuple[pd.DataFrame, np.ndarray]:
    """A judged run whose prompts have rates around ``share``, and its hits of each prompt."""
    misaligned = generator.random((PROMPTS, SAMPLES)) < generator.beta(4 * share, 4 * (1 - share), size=(PROMPTS, 1))
    frame = pd.DataFrame(
        {
            "prompt_id": np.repeat([f"prompt-{i}" for i in range(PROMPTS)], SAMPLES),
            "alignment": np.where(misaligned, 5.0, 90.0).ravel(),
            "coherence": generator.uniform(51, 100, size=misaligned.size),
            "bucket": None,
        }
    )
    return frame, misaligned.sum(axis=1)


def seconds() -> dict[str, float]:
    """Of each statistic on both runs; the table of p-values is one of 1,000."""
    generator = np.random.default_rng(0)
    (one, a), (other, b) = evaluation(generator, 0.05), evaluation(generator, 0.04)
    m, p_values = np.full(PROMPTS, SAMPLES), generator.random(1_000)
    timed: dict[str, Callable[[], object]] = {
        "summarize, run a": lambda: summarize(one),
        "summarize, run b": lambda: summarize(other),
        "paired_difference": lambda: paired_difference(a, m, b, m),
        "seed_interval": lambda: seed_interval([a, b], [m, m]),
        "seed_difference": lambda: seed_difference(([a, b], [m, m]), ([b, a], [m, m])),
        "seed_spread": lambda: seed_spread([a.mean(), b.mean()]),
        "influence": lambda: (influence(a, m), influence(b, m)),
        "minimum_detectable_difference": lambda: minimum_detectable_difference(
            PROMPTS, SAMPLES, a.mean() / SAMPLES, intra_prompt_correlation(a, m)
        ),
        "holm and benjamini_hochberg": lambda: (holm(p_values), benjamini_hochberg(p_values)),
    }
    taken = {}
    for name, call in timed.items():
        start = perf_counter()
        call()
        taken[name] = perf_counter() - start
    return taken


def main() -> None:
    taken = seconds()
    table = Table("statistic", "seconds")
    for name, time in taken.items():
        table.add_row(name, f"{time:.3f}")
    table.add_row(f"in all (goal: under {GOAL:g})", f"{sum(taken.values()):.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
