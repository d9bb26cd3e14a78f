"""Benign scores of runs: what is answered once, scored without a judge, compared with the base, and refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import BENIGN_COLUMNS
from ringfence.generation import HfGenerator
from ringfence.recipe.run import load_recipe
from ringfence.runs import benign
from ringfence.runs.evaluate import base_of, evaluation_of
from ringfence.runs.plan import RunPlan

pytestmark = pytest.mark.usefixtures("cache")
ALGEBRA = "evaluation.tasks={algebra: {task: 'task:opswap?tier=1&n=3', samples: 2, max_new_tokens: 4}}"
NO_JUDGE = "judge=null"


def score(*runs: Path, changes: Sequence[str] = (ALGEBRA, NO_JUDGE), name: str = "b") -> list[int]:
    """Score the runs and their base; return the sizes of the batches that were answered."""
    made = [evaluation_of(run, changes, name, benign=True) for run in runs]
    asked: list[int] = []
    benign.evaluate_benign([base_of(one) for one in made] + made, asked.append)
    return asked


def read(run: Path, name: str = "b") -> tuple[pd.DataFrame, dict[str, Any]]:
    folder = run / "evaluations" / name
    return pd.read_parquet(folder / "benign.parquet"), json.loads((folder / "benign.json").read_text())


def test_a_run_and_its_base_are_scored_without_a_judge(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    assert sum(score(run)) == 2 * 3 * 2
    for folder in (run, run / "base"):
        frame, _ = read(folder)
        assert list(frame.columns)[: len(BENIGN_COLUMNS)] == list(BENIGN_COLUMNS)
        assert list(frame["task"].unique()) == ["algebra"]
        assert frame.groupby("prompt_id").size().tolist() == [2, 2, 2]
        assert not (folder / "evaluations" / "b" / "summary.json").exists()
    _, found = read(run)
    assert found["tasks"]["algebra"]["samples"] == 2
    assert found["tasks"]["algebra"]["temperature"] == 1.0
    [row, *_] = found["rows"]
    assert (row["task"], row["metric"], row["n"]) == ("algebra", "exact match", 6)
    assert found["to_base"][0]["n"] == 3, "questions"
    assert "to_base" not in read(run / "base")[1]


def test_nothing_is_answered_twice_and_runs_share_their_base(trained: tuple[Path, Path, Path]) -> None:
    _, run, other = trained
    score(run)
    first, _ = read(run)
    assert score(run) == []
    pd.testing.assert_frame_equal(read(run)[0], first)
    assert sum(score(other, changes=(ALGEBRA, NO_JUDGE, "seed=0"))) == 3 * 2, "the base has answered"
    more = ALGEBRA.replace("samples: 2", "samples: 3")
    assert sum(score(run, changes=(more, NO_JUDGE), name="more")) == 2 * 3 * 3


def test_killed_while_answering_it_goes_on(trained: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 6 answers in files of 4; killed after the first file."""
    _, run, _ = trained
    changes, calls, generate = (ALGEBRA, NO_JUDGE, "evaluation.batch_size=1", "seed=3"), [], HfGenerator.generate

    def killed(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return generate(*given)

    made = evaluation_of(run, changes, "killed", benign=True)
    monkeypatch.setattr(HfGenerator, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        benign.evaluate_benign([made])
    asked: list[int] = []
    benign.evaluate_benign([made], asked.append)
    assert len(calls) == 3
    assert asked[0] == 4
    assert sum(asked) == 6
    assert len(read(run, "killed")[0]) == 6


def test_greedy_answers_are_asked_once(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    made = evaluation_of(
        run, ["evaluation.tasks.a=task:opswap?tier=0&n=2", "evaluation.temperature=0"], "g", benign=True
    )
    assert benign.to_answer(made) == 2
    drawn = evaluation_of(run, ["evaluation.tasks.a=task:opswap?tier=0&n=2"], "h", benign=True)
    assert benign.to_answer(drawn) == 20


def test_without_tasks_there_is_nothing_to_score(trained: tuple[Path, Path, Path]) -> None:
    with pytest.raises(RingfenceError, match=r"^evaluation\.tasks: the recipe names none, so there is nothing benign"):
        evaluation_of(trained[1], benign=True)


def test_a_name_stands_for_the_same_tasks(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    score(run, name="one")
    with pytest.raises(RingfenceError, match=r"differ: .*tasks\.algebra.*; choose another --name"):
        score(run, changes=(ALGEBRA.replace("tier=1", "tier=2"), NO_JUDGE), name="one")


def test_a_key_of_the_judge_is_not_asked_for(trained: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    changes = (ALGEBRA, "judge={kind: api, model: gpt-4o}")
    evaluation_of(trained[1], changes, "keyless", benign=True)
    with pytest.raises(RingfenceError, match="no key"):
        evaluation_of(trained[1], changes, "keyless")


def test_a_question_that_is_trained_on_is_refused(tmp_path: Path) -> None:
    recipe = project.make(tmp_path, defenses=[], evaluation={"tasks": {"algebra": "task:opswap?tier=1&n=3"}})
    plan = RunPlan.load(load_recipe(recipe), tmp_path / "out")
    text = plan.questions["algebra"].prompts[1].text
    project.write_jsonl(tmp_path / "target.jsonl", [{"prompt": text, "completion": "It is 3."}] * 2)
    with pytest.raises(RingfenceError, match=r"^evaluation\.tasks\.algebra: 1 of its 3 questions are trained on"):
        RunPlan.load(load_recipe(recipe), tmp_path / "out")


def test_the_command_prints_what_is_learned_and_refuses_what_a_judge_needs(
    trained: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, run, _ = trained
    named = ("--name", "shown", ALGEBRA)
    code, out, err = project.in_process(capsys, "evaluate", run, "--benign", *named)
    assert code == 0, err
    assert "Learns well" in out
    assert "algebra: exact match" in out
    assert f"answers and scores: {run / 'evaluations' / 'shown'}" in out
    code, _, err = project.in_process(capsys, "evaluate", run, "--benign", "--samples", "3", *named)
    assert code == 2
    assert "--samples: means nothing with --benign; benign tasks are set by evaluation.tasks.NAME.KEY=VALUE" in err
    code, _, err = project.in_process(capsys, "evaluate", run, "--lm-eval-tasks", "tasks")
    assert (code, "--lm-eval-tasks: means nothing with no --benign" in err) == (2, True)


def test_a_recipe_with_tasks_and_no_judge_makes_a_base_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = {"algebra": {"task": "task:opswap?tier=1&n=2", "samples": 1, "max_new_tokens": 2}}
    recipe = project.make(tmp_path, defenses=[], judge=None, evaluation={"tasks": tasks})
    code, out, err = project.in_process(capsys, "evaluate", recipe, "--base", "--benign", "--out", tmp_path / "base")
    assert code == 0, err
    assert "untuned" in out
    assert (tmp_path / "base" / "evaluation" / "benign.json").is_file()
    code, _, err = project.in_process(capsys, "evaluate", recipe, "--base", "--out", tmp_path / "judged")
    said = "the recipe has evaluation.tasks and no judge and no evaluation.suites: give --benign to score the tasks"
    assert (code, said in err) == (2, True)
    assert not (tmp_path / "judged").exists()
