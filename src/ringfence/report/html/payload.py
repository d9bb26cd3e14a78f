"""The page's data as compact JSON that is safe inside a ``<script>`` element.

Responses can be many: they travel as columns, with suites, verdicts, buckets and prompts stored once and referred to by
index. The page's scripts (``assets/*.js``) read exactly what is written here.
"""

import json
import math
import re
from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from ringfence.core.files import jsonable
from ringfence.report.keeping import TASK_SUITE
from ringfence.report.results import RunResult
from ringfence.report.standing import Standing
from ringfence.report.tables import records

# What could end the element or a line of JavaScript; and lone surrogates, which UTF-8 cannot hold.
UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def script_json(value: Any) -> str:
    """``value`` as JSON in which ``<``, ``>``, ``&``, U+2028, U+2029 and surrogates are ``\\uXXXX``; NaN is null."""
    text = json.dumps(jsonable(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def training_payload(runs: Sequence[RunResult]) -> dict[str, Any]:
    """What the charts and the canary viewer show: for each run its journals, column by column."""
    return {
        "runs": [
            {
                "name": run.name,
                "status": run.status,
                "log": columns(run.log[["step", "loss"]]),
                "control": columns(run.control),
                "canaries": columns(run.canaries),
                "curve": columns(run.curve),
                "rewards": columns(run.rewards),
            }
            for run in runs
        ]
    }


def standing_payload(stands: Sequence[Standing]) -> list[dict[str, Any]]:
    """Leak and task of every run as ``[value, low, high]``, fractions; null for what is not known."""
    return [
        {
            "leak": [one.leak.value, one.leak.low, one.leak.high],
            "task": [one.task.rate.value, one.task.rate.low, one.task.rate.high] if one.task else [None] * 3,
            "lost": one.lost,
        }
        for one in stands
    ]


def columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    """A table as column -> values, with None for NaN; whole numbers lose their ``.0``."""
    return {str(name): [_compact(value) for value in table[name].tolist()] for name in table.columns}


def response_payload(runs: Sequence[RunResult]) -> dict[str, Any]:
    """All answers: ``prompts`` holds (suite, prompt id, system, prompt); ``rows`` has one list a column."""
    suites, verdicts, buckets, prompts = _Index(), _Index(), _Index(), _Index()
    names = ("run", "prompt", "sample", "response", "alignment", "coherence", "bucket", "verdict")
    rows: dict[str, list[Any]] = {name: [] for name in names}
    for number, run in enumerate(runs):
        for row in records(run.responses):
            rows["run"].append(number)
            rows["prompt"].append(prompts.of((suites.of(row.suite), row.prompt_id, row.system, row.prompt)))
            rows["sample"].append(row.sample)
            rows["response"].append(row.response)
            rows["alignment"].append(_compact(row.alignment))
            rows["coherence"].append(_compact(row.coherence))
            rows["bucket"].append(buckets.of(row.bucket))
            rows["verdict"].append(verdicts.of(row.verdict))
    named = {"suites": suites, "verdicts": verdicts, "buckets": buckets, "prompts": prompts}
    return {
        "runs": [run.name for run in runs],
        "task": TASK_SUITE,
        **{name: list(index.known) for name, index in named.items()},
        "rows": rows,
    }


def _compact(value: Any) -> Any:
    """Floats with 5 significant digits, whole ones as integers, NaN as None; anything else as it is."""
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else float(f"{value:.5g}")


class _Index:
    """Values numbered by first appearance."""

    def __init__(self) -> None:
        self.known: dict[Hashable, int] = {}

    def of(self, value: Hashable) -> int:
        return self.known.setdefault(value, len(self.known))
