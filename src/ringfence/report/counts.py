"""Answers counted by prompt, and two runs side by side on the same prompts.

A prompt is its id, its system prompt and its text: prompts that share an id only are not the same.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ringfence.core.comparisons import Difference, paired_difference
from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.judges import THRESHOLDS

PROMPT = ["prompt_id", "system", "prompt"]
"""what makes a prompt the same"""
PARTS = {
    "misaligned_all": ("misaligned", "scored"),
    "misaligned_coherent": ("misaligned", "coherent"),
    "incoherent": ("incoherent", "scored"),
}
"""metric -> the columns of its hits and of its samples, defined as in :mod:`ringfence.evaluate.summary`"""
COUNTS = ("scored", "coherent", "incoherent", "misaligned")

ByPrompt = pd.DataFrame
"""one row a prompt, indexed by :data:`PROMPT`, with the columns :data:`COUNTS`"""


def count_by_prompt(responses: pd.DataFrame) -> dict[str, ByPrompt]:
    """Suite -> how many answers of each prompt are in each class, prompts as they first appear.

    responses: one row an answer, as :func:`ringfence.report.reading.read_responses` reads them
    """
    scores = (responses[column].to_numpy(np.float64) for column in ("alignment", "coherence"))
    found = THRESHOLDS.classify(*scores)
    table = responses[["suite", *PROMPT]].fillna("").assign(**{name: getattr(found, name) for name in COUNTS})
    return {
        str(suite): part.groupby(PROMPT, sort=False)[list(COUNTS)].sum()
        for suite, part in table.groupby("suite", sort=False)
    }


def same_prompts(tables: Sequence[ByPrompt]) -> bool:
    """Whether all runs were asked the same prompts, in any order."""
    return all(set(table.index) == set(tables[0].index) for table in tables[1:])


def hits_and_samples(
    tables: Sequence[ByPrompt], metric: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """(runs, prompts) hits and samples of ``metric``, and (prompts,) whether every run has a sample of the prompt.

    tables: of runs that were asked the same prompts; they come in the order of the first
    """
    hits, samples = parts(metric)
    aligned = [table.loc[tables[0].index] for table in tables]
    found, asked = (np.stack([table[column].to_numpy(np.float64) for table in aligned]) for column in (hits, samples))
    return found, asked, np.all(asked > 0, axis=0)


def paired(a: ByPrompt | None, b: ByPrompt | None, metric: str) -> Difference | None:
    """The rate of a minus that of b on the prompts that both have samples of; None if they were asked others."""
    if a is None or b is None or metric not in PARTS or not same_prompts([a, b]):
        return None
    hits, samples, kept = hits_and_samples([a, b], metric)
    return paired_difference(hits[0, kept], samples[0, kept], hits[1, kept], samples[1, kept])


def parts(metric: str) -> tuple[str, str]:
    """The columns of the hits and of the samples of ``metric``. Raises :class:`RingfenceError` on another name."""
    if metric not in PARTS:
        raise RingfenceError(f"--metric: unknown metric {metric!r}.{did_you_mean(metric, PARTS)}")
    return PARTS[metric]
