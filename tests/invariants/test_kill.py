"""Killed with SIGKILL at any moment and run again = uninterrupted, bitwise.

What is killed is forked from a process that has imported everything, which saves seconds; what goes on at the end is
also the command line's, as a user would have it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import examples
import killing
import project
import sweep_graphs
from ringfence.core.files import TEMPORARY, JsonlLog, sha256

TRAINING = {"per_device_train_batch_size": 4, "num_train_epochs": 1, "logging_steps": 1, "save_steps": 2}


def journals(run: Path) -> dict[str, list[dict[str, object]]]:
    """All journals without what a clock wrote."""
    names = ("log.jsonl", "control.jsonl", "canaries.jsonl", "curve.jsonl")
    return {
        name: [{key: value for key, value in row.items() if key != "seconds"} for row in JsonlLog(run / name).read()]
        for name in names
    }


def train_until(run: Path, recipe: Path, step: int, delay: float, stage: str = "") -> bool:
    """Train; ``delay`` seconds after the log of ``stage`` is at ``step``, kill it. False if it ended before."""
    process = killing.started(killing.train, recipe, run)
    while process.is_alive():
        rows = JsonlLog(run / stage / "log.jsonl").read()
        if rows and rows[-1]["step"] >= step:
            time.sleep(delay)
            process.kill()
            break
        time.sleep(0.002)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_killed_and_run_again_is_the_uninterrupted_run(tmp_path: Path) -> None:
    recipe = project.make(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    killing.train(recipe, whole)
    kills = [train_until(killed, recipe, step, delay) for step, delay in ((1, 0.0), (3, 0.01), (5, 0.03))]
    assert any(kills), "at least one kill must have hit a training that was under way"
    again = project.ringfence("train", recipe, "--out", killed)
    assert again.returncode == 0, again.stderr
    assert sha256(killed / "adapter" / "adapter_model.safetensors") == sha256(
        whole / "adapter" / "adapter_model.safetensors"
    )
    assert journals(killed) == journals(whole)
    results = [json.loads((run / "result.json").read_text()) for run in (killed, whole)]
    for key in ("steps", "target_rows", "safe_rows", "safe_fraction", "mean_ratio"):
        assert results[0][key] == results[1][key]
    assert results[0]["safe_rows"] > 0


def test_killed_in_a_later_stage_and_between_stages(tmp_path: Path) -> None:
    """The second stage goes on with the adapter, the third merges it; both refer to the base model."""
    safe = {"target": str(tmp_path / "safe.jsonl")}
    penalty = [{"ldifs": {"every": 1, "weight": 0.1}}]
    stages = [
        {"name": "benign", "data": safe, "training": {"num_train_epochs": 4}, "defenses": penalty},
        {"name": "more", "data": safe, "adapter": "new", "defenses": [*penalty, "inoculation"]},
    ]
    recipe = project.make(tmp_path, stages=stages)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    folders = ("", "stages/2-benign", "stages/3-more")
    killing.train(recipe, whole)
    # Between the stages: the first is done, nothing of the second is there.
    shutil.copytree(whole, killed, ignore=shutil.ignore_patterns("stages"))
    kills = [train_until(killed, recipe, step, delay, folders[1]) for step, delay in ((1, 0.0), (3, 0.02))]
    assert any(kills), "at least one kill must have hit a training that was under way"
    killing.train(recipe, killed)
    for folder in folders:
        weights = f"{folder}/adapter/adapter_model.safetensors".lstrip("/")
        assert sha256(killed / weights) == sha256(whole / weights), folder
        assert journals(killed / folder) == journals(whole / folder)
    assert journals(whole / folders[2])["curve.jsonl"]


def files(run: Path) -> set[Path]:
    """All but what a kill has left and the next process there removes."""
    names = {path.relative_to(run) for path in run.rglob("*") if path.is_file()}
    return {name for name in names if not any(part.startswith(TEMPORARY) for part in name.parts)}


def same_run(killed: Path, whole: Path) -> None:
    """Weights, journals and results, of one stage."""
    saved = [path.name for path in (whole / "adapter").iterdir()]
    assert {"adapter_model.safetensors", "adapter_config.json"} < set(saved)
    for name in saved:
        assert sha256(killed / "adapter" / name) == sha256(whole / "adapter" / name), name
    assert journals(killed) == journals(whole)
    results = [json.loads((run / "result.json").read_text()) for run in (killed, whole)]
    for result in results:
        for clock in ("seconds", "probe_seconds"):
            assert result.pop(clock) >= 0
    assert results[0] == results[1]


def test_killed_in_every_window_after_the_last_checkpoint(tmp_path: Path) -> None:
    """Safe LoRA works in one of them, and the last checkpoint does not hold what it did."""
    base = tmp_path / "before-alignment"
    examples.other_base(base)
    recipe = project.make(tmp_path, training=TRAINING, defenses=[{"safe_lora": {"base": str(base), "top_k": 2}}])
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    killing.train(recipe, whole)
    assert killing.killed_at(1, killed, killing.train, recipe, killed, after="checkpoint-4/ringfence_manifest.json")
    assert not (killed / "adapter").exists()
    assert killing.killed_until_done(killed, killing.train, recipe, killed) > 10
    same_run(killed, whole)


def test_killed_in_every_window_of_every_stage(tmp_path: Path) -> None:
    """The second stage goes on with the adapter, the third merges it; each kill goes on with what the one before left.

    A window is named by the file that comes next, so that there are as many kills as names.
    """
    safe, penalty = {"target": str(tmp_path / "safe.jsonl")}, [{"ldifs": {"every": 1, "weight": 0.1}}]
    stages = [
        {"name": name, "data": safe, "adapter": how, "defenses": penalty}
        for name, how in (("more", "continue"), ("anew", "new"))
    ]
    recipe = project.make(tmp_path, training=TRAINING, defenses=penalty, evaluation={}, stages=stages)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    killing.train(recipe, whole)
    first, second, third = folders = ("", "stages/2-more/", "stages/3-anew/")
    begins = ("log.jsonl", "checkpoint-2/ringfence_manifest.json")  # nothing of the stage is there; a torn checkpoint
    ends = (".tmp-/adapter/adapter_config.json", "adapter", "result.json")  # half the weights, all, and no result
    windows = [(first, ends), (second, (*begins, *ends)), (third, ("log.jsonl", *ends[1:]))]
    for name in [folder + window for folder, named in windows for window in named]:
        assert killing.killed_before(name, killed, killing.train, recipe, killed), name
        assert not (killed / name).exists(), name
    killing.train(recipe, killed)
    assert files(killed) == files(whole)
    for folder in folders:
        same_run(killed / folder, whole / folder)


def test_killed_in_every_window_of_an_evaluation(tmp_path: Path) -> None:
    """Before every file that it makes: answers half-written, all answers and no verdicts, verdicts and no summary."""
    evaluation = {"suites": {"general": str(tmp_path / "general.jsonl")}, "max_new_tokens": 6, "batch_size": 1}
    recipe = project.make(tmp_path, training=TRAINING, evaluation=evaluation)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    killing.train(recipe, whole)
    shutil.copytree(whole, killed)
    windows = killing.changed(whole, killing.evaluate, whole)
    assert len(windows) > 10
    for name in windows:
        assert killing.killed_before(name, killed, killing.evaluate, killed), name
    killing.evaluate(killed)
    assert files(killed) == files(whole)
    made = [*(whole / "answers").glob("*.parquet"), *(whole / "evaluation").iterdir(), whole / "README.md"]
    assert len(made) == 5
    for path in made:
        assert sha256(killed / path.relative_to(whole)) == sha256(path), path


def test_a_sweep_whose_driver_is_killed_with_all_its_tasks_does_every_step_once(tmp_path: Path) -> None:
    """Killed when 0, 1 and 3 of 5 steps are done, each time while others run; counted off what is only appended to."""
    steps, cut_off, done = sweep_graphs.working(tmp_path).steps.values(), 0, dict[str, str]()

    def begun() -> int:
        return sum(len(JsonlLog(step.folder / "started.jsonl").read()) for step in steps)

    def made() -> dict[str, str]:
        return {step.label: (step.product / "made").read_text() for step in steps if step.is_done}

    for count in (0, 1, 3):
        driver, deadline = killing.started(sweep_graphs.drive_apart, tmp_path), time.monotonic() + 60
        while len(made()) < count or begun() == len(made()) + cut_off:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.join()
        now = made()
        assert {label: now[label] for label in done} == done, "what was done is as it was"
        done, cut_off = now, begun() - len(now)
    assert cut_off >= 3
    driver = killing.started(sweep_graphs.drive_apart, tmp_path)
    driver.join()
    assert driver.exitcode == 0
    assert all(step.is_done for step in steps)
    assert {label: made()[label] for label in done} == done
    assert begun() == len(steps) + cut_off


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    recipe, run = project.make(tmp_path), tmp_path / "run"
    command = [sys.executable, "-m", "ringfence", "train", str(recipe), "training.num_train_epochs=2000", "--out", run]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # A test runner in the background has Ctrl-C ignored, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (run / "log.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in said
    assert "Traceback" not in said
