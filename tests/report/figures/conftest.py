"""Runs that have something to draw."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LEAK, TASK, INCOHERENT = ("general", "misaligned_all"), ("in-domain", "misaligned_all"), ("general", "incoherent")


def rates(leak: float, task: float, incoherent: float = 0.02, **more: float) -> list[dict[str, Any]]:
    """Rows of ``summary.json`` with intervals of 10 points; ``more`` are further suites."""
    named = {LEAK: leak, TASK: task, INCOHERENT: incoherent} | {
        (suite, "misaligned_all"): value for suite, value in more.items()
    }
    return [
        {"suite": suite, "metric": metric, "value": value, "low": max(value - 0.1, 0), "high": min(value + 0.1, 1)}
        | {"n": 50}
        for (suite, metric), value in named.items()
    ]


@pytest.fixture
def strengths(make_run: Callable[..., Path]) -> list[Path]:
    """none, and kl at 10, 0.1 and 1, in this order."""
    outcome = {"steps": 8, "target_rows": 60, "safe_rows": 4, "safe_fraction": 0.0625, "target_labels": 900}
    outcome |= {"safe_labels": 100, "mean_ratio": 0.06, "seconds": 40.0, "probe_seconds": 0.0}
    folders = [make_run("none", recipe={"defenses": []}, rates=rates(0.8, 0.98), result=outcome | {"safe_labels": 0})]
    for weight, leak, task in ((10, 0.1, 0.3), (0.1, 0.7, 0.97), (1, 0.3, 0.9)):
        recipe = {"defenses": [{"kl": {"weight": weight}}]}
        folders.append(
            make_run(f"kl-{weight}", recipe=recipe, rates=rates(leak, task), result=outcome | {"seconds": 60.0})
        )
    return folders
