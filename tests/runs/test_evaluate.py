"""Evaluations of runs: what is answered once, judged again, kept apart, and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from evaluating import SOUP, evaluate, gaps, responses
from ringfence.cli.evaluate import evaluate as command
from ringfence.core.errors import RingfenceError
from ringfence.core.files import sha256
from ringfence.runs import evaluate as evaluations

pytestmark = pytest.mark.usefixtures("cache")


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
    "training.learning_rate=1": r"^training\.learning_rate: an evaluation may change evaluation, judge, generator, ",
    "evaluation.conditional={plain: genral}": r"evaluation\.conditional: plain: 'genral' is not in evaluation\.suites",
    "evaluation.conditional={derive: false}": r"evaluation\.conditional: no triggers",
    "evaluation.conditional={triggers: [keyord]}": r"evaluation\.conditional\.triggers\.0: unknown trigger 'keyord'",
}


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
