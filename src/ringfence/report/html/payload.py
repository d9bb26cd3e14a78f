"""The page's data as compact JSON that is safe inside a ``<script>`` element.

Responses can be many: they travel as columns, with suites, verdicts, buckets and prompts stored once and referred to by
index, and their texts compressed (:mod:`ringfence.report.html.packing`). The page's scripts (``assets/*.js``) read
exactly what is written here.
"""

import json
import math
import re
from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from ringfence.core.files import jsonable
from ringfence.report.html.packing import PIECE
from ringfence.report.keeping import TASK_SUITE
from ringfence.report.places import places
from ringfence.report.results import RunResult
from ringfence.report.standing import Standing

ROW_COLUMNS = ("run", "prompt", "sample", "alignment", "coherence", "bucket", "verdict")
# What could end the element or a line of JavaScript; and lone surrogates, which UTF-8 cannot hold.
UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def script_json(value: Any) -> str:
    """``value`` as JSON in which ``<``, ``>``, ``&``, U+2028, U+2029 and surrogates are ``\\uXXXX``; NaN is null."""
    text = json.dumps(jsonable(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def training_payload(runs: Sequence[RunResult]) -> dict[str, Any]:
    """What the charts and the canary viewer show: for each run its journals, column by column."""
    place = places([run.name for run in runs])
    return {
        "runs": [
            {
                "name": run.name,
                "place": place[run.name],
                "status": run.status,
                "log": columns(run.log[["step", "loss"]]),
                "control": columns(run.control),
                "canaries": columns(run.canaries),
                "curve": columns(run.curve),
                "rewards": columns(run.rewards),
                "penalties": columns(run.penalties),
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
    """All answers but their texts: ``prompts`` holds (suite, prompt id, system, prompt); ``rows`` a list a column.

    ``rows.prompt``, ``bucket`` and ``verdict`` are places in the lists of that name; ``piece`` is how many answers'
    texts travel together, in the order of the rows.
    """
    suites, verdicts, buckets, prompts = _Index(), _Index(), _Index(), _Index()
    rows: dict[str, list[Any]] = {name: [] for name in ROW_COLUMNS}
    for number, run in enumerate(runs):
        table = run.responses
        asked = zip(*(table[name].tolist() for name in ("suite", "prompt_id", "system", "prompt")), strict=True)
        rows["run"] += [number] * len(table)
        rows["prompt"] += [prompts.of((suites.of(suite), *rest)) for suite, *rest in asked]
        for name in ("sample", "alignment", "coherence"):
            rows[name] += map(_compact, table[name].tolist())
        rows["bucket"] += map(buckets.of, table["bucket"].tolist())
        rows["verdict"] += map(verdicts.of, table["verdict"].tolist())
    named = {"suites": suites, "verdicts": verdicts, "buckets": buckets, "prompts": prompts}
    return {
        "runs": [run.name for run in runs],
        "task": TASK_SUITE,
        "piece": PIECE,
        **{name: list(index.known) for name, index in named.items()},
        "rows": rows,
    }


def response_texts(runs: Sequence[RunResult]) -> list[str | None]:
    """The texts of all answers, in the order of :func:`response_payload`'s rows."""
    return [text for run in runs for text in run.responses["response"].tolist()]


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
