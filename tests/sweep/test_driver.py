"""The driver: order, a second try, what needs a failed step, and a kill."""

from collections import Counter
from pathlib import Path

import pytest

from ringfence.core.files import write_json
from ringfence.core.plain import read_json
from ringfence.sweep import runner
from ringfence.sweep.driver import Progress, drive, link_runs
from ringfence.sweep.graph import Graph
from ringfence.sweep.steps import Step
from sweep_graphs import graph


class Started:
    """A task of :class:`Scripted`."""

    def __init__(self, fault: str) -> None:
        self._fault, self.stopped = fault, False

    def has_ended(self) -> bool:
        return True

    def fault(self) -> str:
        return self._fault

    def stop(self) -> None:
        self.stopped = True


class Scripted:
    """An engine that makes products at once, and fails as it is told."""

    slots = 2

    def __init__(self, fails: dict[str, int] | None = None) -> None:
        self.fails, self.started = Counter(fails or {}), list[str]()

    def start(self, folder: Path) -> Started:
        label = read_json(folder / "step.json")["label"]
        self.started.append(label)
        if self.fails[label]:
            self.fails[label] -= 1
            return Started(f"{label} broke")
        (folder / "run").mkdir(exist_ok=True)
        write_json(folder / "done.json", {"seconds": 2.0, "attempts": 1})
        return Started("")

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "EVERY", 0.0)


def every(found: Graph) -> list[Step]:
    return list(found.runs.values())


def test_a_step_begins_when_those_before_it_are_done(tmp_path: Path) -> None:
    found, engine = graph(tmp_path), Scripted()
    seen = list[int]()
    progress = drive(found, every(found), engine, lambda now: seen.append(now.counts["running"]))
    assert set(progress.states.values()) == {"done"}
    assert max(seen) == 2
    order = engine.started.index
    assert order("base") < order("a") < order("c")
    assert order("base") < order("b")
    assert progress.seconds_left(2) == 0


def test_a_failure_is_tried_again_once(tmp_path: Path) -> None:
    found, engine = graph(tmp_path), Scripted({"a": 1})
    progress = drive(found, every(found), engine, lambda _: None)
    assert set(progress.states.values()) == {"done"}
    assert engine.started.count("a") == 2


def test_what_needs_a_failed_step_is_left_and_all_else_made(tmp_path: Path) -> None:
    found, engine = graph(tmp_path), Scripted({"a": 2})
    progress = drive(found, every(found), engine, lambda _: None)
    assert progress.states == {"base": "done", "a": "failed", "b": "done", "c": "blocked", "d": "done"}
    assert progress.faults == {"a": "a broke"}
    assert drive(found, every(found), Scripted(), lambda _: None).already == {"base", "b", "d"}


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_killed_driver_goes_on_and_makes_nothing_twice(tmp_path: Path, moment: int) -> None:
    found, engine, looks = graph(tmp_path), Scripted(), Counter[str]()

    def kill(_: Progress) -> None:
        looks["all"] += 1
        if looks["all"] > moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(found, every(found), engine, kill)
    progress = drive(found, every(found), engine, lambda _: None)
    assert set(progress.states.values()) == {"done"}
    assert Counter(engine.started) == Counter(["base", "a", "b", "c", "d"])


def test_only_some_runs_and_what_they_need(tmp_path: Path) -> None:
    found, engine = graph(tmp_path), Scripted()
    drive(found, [found.runs["c"]], engine, lambda _: None)
    assert engine.started == ["base", "a", "c"]
    links = link_runs(found, tmp_path)
    assert sorted(link.name for link in links) == ["a", "base", "c"]
    assert all(link.resolve().name == "run" for link in links)


def test_the_estimate_is_of_the_same_kind_of_steps(tmp_path: Path) -> None:
    found = graph(tmp_path)
    assert Progress.of(found.steps).seconds_left(1) is None
    drive(found, [found.runs["d"]], Scripted(), lambda _: None)
    assert Progress.of(found.steps).seconds_left(2) == pytest.approx(4 * 2.0 / 2)
