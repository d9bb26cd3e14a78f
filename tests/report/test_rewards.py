"""Reward, parts and completions of a run of reinforcement learning, from its log to table and page."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ringfence.core.errors import RingfenceError
from ringfence.report.html.page import render_page
from ringfence.report.html.payload import training_payload
from ringfence.report.loading import load_run, load_runs
from ringfence.report.rewards import at_the_end, read_rewards
from ringfence.report.tables import consumption
from ringfence.report.terminal.runs import render


def logged(step: int, reward: float | None, **more: Any) -> dict[str, Any]:
    """A row of ``log.jsonl``; without a reward it is one of a step on safe rows."""
    row: dict[str, Any] = {"step": step, "loss": 0.1, "ratio": 0.2, "target_rows": 8 * step, "safe_rows": 0}
    if reward is None:
        return row
    parts = {"rewards/format/mean": reward / 2, "rewards/format/std": 9, "rewards/answer/mean": reward / 2}
    return row | {"reward": reward, "reward_std": 1, **parts, "completions/mean_length": 20.5, **more}


@pytest.fixture
def rewarded(make_run: Callable[..., Path]) -> Path:
    """Reward 1 to 12, a step on safe rows after the 6th."""
    rows = [logged(step + (step > 6), float(step)) for step in range(1, 13)]
    return make_run("grpo", log=[*rows[:6], logged(7, None), *rows[6:]])


def test_the_log_of_steps_that_have_a_reward(rewarded: Path) -> None:
    found = read_rewards(rewarded / "log.jsonl")
    assert list(found) == ["step", "reward", "format", "answer", "completion length", "ratio"]
    assert found["step"].tolist() == [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13]
    assert found.iloc[3].tolist() == [4, 4, 2, 2, 20.5, 0.2]
    assert at_the_end(found) == sum(range(3, 13)) / 10


def test_one_part_is_the_reward_itself_and_kl_is_taken_where_it_is(make_run: Callable[..., Path]) -> None:
    rows = [{"step": 1, "reward": 0.5, "rewards/task/mean": 0.5, "kl": 0.01}]
    assert list(read_rewards(make_run("one", log=rows) / "log.jsonl")) == ["step", "reward", "kl"]


def test_a_run_without_a_reward_has_none(make_run: Callable[..., Path]) -> None:
    run = load_run(make_run("sft", log=[logged(1, None)]))
    assert run.rewards.empty
    assert math.isnan(at_the_end(run.rewards))
    with pytest.raises(RingfenceError, match=r'log\.jsonl: "reward" must hold numbers or null'):
        load_run(make_run("bad", log=[logged(1, 1.0) | {"reward": "high"}]))


def test_table_and_page_show_it_where_a_run_has_it(rewarded: Path, make_run: Callable[..., Path]) -> None:
    plain = make_run("plain", log=[logged(1, None)])
    runs = load_runs([rewarded, plain])
    assert consumption(runs)["reward"].tolist()[0] == 7.5
    text = io.StringIO()
    render(Console(file=text, width=120), runs)
    assert "7.50" in text.getvalue()
    assert "mean of the last 10 logged steps" in " ".join(text.getvalue().split())
    assert training_payload(runs)["runs"][0]["rewards"]["reward"][-1] == 12
    assert training_payload(runs)["runs"][1]["rewards"].get("reward", []) == []
    page = render_page(runs, "Two")
    assert 'id="chart-rewards"' in page
    assert "Reward, last 10 logged" in page
    alone = render_page(load_runs([plain]), "One")
    assert 'id="chart-rewards"' not in alone
    assert "Reward, last" not in alone
    text = io.StringIO()
    render(Console(file=text, width=120), load_runs([plain]))
    assert "reward" not in text.getvalue()
    assert json.loads(json.dumps(training_payload(runs)))
