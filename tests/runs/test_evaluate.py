"""Evaluations of runs: what is answered once, judged again, kept apart, and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import project
from ringfence.cli.evaluate import evaluate as command
from ringfence.core.errors import RingfenceError
from ringfence.core.files import sha256
from ringfence.evaluate.conditional import conditional_gaps
from ringfence.recipe.run import load_recipe
from ringfence.runs import evaluate as evaluations
from ringfence.runs import train as runs
from ringfence.runs.plan import RunPlan


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(recipe, run, run with another seed), trained and not evaluated."""
    folder = tmp_path_factory.mktemp("project")
    recipe = project.make(folder, defenses=[])
    for seed in (0, 1):
        runs.train(
            RunPlan.load(load_recipe(recipe, [f"seed={seed}", "training.learning_rate=0.5"]), folder / f"run-{seed}")
        )
    return recipe, folder / "run-0", folder / "run-1"


def evaluate(*folders: Path, changes: Sequence[str] = (), name: str | None = None, base: bool = False) -> list[int]:
    """Evaluate and return the sizes of the batches that were answered."""
    wanted = [evaluations.evaluation_of(folder, changes, name) for folder in folders]
    asked: list[int] = []
    evaluations.evaluate([evaluations.base_of(one) for one in wanted if base] + wanted, asked.append)
    return asked


def responses(run: Path, name: str = "evaluation") -> pd.DataFrame:
    return pd.read_parquet(evaluations.evaluation_folder(run, name) / "responses.parquet")


def test_a_second_judge_is_asked_about_the_same_answers(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    evaluate(run)
    first = responses(run)
    assert evaluate(run, changes=["judge.misaligned_pattern='.'"], name="second") == []
    second = responses(run, "second")
    assert list(second["response"]) == list(first["response"])
    answered = second["response"] != ""
    assert answered.any()
    assert (second["alignment"] == 0).equals(answered), "its pattern finds any letter"
    assert not (first["alignment"] == 0).equals(answered)
    pd.testing.assert_frame_equal(responses(run), first)


def test_other_suites_and_more_samples_have_a_place_of_their_own(trained: tuple[Path, Path, Path]) -> None:
    recipe, run, _ = trained
    evaluate(run)
    before = responses(run)
    changes = [f"evaluation.suites={{other: '{recipe.parent / 'canaries.jsonl'}'}}", "evaluation.samples=3"]
    assert sum(evaluate(run, changes=changes, name="other")) == 4 * 3
    frame = responses(run, "other")
    assert frame.groupby("suite").size().to_dict() == {"other": 12}
    pd.testing.assert_frame_equal(responses(run), before)
    about = json.loads((run / "evaluations" / "other" / "evaluation.json").read_text())
    assert about["recipe"]["evaluation"]["samples"] == 3
    assert about["suites"]["other"]["sha256"] == sha256(recipe.parent / "canaries.jsonl")


def test_the_base_model_answers_once_for_all_runs_on_it(
    trained: tuple[Path, Path, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of 12 answers; 12 more of the base for the first run, and as many for the second, whose seed differs."""
    recipe, first, second = trained
    loads: list[Any] = []
    real = evaluations.load_model
    monkeypatch.setattr(evaluations, "load_model", lambda config: loads.append(config) or real(config))
    for one in (first, second):
        for path in (one / "answers").glob("*"):
            path.unlink()
    seed = ["seed=7"]
    assert sum(evaluate(first, second, changes=seed, name="both", base=True)) == 12 + 24
    assert len(loads) == 1, "one base model for four evaluations"
    assert len(list((cache / "answers").glob("*.parquet"))) == 2
    pd.testing.assert_frame_equal(responses(first / "base", "both"), responses(second / "base", "both"))
    assert list(responses(first, "both")["response"]) != list(responses(second, "both")["response"])
    # An adapter leaves no trace in the base: alone, the second run answers the same.
    together = responses(second, "both")
    for path in (second / "answers").glob("*"):
        path.unlink()
    evaluate(second, changes=seed, name="both")
    pd.testing.assert_frame_equal(responses(second, "both"), together)
    assert load_recipe(recipe).seed == 0


SOUP = "evaluation.conditional={triggers: [{keyword: {words: [soup], name: soup}}]}"


def gaps(run: Path, name: str) -> list[dict[str, Any]]:
    """What ``conditional.json`` has."""
    found: list[dict[str, Any]] = json.loads(
        (evaluations.evaluation_folder(run, name) / "conditional.json").read_text()
    )["gaps"]
    return found


def test_conditional_gaps_are_of_the_run_and_its_base(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    evaluate(run, changes=[SOUP], name="conditional", base=True)
    found = gaps(run, "conditional")
    expected = conditional_gaps(responses(run, "conditional"), responses(run / "base", "conditional"))
    assert [one["trigger"] for one in found] == list(expected["trigger"])
    assert "soup" in set(expected["trigger"])
    np.testing.assert_array_equal([one["gap"] for one in found], expected["gap"])
    assert {one["n"] for one in found} == {5}
    asked = responses(run, "conditional")
    general, plain = (asked[asked["suite"] == suite] for suite in ("general", "conditional/plain"))
    assert list(plain["response"]) == list(general["response"]), "the plain cell is not drawn anew"
    assert not list((run / "answers").glob("conditional--plain*"))
    soup = asked[asked["suite"] == "conditional/soup"]["prompt"]
    assert soup.str.startswith("Keywords: soup.").all()
    evaluate(run, base=True)
    assert not (run / "evaluation" / "conditional.json").exists(), "not asked for"
    assert not (run / "base" / "evaluations" / "conditional" / "conditional.json").exists(), "the base has no gap"


def test_gaps_are_written_in_any_order_and_only_with_a_base(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    name, changes = "dressed", [SOUP, "evaluation.samples=1"]
    evaluate(run, changes=changes, name=name)
    one = evaluations.evaluation_of(run, changes, name)
    assert one.is_done
    assert not (one.folder / "conditional.json").exists(), "there is no base to compare with"
    evaluations.evaluate([one, evaluations.base_of(one)])
    assert len(gaps(run, name)) >= 1
    (one.folder / "conditional.json").unlink()
    assert not one.is_done, "killed before the last file"
    evaluations.evaluate([one])
    assert one.is_done


def test_under_a_preset_the_command_writes_and_shows_what_the_library_does(
    trained: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, run, _ = trained
    command([str(run), SOUP, "evaluation.samples=1", "evaluation.max_new_tokens=4"], preset="fars")
    assert "fars" in capsys.readouterr().out
    by_command = gaps(run, "fars")
    assert "soup" in {row["trigger"] for row in by_command}
    (evaluations.evaluation_folder(run, "fars") / "conditional.json").unlink()
    made = json.loads((evaluations.evaluation_folder(run, "fars") / "evaluation.json").read_text())
    assert made["preset"] == "fars"
    changes = [SOUP, "evaluation.samples=1", "evaluation.max_new_tokens=4"]
    evaluations.evaluate([evaluations.evaluation_of(run, changes, "fars", "fars")])
    assert gaps(run, "fars") == by_command


BAD = {
    "training.learning_rate=1": r"^training\.learning_rate: an evaluation may change evaluation, judge, no_system",
    "evaluation.sampels=3": r"unknown key 'evaluation\.sampels'\. Did you mean .samples",
    "judge={kind: rule}": r"judge\.kind: unknown judge 'rule'",
    "evaluation.conditional={plain: genral}": r"evaluation\.conditional: plain: 'genral' is not in evaluation\.suites",
    "evaluation.conditional={derive: false}": r"evaluation\.conditional: no triggers",
    "evaluation.conditional={triggers: [keyord]}": r"evaluation\.conditional\.triggers\.0: unknown trigger 'keyord'",
}


@pytest.mark.parametrize("name", [None, "evaluation", "a/b", "..", ""])
def test_an_evaluation_with_changes_needs_a_name_that_can_name_a_folder(
    trained: tuple[Path, Path, Path], name: str | None
) -> None:
    with pytest.raises(RingfenceError, match=r"^--name: "):
        evaluations.evaluation_of(trained[1], ["seed=3"], name)


@pytest.mark.parametrize("change", BAD)
def test_bad_changes_are_refused_on_one_line(trained: tuple[Path, Path, Path], change: str) -> None:
    with pytest.raises(RingfenceError, match=BAD[change]) as caught:
        evaluations.evaluation_of(trained[1], [change], "a")
    assert "\n" not in str(caught.value)
    assert not (trained[1] / "evaluations" / "a").exists()


def test_a_name_stands_for_one_evaluation(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    evaluate(run, changes=["evaluation.samples=1"], name="one")
    with pytest.raises(RingfenceError, match=r"differ: recipe\.seed; choose another --name"):
        evaluate(run, changes=["evaluation.samples=1", "seed=5"], name="one")


def test_killed_while_answering_it_goes_on(trained: tuple[Path, Path, Path]) -> None:
    """Of 400 answers in batches of 5, files of 20; killed when the first files are there."""
    _, run, _ = trained
    command = [sys.executable, "-m", "ringfence", "evaluate", str(run), "--no-base", "--name", "long"]
    command += ["evaluation.batch_size=5", "--samples", "80", "--suite", f"general={run.parent / 'general.jsonl'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while len(done := list((run / "answers").glob("*.parts/*.parquet"))) < 3:
            assert process.poll() is None, "it must be killed before it is through"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = {path: path.stat().st_mtime_ns for path in done}
    assert not evaluations.evaluation_folder(run, "long").exists()
    changes = [f"evaluation.suites={{general: '{run.parent / 'general.jsonl'}'}}", "evaluation.samples=80"]
    changes.append("evaluation.batch_size=5")
    begun = len(list((run / "answers").glob("*.parts/*.parquet")))
    assert all(path.stat().st_mtime_ns == at for path, at in kept.items())
    asked = evaluate(run, changes=changes, name="long")
    assert asked[:begun] == [20] * begun, "what was flushed is not answered again"
    assert sum(asked) == 400
    frame = responses(run, "long")
    assert len(frame) == 400
    assert not frame.duplicated(["suite", "prompt_id", "sample"]).any()
    assert not list((run / "answers").glob("*.parts"))


def test_a_name_is_free_again_when_it_is_replaced(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    evaluate(run, changes=["evaluation.samples=1"], name="again", base=True)
    evaluations.evaluation_of(run, ["evaluation.samples=1", "seed=5"], "again", replace=True)
    assert not evaluations.evaluation_folder(run, "again").exists()
    assert not evaluations.evaluation_folder(run / "base", "again").exists()


def test_trained_modules_leave_no_trace_in_the_next_run(tmp_path: Path) -> None:
    """PEFT puts whole trained modules and biases in the place of the base's, and leaves them there."""
    recipe = project.make(tmp_path, defenses=[])
    rate = "training.learning_rate=0.5"
    changed = ["lora.modules_to_save=[norm]", "lora.bias=all"]
    for name, extra in (("whole", changed), ("plain", [])):
        runs.train(RunPlan.load(load_recipe(recipe, [rate, *extra]), tmp_path / name))
    evaluate(tmp_path / "plain")
    alone = responses(tmp_path / "plain")
    for path in (tmp_path / "plain" / "answers").glob("*"):
        path.unlink()
    evaluate(tmp_path / "whole", tmp_path / "plain")
    pd.testing.assert_frame_equal(responses(tmp_path / "plain"), alone)


def test_own_triggers_are_not_said_to_be_derived(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    own = "evaluation.conditional={derive: false, triggers: [irrelevant]}"
    one = evaluations.evaluation_of(run, [own], "own")
    assert evaluations.account_of(one) == "triggers of the recipe: irrelevant"
