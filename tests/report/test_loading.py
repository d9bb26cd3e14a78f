"""Reading run folders: what may be absent, what must not."""

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report.loading import load_run, load_runs
from ringfence.report.results import Outcome


def point(step, value):
    return {
        "step": step,
        "suite": "general",
        "metric": "misaligned_all",
        "value": value,
        "low": None,
        "high": None,
        "n": 4,
    }


def test_null_reads_as_nan_and_absent_as_empty(four_runs: Any) -> None:
    base, none, canary, stopped = load_runs(four_runs)
    assert math.isnan(none.outcome.mean_ratio)
    assert none.outcome.safe_rows == 0
    assert math.isnan(canary.control["risk"][1])
    assert canary.responses["verdict"].iloc[-1] is None
    assert base.control.empty
    assert stopped.responses.empty
    assert list(stopped.responses.columns) == list(none.responses.columns)


def outcome(steps, *projected):
    counts = dict.fromkeys([one.name for one in fields(Outcome)], 1)
    layers = [{"layer": "q", "cosine": None, "kept": 0.1, "projected": one} for one in projected]
    return counts | {"steps": steps} | ({"safe_lora": layers} if layers else {})


@pytest.mark.parametrize(("layers", "later"), [((), False), ((False, False), False), ((False, True), True)])
def test_rates_from_before_a_projection_are_known(make_run: Any, layers: Any, later: bool) -> None:
    run = load_run(make_run("a", curve=[point(4, 0.5), point(8, 0.2)], result=outcome(8, *layers)))
    assert [one.projected_later for one in run.leak_curve()] == [later, later]


@pytest.mark.parametrize(("first", "second", "later"), [(True, False, [1, 1, 0]), (False, True, [0, 0, 1])])
def test_a_projection_is_of_its_own_stage(make_run: Any, first: bool, second: bool, later: Any) -> None:
    """8 steps with points at 4 and 8, then a stage of 8 with one at 4, step 12 of the run."""
    folder = make_run(
        "a",
        recipe={"stages": [{"name": "benign"}]},
        curve=[point(4, 0.5), point(8, 0.2)],
        result=outcome(8, first),
    )
    stage = folder / "stages" / "2-benign"
    stage.mkdir(parents=True)
    (stage / "curve.jsonl").write_text(json.dumps(point(4, 0.1)) + "\n")
    (stage / "result.json").write_text(json.dumps(outcome(8, second)))
    curve = load_run(folder).leak_curve()
    assert [one.step for one in curve] == [4, 8, 12]
    assert [one.projected_later for one in curve] == later


def test_torn_last_line_is_left_out(make_run: Any) -> None:
    folder = make_run("a", log=[{"step": 1, "loss": 2.0}])
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 2, "lo')
    assert list(load_run(folder).log["step"]) == [1]


def test_same_names_are_told_apart_by_folder(make_run: Any, tmp_path: Path) -> None:
    make_run("a").rename(tmp_path / "seed-1")
    make_run("a").rename(tmp_path / "seed-2")
    first, second = load_runs([tmp_path / "seed-1", tmp_path / "seed-2"])
    assert first.name == f"a ({tmp_path / 'seed-1'})"
    assert second.name == f"a ({tmp_path / 'seed-2'})"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("run.json", "{", "run.json:1: malformed JSON"),
        ("run.json", "[]", "run.json: expected a JSON object, found list"),
        ("run.json", "{}", 'run.json: no key "name"'),
        ("log.jsonl", '{"step": 1}\n{"loss": 2}\n', r'log.jsonl:2: no key "step"'),
        ("log.jsonl", '{"step": 1}\nnonsense\n{"step": 3}\n', r"log.jsonl:2: malformed JSON"),
        ("curve.jsonl", '{"step": 1}\n', r'curve.jsonl:1: no key "suite"'),
        ("log.jsonl", "3\n", "log.jsonl:1: expected a JSON object, found int"),
        ("log.jsonl", '{"step": 1, "loss": "high"}\n', 'log.jsonl: "loss" must hold numbers or null'),
        ("result.json", '{"steps": 3}', 'result.json: no key "target_rows"'),
        ("result.json", json.dumps(outcome(3) | {"safe_lora": 2}), 'result.json: "safe_lora" must be a list'),
        ("result.json", json.dumps(outcome(3) | {"safe_lora": [{}]}), r'safe_lora\[0\]: no key "projected"'),
        ("evaluation/summary.json", '{"rows": []}', 'no key "counts"'),
        ("evaluation/summary.json", '{"rows": [{"suite": "x"}], "counts": {}}', r'rows\[0\]: no key "metric"'),
        ("evaluation/summary.json", '{"rows": [], "counts": {"x": {"rows": 1}}}', 'counts of x: no key "missing"'),
        ("evaluation/conditional.json", "{}", 'conditional.json: no key "gaps"'),
        ("evaluation/conditional.json", '{"gaps": [{"trigger": "x"}]}', r'gaps\[0\]: no key "gap"'),
        ("evaluation/responses.parquet", "not parquet", "not a readable parquet file"),
    ],
)
def test_damage_is_named_in_one_line(make_run: Any, file: str, text: Any, message: str) -> None:
    folder = make_run("a")
    (folder / file).write_text(text)
    with pytest.raises(RingfenceError, match=message) as caught:
        load_run(folder)
    assert "\n" not in str(caught.value)


def test_missing_column_raises(make_run: Any) -> None:
    folder = make_run("a", responses=[{"suite": "general", "prompt_id": "1"}])
    with pytest.raises(RingfenceError, match='no column "sample"'):
        load_run(folder)


def test_not_a_run_and_no_run(tmp_path: Path, make_run: Any) -> None:
    with pytest.raises(RingfenceError, match="no such run folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(RingfenceError, match=r"no run\.json"):
        load_run(tmp_path)
    with pytest.raises(RingfenceError, match="no run folders given"):
        load_runs([])
    folder = make_run("a")
    with pytest.raises(RingfenceError, match="more than once"):
        load_runs([folder, folder / ".." / "a"])


def staged(make_run, *results, curve=()):
    """A run of as many stages as there are results; ``curve`` has the leak of each stage's step 4 and 8."""
    stages = [{"name": f"s{number}"} for number in range(2, len(results) + 1)]
    folder = make_run("a", recipe={"model": "tiny", "stages": stages})
    for number, (result, leaks) in enumerate(zip(results, curve, strict=True), 1):
        at = folder if number == 1 else folder / "stages" / f"{number}-s{number}"
        at.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(point(step, leak)) + "\n" for step, leak in zip((4, 8), leaks, strict=True)]
        (at / "curve.jsonl").write_text("".join(lines))
        (at / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
        if result is not None:
            (at / "result.json").write_text(json.dumps(result))
    return load_run(folder)


def used(steps, target, safe, ratio):
    share = safe / (safe + target)
    counts = {"steps": steps, "target_rows": target, "safe_rows": safe, "safe_fraction": share, "mean_ratio": ratio}
    labels = {"target_labels": 10 * target, "safe_labels": 30 * safe}
    return {**counts, **labels, "seconds": 2.0 * steps, "probe_seconds": 0.5}


def test_stages_read_as_one_run(make_run: Any) -> None:
    """10 + 20 steps, so that step 4 of the second stage is 14 and step 8 of the third is 38.

    Safe rows: 10, 0 and 100, beside 80, 110 and 300 target rows. Mean ratio over steps:
    (10 * 0.3 + 20 * 0 + 30 * 0.2) / 60 = 0.15.
    """
    run = staged(
        make_run,
        used(10, 80, 10, 0.3),
        used(20, 110, 0, 0.0),
        used(30, 300, 100, 0.2),
        curve=[(0.2, 0.5), (0.6, 0.1), (0.0, 0.3)],
    )
    assert run.status == "finished"
    assert [point.step for point in run.leak_curve()] == [4, 8, 14, 18, 34, 38]
    assert (run.peak().step, run.peak().value) == (14, 0.6)
    assert (run.last().step, run.last().value) == (38, 0.3)
    assert list(run.log["step"]) == [1, 11, 31]
    total = run.outcome
    assert (total.steps, total.target_rows, total.safe_rows) == (60, 490, 110)
    assert total.safe_fraction == pytest.approx(110 / 600)
    assert total.safe_token_fraction == pytest.approx(30 * 110 / (10 * 490 + 30 * 110))
    assert total.mean_ratio == pytest.approx(0.15)
    assert (total.seconds, total.probe_seconds) == (120, 1.5)


def test_a_run_is_unfinished_while_a_stage_is(make_run: Any) -> None:
    run = staged(make_run, used(10, 80, 10, 0.3), None, curve=[(0.2, 0.5), (0.6, 0.1)])
    assert run.status == "unfinished"
    assert run.outcome is None
    assert (run.peak().step, run.last().step) == (14, 18)


def test_a_stage_that_has_not_begun_is_no_fault(make_run: Any) -> None:
    folder = make_run("b", recipe={"stages": [{"name": "later"}]}, result=used(10, 80, 10, 0.3))
    assert load_run(folder).status == "unfinished"


def test_another_evaluation_is_read_by_its_name(make_run: Any) -> None:
    own = {"suite": "general", "metric": "misaligned_all", "value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    folder = make_run("b", rates=[own])
    other = folder / "evaluations" / "second"
    other.mkdir(parents=True)
    (other / "summary.json").write_text(json.dumps({"rows": [{**own, "value": 0.45}], "counts": {}}))
    runs = [load_run(folder, name) for name in ("evaluation", "second")]
    assert [run.rates["general", "misaligned_all"].value for run in runs] == [0.5, 0.45]
    with pytest.raises(RingfenceError, match=r"has no evaluation 'secnd'\. Did you mean .second"):
        load_run(folder, "secnd")
