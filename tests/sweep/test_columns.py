"""Columns of papers' tables beside rates and costs, by hand."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ringfence.core.run_folder import BENIGN_COLUMNS
from ringfence.recipe.run import Recipe, parse_recipe
from ringfence.report import RunResult, load_run
from ringfence.sweep.columns import of_runs, of_sets

RESULT = {"steps": 8, "target_rows": 60, "safe_rows": 4, "safe_fraction": 0.0625, "target_labels": 900}
RESULT |= {"safe_labels": 100, "seconds": 40.0, "probe_seconds": 0.0}
SFT = parse_recipe({"data": {"target": "x"}}, "here")
GRPO = parse_recipe(
    {
        "method": "grpo",
        "data": {"target": "task:arithmetic", "held_out": 0},
        "evaluation": {"tasks": {"sums": "task:arithmetic"}},
    },
    "here",
)


def run(folder: Path, mean_ratio: float = 0.1, **journals: list[dict[str, Any]]) -> RunResult:
    """A finished run with ``journals``."""
    folder.mkdir()
    about = {"name": folder.name, "recipe": {"seed": 0}, "versions": {}, "seed": 0, "git": None, "inputs": {}}
    (folder / "run.json").write_text(json.dumps(about | {"created": "x", "base": False}))
    (folder / "result.json").write_text(json.dumps(RESULT | {"mean_ratio": mean_ratio}))
    for name, rows in journals.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_run(folder)


def control(*pairs: tuple[float, float]) -> list[dict[str, Any]]:
    """Smoothed risk and ratio, every 10 steps."""
    limits = {"risk_high": 0.08, "risk_low": 0.02}
    return [
        {"step": 10 * at, "risk": risk, "smoothed_risk": risk, "ratio": ratio} | limits
        for at, (risk, ratio) in enumerate(pairs)
    ]


def curve(*values: float) -> list[dict[str, Any]]:
    about = {"suite": "general", "metric": "misaligned_all", "low": 0, "high": 1, "n": 10}
    return [{"step": 10 * at, "value": value} | about for at, value in enumerate(values)]


def test_ratios_at_the_end_and_the_range_of_their_means(tmp_path: Path) -> None:
    first = run(tmp_path / "a", 0.11, control=control((0.1, 0.05), (0.1, 0.20)))
    second = run(tmp_path / "b", 0.15, control=control((0.1, 0.05), (0.0, 0.16)))
    found = of_runs([first, second], SFT)
    assert found["ratio/last"].rate.value == pytest.approx(0.18)
    assert (found["ratio/lowest_mean"].rate.value, found["ratio/highest_mean"].rate.value) == (0.11, 0.15)
    assert "ratio/last" not in of_runs([run(tmp_path / "c")], SFT)


def test_canaries_are_correlated_with_the_leak(tmp_path: Path) -> None:
    """Risk and leak go up together: r = 1; below five runs there is no interval."""
    one = run(tmp_path / "a", control=control((0.0, 0), (0.1, 0), (0.2, 0)), curve=curve(0.0, 0.2, 0.4))
    found = of_runs([one], SFT)["general/canary_correlation"]
    assert (found.rate.value, found.rate.n) == (pytest.approx(1), 1)
    assert math.isnan(found.rate.low)
    assert "general/canary_correlation" not in of_runs([run(tmp_path / "b", curve=curve(0.1, 0.2, 0.3))], SFT)


def test_reward_and_accuracy_in_training(tmp_path: Path) -> None:
    """(2 + 4) / 2; the right answer's part goes from -0.5 to 3: 1.25 is half of that."""
    rows = [
        {"step": step, "reward": reward, "rewards/correctness/mean": part, "rewards/number/mean": 0}
        for step, reward, part in ((1, 2.0, 0.5), (2, 4.0, 2.0))
    ]
    found = of_runs([run(tmp_path / "a", log=rows)], SFT)
    assert found["train/reward"].rate.value == pytest.approx(3)
    assert found["train/accuracy"].rate.value == pytest.approx(50)


@pytest.mark.parametrize(("recipe", "there"), [(GRPO, True), (SFT, False)])
def test_answers_to_a_task_are_rewarded_by_rule(tmp_path: Path, recipe: Recipe, there: bool) -> None:
    """All in its form and right is 9.5, nothing of it -2.5: 3.5 on average."""
    answers = {"right": "<think>1 + 1 = 2</think><answer>2</answer>", "wrong": "no"}
    rows = [("sums", name, 0, "1 + 1", text, "2", "exact match", 0.0) for name, text in answers.items()]
    one = run(tmp_path / "a")
    (tmp_path / "a" / "evaluation").mkdir()
    pd.DataFrame(rows, columns=list(BENIGN_COLUMNS)).to_parquet(tmp_path / "a" / "evaluation" / "benign.parquet")
    found = of_runs([one], recipe)
    assert ("sums/reward" in found) is there
    if there:
        assert found["sums/reward"].rate.value == pytest.approx(3.5)


def test_properties_of_sets(tmp_path: Path) -> None:
    mean = {"value": 13.6, "low": 12.0, "high": 15.0, "n": 9, "missing": 0}
    about = {"hhh": None, "user_tokens": mean, "assistant_tokens": mean | {"value": None}, "domains": {"number": 14.0}}
    (tmp_path / "a.json").write_text(json.dumps({"about": {}, "sets": {"kaczer": about}}))
    found = of_sets(tmp_path / "a.json")["kaczer"]
    assert list(found) == ["properties/user_tokens", "properties/domains"]
    assert (found["properties/user_tokens"].rate.low, found["properties/domains"].rate.value) == (12.0, 14.0)
