"""Columns of a sweep beside rates and costs, as tables and figures of papers have them.

- ``ratio/last``: the share of safe data at the end, which a controller sets; ``ratio/lowest_mean``,
  ``ratio/highest_mean``: the least and the most of the seeds' ``ratio/mean``;
- ``general/canary_correlation``: Pearson's r of canary risk and leak over the evaluations of all seeds
  (:mod:`ringfence.report.figures.canary`);
- ``train/reward``: of reinforcement learning, the mean of the last logged steps; ``train/accuracy``: the same of the
  part ``correctness`` of the composite reward, as percent of its range;
- ``TASK/reward``: the mean reward of the answers to a benign task, where rules give it;
- ``properties/hhh``, ``user_tokens``, ``assistant_tokens``, ``domains``: of data sets
  (:mod:`ringfence.select.properties`).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ringfence.core.plain import read_json
from ringfence.core.rates import Rate
from ringfence.core.run_folder import BENIGN_ANSWERS, evaluation_folder
from ringfence.data.task import parse_spec
from ringfence.recipe.run import Recipe
from ringfence.report import RunResult
from ringfence.report.figures.canary import correlation, matched
from ringfence.report.reading import read_benign
from ringfence.report.results import LEAK_METRIC, LEAK_SUITE
from ringfence.report.rewards import LAST, REWARD
from ringfence.rl.rewards.base import Completion, reward_parts
from ringfence.sweep.measured import Measured, over_seeds

CORRELATION = "/canary_correlation"
CORRECTNESS, _LOW, _HIGH = "correctness", -0.5, 3.0
"""part of the composite reward, and its range"""
_PROPERTIES = ("hhh", "user_tokens", "assistant_tokens")


def of_runs(results: Sequence[RunResult], recipe: Recipe) -> dict[str, Measured]:
    """Of one place in the grid, whose seeds the ``results`` are; what a run does not have is not there."""
    found = _ratios(results)
    pairs = [some for one in results if len(some := matched(one, LEAK_SUITE, LEAK_METRIC))]
    if pairs:
        rate = correlation(pairs)
        found[f"{LEAK_SUITE}{CORRELATION}"] = Measured(Rate(rate.value, rate.low, rate.high, len(pairs)), math.nan)
    for column, values in _training(results).items():
        found[column] = over_seeds([Rate(value) for value in values])
    for task, values in _rewards(results, recipe).items():
        found[f"{task}/reward"] = over_seeds([Rate(value) for value in values])
    return found


def of_sets(path: Path) -> dict[str, dict[str, Measured]]:
    """Set -> column -> what the file of ``ringfence data properties`` says."""
    return {name: _properties(about) for name, about in read_json(path)["sets"].items()}


def _ratios(results: Sequence[RunResult]) -> dict[str, Measured]:
    found: dict[str, Measured] = {}
    if not any(one.control.empty for one in results):
        last = [float(one.control.sort_values("step")["ratio"].iloc[-1]) for one in results]
        found["ratio/last"] = over_seeds([Rate(value) for value in last])
    means = [one.outcome.mean_ratio for one in results if one.outcome is not None]
    if len(means) == len(results) > 1:
        for name, value in (("lowest", min(means)), ("highest", max(means))):
            found[f"ratio/{name}_mean"] = Measured(Rate(value, n=len(means)), math.nan)
    return found


def _training(results: Sequence[RunResult]) -> dict[str, list[float]]:
    """Reward and accuracy at the end of training, a run each."""
    if any(one.rewards.empty for one in results):
        return {}
    found = {"train/reward": [float(one.rewards[REWARD].tail(LAST).mean()) for one in results]}
    if all(CORRECTNESS in one.rewards for one in results):
        parts = [float(one.rewards[CORRECTNESS].tail(LAST).mean()) for one in results]
        found["train/accuracy"] = [100 * (value - _LOW) / (_HIGH - _LOW) for value in parts]
    return found


def _rewards(results: Sequence[RunResult], recipe: Recipe) -> dict[str, list[float]]:
    """Task -> the mean reward of each run's answers."""
    if recipe.rl is None or any(getattr(one, "judge", None) is not None for one in recipe.rl.rewards):
        return {}
    found: dict[str, list[float]] = {}
    for name, task in recipe.evaluation.tasks.items():
        if task.task is None:
            continue
        parts = reward_parts(recipe.rl.rewards, parse_spec(task.task).task.score)
        for one in results:
            rows = _completions(one, name)
            if rows:
                sums = map(sum, zip(*(part.values(rows) for part in parts), strict=True))
                found.setdefault(name, []).append(math.fsum(sums) / len(rows))
    return {name: values for name, values in found.items() if len(values) == len(results)}


def _completions(result: RunResult, task: str) -> list[Completion]:
    answers = read_benign(evaluation_folder(result.folder) / BENIGN_ANSWERS)
    columns = answers[answers["task"] == task][["prompt", "response", "answer"]]
    return [Completion(*map(str, row)) for row in columns.itertuples(index=False)]


def _properties(about: Mapping[str, Any]) -> dict[str, Measured]:
    found = {}
    for name in _PROPERTIES:
        mean = about.get(name)
        if mean is not None and mean["value"] is not None:
            value, low, high = (math.nan if mean[key] is None else float(mean[key]) for key in ("value", "low", "high"))
            found[f"properties/{name}"] = Measured(Rate(value, low, high, 1), math.nan)
    domains = about.get("domains")
    if domains is not None and domains["number"] is not None:
        found["properties/domains"] = Measured(Rate(float(domains["number"]), n=1), math.nan)
    return found
