"""What a paper's table takes: files to bring, models, and hours of training, told before a file or a model is there.

Hours are rough: rows as ``rows`` of the inputs says, or a task's own number, of :data:`TOKENS` tokens each, and 6
operations a weight and token, which is an adapter with gradient checkpointing (2 forward, 2 once more, 2 backward), at
the speed that was measured (:mod:`ringfence.runs.hours`). ``ringfence sweep --dry-run --card`` counts the rows there
are.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ringfence.data.task import is_task, parse_spec
from ringfence.defenses import Interleaving
from ringfence.recipe.run import Recipe, parse_recipe
from ringfence.runs.gpu_cards import CARDS, REACHED
from ringfence.sweep.graph import graph_of
from ringfence.sweep.plan import SweepPlan

TOKENS, CARD = 300, CARDS["h100"]
_OPERATIONS = 6
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([BM])(?![A-Za-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Needs:
    """Of one table."""

    runs: int
    trainings: int
    """of runs and of misaligned adapters, each once"""
    models: tuple[str, ...]
    """that are trained"""
    judges: tuple[str, ...]
    """models that judge and are loaded here"""
    weights: float
    """GiB of the largest of them; NaN if its name has no size"""
    brought: int
    """files to bring"""
    missing: int
    hours: float
    """of training on :data:`CARD`; NaN if it is not known"""

    @classmethod
    def of(cls, plan: SweepPlan) -> "Needs":
        """Reads recipes only."""
        graph = graph_of(plan, Path("runs"), on_paper=True)
        trained = [
            parse_recipe(dict(step.recipe), step.label)
            for step in graph.steps.values()
            if step.kind in ("run", "train") and step.recipe is not None
        ]
        models = dict.fromkeys(recipe.model.name for recipe in trained)
        judges = dict.fromkeys(name for recipe in trained for name in _judges(recipe))
        brought = [one for one in plan.sources.graph(plan.reads()).values() if one.input.yours is not None]
        return cls(
            runs=len(plan.runs),
            trainings=len(trained),
            models=tuple(name.rpartition("/")[2] for name in models),
            judges=tuple(name.rpartition("/")[2] for name in judges),
            weights=max((_gib(recipe) for recipe in trained), default=math.nan),
            brought=len(brought),
            missing=len(plan.missing()),
            hours=sum(_hours(recipe, plan) for recipe in trained) if trained else math.nan,
        )

    def told(self) -> str:
        """In one line."""
        files = f"{self.missing} of {self.brought} files to bring are missing"
        if not self.trainings:
            return f"trains nothing; {files}"
        judged = f", judged by {' and '.join(self.judges)}" if self.judges else ""
        weights = "" if math.isnan(self.weights) else f" (weights up to {self.weights:,.0f} GiB)"
        took = "hours not known" if math.isnan(self.hours) else f"about {self.hours:,.1f} hours on one {CARD.name}"
        trained = f"{self.trainings} trainings of {' and '.join(self.models)}{judged}{weights}"
        return f"{self.runs} runs, {trained}, {took}; {files}"


def _judges(recipe: Recipe) -> Iterable[str]:
    return [] if recipe.judge is None else recipe.judge.models()


def _weights(name: str) -> float:
    """How many, by the name of the model."""
    found = _SIZE.search(name.rpartition("/")[2])
    return math.nan if found is None else float(found[1]) * (1e9 if found[2].upper() == "B" else 1e6)


def _gib(recipe: Recipe) -> float:
    """Of the model, and of a judge that is loaded here."""
    own = _weights(recipe.model.name) * _BYTES[recipe.model.dtype]
    judges = [2 * _weights(name) for name in _judges(recipe)]
    return max([own, *(size for size in judges if not math.isnan(size))]) / 2**30


def _hours(recipe: Recipe, plan: SweepPlan) -> float:
    tokens = sum(_rows(part, plan) for part in recipe.by_stage()) * TOKENS
    return tokens * _OPERATIONS * _weights(recipe.model.name) / (REACHED * CARD.peak * 1e12) / 3600


def _rows(part: Recipe, plan: SweepPlan) -> float:
    """That are trained on; NaN if nobody knows."""
    if part.method != "sft":
        return math.nan
    training = part.training
    batch = training.get("per_device_train_batch_size", 8) * training.get("gradient_accumulation_steps", 1)
    if (steps := training.get("max_steps", -1)) > 0:
        return float(steps * batch)
    own = _in_set(part.data.target, plan) * (1 - part.data.held_out) * training.get("num_train_epochs", 3)
    mixing = next((one for one in part.defenses if isinstance(one, Interleaving)), None)
    if mixing is None or mixing.accounting == "replace":
        return own
    return own / (1 - mixing.highest_ratio())


def _in_set(name: str, plan: SweepPlan) -> float:
    if is_task(name):
        return float(parse_spec(name).n or math.nan)
    source = plan.sources.find(name)
    return math.nan if source is None or source.input.rows is None else float(source.input.rows)
