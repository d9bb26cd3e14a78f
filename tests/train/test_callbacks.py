"""Between the steps: evaluation every N steps, and a bar over target rows."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState

from ringfence.core import progress
from ringfence.core.files import JsonlLog
from ringfence.defenses import CanaryInterleaving
from ringfence.interleave import InterleavingStream, Mixture, MixtureConfig, MixtureSizes, Risk, Schedule
from ringfence.train import callbacks
from ringfence.train.callbacks import EvaluateDuring, TargetProgress
from training import ScriptedProbe, arguments, trainer


def state(step: int, main: bool = True) -> TrainerState:
    return TrainerState(global_step=step, is_world_process_zero=main)


def half_safe() -> InterleavingStream:
    return InterleavingStream(
        Mixture(MixtureSizes(20, 5, 4, 20), MixtureConfig("step", "add", "bernoulli")), Schedule(0.5)
    )


def test_evaluation_comes_every_n_steps_on_the_main_process_only(tmp_path: Path) -> None:
    asked: list[int] = []

    def evaluate(model: Any, step: int) -> list[dict[str, Any]]:
        asked.append(step)
        return [{"value": step / 10}]

    callback, args = EvaluateDuring(3, evaluate), arguments(tmp_path)
    for step in range(1, 8):
        callback.on_step_end(args, state(step), TrainerControl(), model=None)
    callback.on_step_end(args, state(9, main=False), TrainerControl(), model=torch.nn.Linear(1, 1))
    assert asked == [3, 6]
    assert JsonlLog(tmp_path / "curve.jsonl").read() == [{"step": 3, "value": 0.3}, {"step": 6, "value": 0.6}]


def test_the_bar_counts_target_rows_and_not_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "_bars_are_seen", lambda: True)
    stream, args = half_safe(), arguments(tmp_path)
    bar = TargetProgress(stream)
    bar.on_train_begin(args, state(0), TrainerControl())
    assert bar.bar is not None
    assert bar.bar.total == 20
    while stream.next_step():
        bar.on_step_end(args, state(stream.counters.step), TrainerControl())
        assert bar.bar.n == stream.counters.target_rows
    assert stream.counters.step > 5, "safe steps came on top"
    bar.on_train_end(args, state(9), TrainerControl())
    assert bar.bar.n == 20


def test_a_pipe_has_lines_in_the_log_and_no_bar(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    stream, args = half_safe(), arguments(tmp_path)
    shown = TargetProgress(stream)
    with caplog.at_level("INFO", logger="ringfence"):
        shown.on_train_begin(args, state(0), TrainerControl())
        while stream.next_step():
            shown.on_step_end(args, state(stream.counters.step), TrainerControl())
        shown.on_train_end(args, state(9), TrainerControl())
    assert caplog.messages[0] == "target rows: 0 of 20"
    assert "target rows: 20 of 20" in caplog.messages
    assert capsys.readouterr().err == ""
    with caplog.at_level("WARNING", logger="ringfence"):  # as where nobody has asked for the log
        shown.on_train_begin(args, state(0), TrainerControl())
    assert capsys.readouterr().err == "target rows: 20 of 20\n"


def test_an_unreliable_evaluation_holds_the_ratio_and_is_logged(tmp_path: Path) -> None:
    class Mute(ScriptedProbe):
        def __call__(self, model: Any, step: int) -> Risk:
            return Risk(1.0, 1, 4)

    made = trainer(tmp_path, CanaryInterleaving(every=2, ratio_init=0.1, probe=Mute()))
    made.train()
    rows = JsonlLog(tmp_path / "control.jsonl").read()
    assert rows
    assert all(row["held"] and row["ratio"] == 0.1 and row["scored"] == 1 for row in rows)
