"""Replaying the ratios of a recorded run: as they were, in another order, or their mean."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import tiny
from examples import Example
from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog
from ringfence.defenses import ReplayInterleaving, TrainerContext
from ringfence.interleave import ReplaySchedule

EXAMPLE = Example(
    neutral=lambda folder: ReplayInterleaving(run=journal(folder / "run", 0.0, 0.0)),
    active=lambda folder: ReplayInterleaving(run=journal(folder / "run", 0.5, 0.25)),
    written=(
        ReplayInterleaving(run=Path("runs/canary")),
        ReplayInterleaving(run=Path("runs/canary"), order="shuffled", every=4, seed=3),
    ),
)


def journal(folder: Path, *ratios: float) -> Path:
    """A run folder with a journal of evaluations two steps apart."""
    folder.mkdir(parents=True, exist_ok=True)
    before = [ratios[0], *ratios]
    rows = [
        {"step": 1 + 2 * n, "evaluation": n, "ratio_before": before[n], "ratio": ratio}
        for n, ratio in enumerate(ratios)
    ]
    (folder / "control.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


SETUP = TrainerContext(tiny.tokenizer(), seed=0)
RATIOS = [0.09, 0.13, 0.13, 0.125, 0.12, 0.16]


def run(folder: Path, ratios=RATIOS, first_step: int = 1, every: int = 30) -> Path:
    """A run folder whose controller started at 0.05; step g is t = g - 1, so t = 0, 30, 60, ... are 1, 31, 61."""
    rows, before = [], 0.05
    for index, ratio in enumerate(ratios):
        step = first_step + index * every
        rows.append({"step": step, "evaluation": index, "ratio_before": before, "ratio": ratio, "risk": 0.1})
        before = ratio
    (folder / "control.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "result.json").write_text(json.dumps({"mean_ratio": 0.131}))
    return folder


def replay(folder: Path, **fields) -> ReplaySchedule:
    made = ReplayInterleaving(run=folder, **fields).schedule(SETUP)
    assert isinstance(made, ReplaySchedule)
    return made


def played(schedule: ReplaySchedule, evaluations: int) -> list[float]:
    return [schedule.update(None)["ratio"] for _ in range(evaluations)]


def test_recorded_plays_the_sequence_and_holds_the_last(tmp_path: Path) -> None:
    schedule = replay(run(tmp_path))
    assert schedule.ratio == 0.05
    assert played(schedule, 8) == [*RATIOS, 0.16, 0.16]


@pytest.mark.parametrize(("first_step", "every", "due"), [(1, 30, [0, 30, 60]), (31, 30, [30, 60]), (1, 4, [0, 4, 8])])
def test_evaluations_come_when_they_came(tmp_path: Path, first_step: int, every: int, due: Any) -> None:
    schedule = replay(run(tmp_path, first_step=first_step, every=every))
    assert [t for t in range(2 * every + 1) if schedule.due(t)] == due


def test_every_may_be_set(tmp_path: Path) -> None:
    schedule = replay(run(tmp_path), every=7)
    assert [t for t in range(20) if schedule.due(t)] == [0, 7, 14]


def test_one_evaluation_does_not_tell_how_far_apart(tmp_path: Path) -> None:
    folder = run(tmp_path, [0.09])
    with pytest.raises(RingfenceError, match="one evaluation does not tell how far apart they are; set `every`"):
        replay(folder)
    assert played(replay(folder, every=30), 3) == [0.09] * 3


def test_shuffled_keeps_the_values_and_the_start(tmp_path: Path) -> None:
    ratios = [round(0.01 * index, 2) for index in range(20)]
    folder = run(tmp_path, [*ratios, 0.05, 0.05])
    schedule = replay(folder, order="shuffled")
    assert schedule.ratio == 0.05
    order = played(schedule, 22)
    assert Counter(order) == Counter([*ratios, 0.05, 0.05])
    assert order != [*ratios, 0.05, 0.05]
    assert played(replay(folder, order="shuffled"), 22) == order
    assert played(replay(folder, order="shuffled", seed=1), 22) != order


def test_shuffling_follows_its_own_seed_not_the_runs(tmp_path: Path) -> None:
    config = ReplayInterleaving(run=run(tmp_path, [0.01 * n for n in range(20)]), order="shuffled", seed=3)
    one, two = (config.schedule(TrainerContext(tiny.tokenizer(), seed)) for seed in (0, 1))
    assert one.ratios == two.ratios


def test_mean_is_held_throughout(tmp_path: Path) -> None:
    schedule = ReplayInterleaving(run=run(tmp_path), order="mean").schedule(SETUP)
    assert schedule.ratio == 0.131
    assert not any(schedule.due(t) for t in range(100))
    assert schedule.needs_safe_data


@pytest.mark.parametrize(
    ("order", "missing"), [("recorded", "control.jsonl"), ("shuffled", "control.jsonl"), ("mean", "result.json")]
)
def test_a_missing_file_raises_and_is_named(tmp_path: Path, order: str, missing: str) -> None:
    (run(tmp_path) / missing).unlink()
    with pytest.raises(RingfenceError, match=f"no {missing} there") as error:
        ReplayInterleaving(run=tmp_path, order=order).schedule(SETUP)
    assert str(error.value).startswith(str(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("result", [{}, {"mean_ratio": None}])
def test_a_result_without_a_mean_raises(tmp_path: Path, result: Any) -> None:
    (tmp_path / "result.json").write_text(json.dumps(result))
    with pytest.raises(RingfenceError, match="no mean_ratio there"):
        ReplayInterleaving(run=tmp_path, order="mean").schedule(SETUP)


@pytest.mark.parametrize("order", ["recorded", "shuffled"])
def test_a_run_without_evaluations_raises(tmp_path: Path, order: str) -> None:
    with pytest.raises(RingfenceError, match="no evaluation is recorded there"):
        replay(run(tmp_path, []), order=order)


@pytest.mark.parametrize("order", ["recorded", "shuffled", "mean"])
def test_a_loop_on_penalties_has_no_share_to_replay(tmp_path: Path, order: str) -> None:
    path = run(tmp_path) / "control.jsonl"
    path.write_text("".join(json.dumps({**row, "moves": "penalty"}) + "\n" for row in JsonlLog(path).read()))
    with pytest.raises(RingfenceError, match=r"control\.jsonl: its loop moved the weights of penalties"):
        replay(tmp_path, order=order)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = run(tmp_path) / "control.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert replay(tmp_path).ratios == RATIOS[:-1]


@pytest.mark.parametrize(
    "fields", [{"order": "reversed"}, {"every": 0}, {"seed": -1}, {"run": None}], ids=lambda fields: next(iter(fields))
)
def test_bad_settings_raise(fields: Any) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        ReplayInterleaving(**{"run": "a", **fields})


def test_the_run_must_be_named() -> None:
    with pytest.raises(ValidationError, match="run"):
        ReplayInterleaving()
