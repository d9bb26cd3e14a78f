"""Rows over seeds and over averaged axes, by hand; the front; and a file."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

import sweeps
from ringfence.core.rates import Rate
from ringfence.sweep.graph import Graph
from ringfence.sweep.measured import Measured
from ringfence.sweep.plan import SweepPlan
from ringfence.sweep.steps import Step
from ringfence.sweep.summary import SECONDS, comparable, front, summarise, write_summary

RESULT = {"steps": 8, "target_rows": 60, "safe_rows": 4, "safe_fraction": 0.0625, "target_labels": 900}
RESULT |= {"safe_labels": 100, "mean_ratio": 0.06, "seconds": 40.0, "probe_seconds": 0.0}


def done(out: Path, name: str, value: float, half: float = 0.1) -> Step:
    """A finished run whose leak is ``value``, plus and minus ``half``."""
    folder = out / name
    (folder / "run" / "evaluation").mkdir(parents=True)
    about: dict[str, Any] = {"name": name, "recipe": {"seed": 0}, "versions": {}, "seed": 0, "git": None, "inputs": {}}
    (folder / "run" / "run.json").write_text(json.dumps(about | {"created": "x", "base": False}))
    row = {"suite": "general", "metric": "misaligned_all", "value": value, "low": value - half, "high": value + half}
    (folder / "run" / "evaluation" / "summary.json").write_text(json.dumps({"rows": [row | {"n": 50}], "counts": {}}))
    (folder / "run" / "result.json").write_text(json.dumps(RESULT))
    (folder / "done.json").write_text('{"seconds": 1, "attempts": 1}')
    return Step("run", name, name, (), None, (), folder)


@pytest.fixture
def swept(tmp_path: Path) -> tuple[SweepPlan, Graph]:
    """Two data sets, over which a row is averaged, and two methods; of b-kl there is no run yet."""
    grid = {
        "data": {"a": {}, "b": {"data.held_out": 0.2}},
        "method": {"none": {}, "kl": {"training.weight_decay": 0.5}},
    }
    plan = SweepPlan.load(sweeps.write(tmp_path, grid=grid, averaged=["data"]))
    graph = Graph()
    for name, value in {"a-none": 0.5, "b-none": 0.7, "a-kl": 0.2}.items():
        graph.runs[name] = done(tmp_path / "out", name, value)
    graph.runs["b-kl"] = Step("run", "b-kl", "x", (), None, (), tmp_path / "out" / "b-kl")
    return plan, graph


def test_a_row_is_the_mean_of_its_places_and_only_if_all_are_done(swept: tuple[SweepPlan, Graph]) -> None:
    """(50 + 70) / 2; the bounds are sqrt(10^2 + 10^2) / 2 = 7.07 away; 14.14 between the places."""
    found = summarise(*swept)
    assert list(found) == ["none"]
    leak = found["none"]["general/misaligned_all"]
    assert (leak.rate.value, leak.rate.n) == (pytest.approx(60), 2)
    assert (leak.rate.low, leak.rate.high) == (pytest.approx(60 - 50**0.5), pytest.approx(60 + 50**0.5))
    assert leak.spread == pytest.approx(200**0.5)
    assert found["none"]["cost/safe_tokens"].rate.value == pytest.approx(10)
    assert found["none"]["ratio/mean"].rate.value == pytest.approx(0.06)


def test_the_front_has_what_no_other_beats() -> None:
    def row(leak: float, task: float) -> dict[str, Measured]:
        return {
            name: Measured(Rate(value), math.nan)
            for name, value in {"general/misaligned_all": leak, "in-domain/misaligned_all": task}.items()
        }

    rows = {"none": row(80, 98), "kl": row(10, 60), "worse": row(11, 60), "same": row(10, 60), "best": row(10, 97)}
    columns = ["general/misaligned_all", "in-domain/misaligned_all"]
    assert front(rows, columns) == ["none", "best"]
    assert front(rows | {"half": {"general/misaligned_all": Measured(Rate(0), math.nan)}}, columns) == ["none", "best"]


def test_trained_rows_are_compared_by_what_all_of_them_have() -> None:
    """The untuned model took no time; nobody knows b's leak; a ratio is neither good nor bad."""

    def row(**values: float) -> dict[str, Measured]:
        return {name.replace("__", "/"): Measured(Rate(value), math.nan) for name, value in values.items()}

    untuned = row(general__incoherent=0)
    a = row(general__incoherent=1, general__misaligned_all=2, general__misaligned_coherent=2, cost__seconds=3)
    b = row(general__incoherent=1, general__misaligned_all=math.nan, cost__seconds=3, ratio__mean=0)
    rows = {"untuned": untuned, "a": a | row(ratio__mean=0), "b": b}
    assert SECONDS in rows["a"]
    assert comparable(rows) == ["general/incoherent"]
    assert comparable({"untuned": untuned}) == []


def test_the_file_has_all_numbers(swept: tuple[SweepPlan, Graph], tmp_path: Path) -> None:
    write_summary(summarise(*swept), tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "row,column,value,low,high,spread,runs"
    assert lines[1].startswith("none,general/misaligned_all,60,52.9289,67.0711,14.1421,")
