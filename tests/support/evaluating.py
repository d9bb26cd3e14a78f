"""Evaluate runs of the small project, and read what was written."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ringfence.runs import evaluate as evaluations

SOUP = "evaluation.conditional={triggers: [{keyword: {words: [soup], name: soup}}]}"
"""a trigger of two words, as a change to the recipe"""


def evaluate(*folders: Path, changes: Sequence[str] = (), name: str | None = None, base: bool = False) -> list[int]:
    """Evaluate and return the sizes of the batches that were answered."""
    wanted = [evaluations.evaluation_of(folder, changes, name) for folder in folders]
    asked: list[int] = []
    evaluations.evaluate([evaluations.base_of(one) for one in wanted if base] + wanted, asked.append)
    return asked


def responses(run: Path, name: str = "evaluation") -> pd.DataFrame:
    return pd.read_parquet(evaluations.evaluation_folder(run, name) / "responses.parquet")


def gaps(run: Path, name: str) -> list[dict[str, Any]]:
    """What ``conditional.json`` has."""
    found: list[dict[str, Any]] = json.loads(
        (evaluations.evaluation_folder(run, name) / "conditional.json").read_text()
    )["gaps"]
    return found
