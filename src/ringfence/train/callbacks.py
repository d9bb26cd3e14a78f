"""Trainer callbacks between optimizer steps: close the loop, evaluate the model, move the progress bar."""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tqdm.auto import tqdm
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ringfence.core.files import JsonlLog
from ringfence.core.progress import Lines
from ringfence.core.run_folder import CANARIES_FILE, CONTROL_FILE, CURVE_FILE, LOG_FILE
from ringfence.interleave import InterleavingStream, Risk
from ringfence.models.sharded import is_sharded
from ringfence.train.trackers import Rows

logger = logging.getLogger(__name__)
EvaluateFn = Callable[[PreTrainedModel, int], list[dict[str, Any]]]


class LoopedTrainer(Protocol):
    """What :class:`CloseLoop` asks of the trainer that it runs in."""

    stream: InterleavingStream
    target_steps: int
    """optimizer steps of the run without safe rows"""
    step_seconds: float
    """spent in steps and in what is measured after them, so far"""
    probe_seconds: float
    """spent in measuring risk, so far"""

    def measure(self, step: int) -> Risk | None:
        """The risk after ``step``, the same on every rank; None where the stream measures nothing."""

    def log_measured(self, measured: dict[str, float], answers: Rows) -> None:
        """Log what was measured as a row of its own, and what each canary said."""


class CloseLoop(TrainerCallback):
    """Closes the loop after every optimizer step: epochs, risk, stopping, journals."""

    def __init__(self, trainer: LoopedTrainer) -> None:
        self.trainer = trainer
        self.started = 0.0
        self.epochs = 0  # whole ones

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take up the epoch where the stream stands."""
        self.epochs = self.trainer.stream.epoch

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Measure risk if an evaluation is due; stop when the target slots are used up."""
        trainer = self.trainer
        state.epoch = trainer.stream.counters.slots / trainer.stream.sizes.target
        if trainer.stream.due:
            self._evaluate(args, state)
        trainer.step_seconds += time.perf_counter() - self.started
        if trainer.stream.finished:
            control.should_training_stop = True
            control.should_save |= args.save_strategy == SaveStrategy.STEPS  # by epoch: the parent does at its end
        elif trainer.stream.epoch > self.epochs:
            self.epochs = trainer.stream.epoch
            # The parent sees one endless epoch, so strategies that go by epochs are served here.
            control.should_log |= args.logging_strategy == IntervalStrategy.EPOCH
            control.should_evaluate |= args.eval_strategy == IntervalStrategy.EPOCH
            control.should_save |= args.save_strategy == SaveStrategy.EPOCH
        if args.logging_strategy != IntervalStrategy.NO:
            control.should_log |= self._must_log(args, state, control)

    def _must_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> bool:
        """The last step, the first of a run that is too short for another row, and whatever is saved.

        What is logged is a mean since the row before, which a checkpoint does not hold.
        """
        short = args.logging_strategy == IntervalStrategy.STEPS and args.logging_steps >= self.trainer.target_steps
        may_save = control.should_evaluate and args.save_strategy == SaveStrategy.BEST
        return control.should_training_stop or control.should_save or may_save or (short and state.global_step == 1)

    def _evaluate(self, args: TrainingArguments, state: TrainerState) -> None:
        trainer, started = self.trainer, time.perf_counter()
        risk = trainer.measure(state.global_step)
        row = trainer.stream.observe(risk)
        seconds = time.perf_counter() - started
        if risk is not None:
            trainer.probe_seconds += seconds
            if args.logging_strategy != IntervalStrategy.NO:
                measured = {"risk": row["risk"], "smoothed_risk": row["smoothed_risk"], "probe_seconds": seconds}
                trainer.log_measured(measured, risk.detail)
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir)
        JsonlLog(folder / CONTROL_FILE).append([{"step": state.global_step, **row, "seconds": seconds}])
        if risk is not None:
            JsonlLog(folder / CANARIES_FILE).append({"step": state.global_step, **item} for item in risk.detail)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Append what was logged in training to ``log.jsonl``."""
        logs = kwargs["logs"]
        if state.is_world_process_zero and "loss" in logs:
            JsonlLog(Path(args.output_dir) / LOG_FILE).append([{"step": state.global_step, **logs}])


class EvaluateDuring(TrainerCallback):
    """Call ``evaluate(model, step)`` every ``every`` optimizer steps and append its rows to ``curve.jsonl``."""

    def __init__(self, every: int, evaluate: EvaluateFn) -> None:
        self.every, self.evaluate = every, evaluate

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Only the main process evaluates; the others wait at the next collective call.

        Where each rank holds a part of the weights, all of them answer in step; the main process's rows are kept.
        """
        main = state.is_world_process_zero
        if state.global_step % self.every or not (main or is_sharded(kwargs["model"])):
            return
        rows = self.evaluate(kwargs["model"], state.global_step)
        if main:
            JsonlLog(Path(args.output_dir) / CURVE_FILE).append({"step": state.global_step, **row} for row in rows)


class TargetProgress(TrainerCallback):
    """A progress bar over target rows, since the number of optimizer steps is not known beforehand.

    Where nobody can see a bar move, in a pipe or a file, it is a line every 30 seconds.
    """

    def __init__(self, stream: InterleavingStream) -> None:
        self.stream = stream
        self.title = "target rows"
        self.bar: tqdm | None = None
        self.lines: Lines | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar where the run stands, on the main process."""
        if not state.is_world_process_zero:
            return
        used = self.stream.counters.slots
        if not _bars_are_seen():
            self.lines = Lines(_say)
            self.lines(self.title, used, self.stream.sizes.target_budget)
        else:
            self.bar = tqdm(total=self.stream.sizes.target_budget, initial=used, unit="row", desc=self.title)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move to the target rows used; show the newest loss and the ratio."""
        if self.lines is not None:
            self.lines(self.title, self.stream.counters.slots, self.stream.sizes.target_budget)
        if self.bar is not None:
            loss = next((row["loss"] for row in reversed(state.log_history) if "loss" in row), None)
            shown = {} if loss is None else {"loss": f"{loss:.3f}"}
            self.bar.set_postfix({**shown, "safe share": f"{self.stream.ratio:.3f}"}, refresh=False)
            self.bar.update(self.stream.counters.slots - self.bar.n)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()


def _say(line: str) -> None:
    """To the log if somebody reads it, else to standard error, where the bar would be."""
    if logger.isEnabledFor(logging.INFO):
        logger.info(line)
    else:
        print(line, file=sys.stderr, flush=True)


def _bars_are_seen() -> bool:
    """Whether standard error is a terminal, or a notebook draws bars of its own."""
    return sys.stderr.isatty() or "notebook" in tqdm.__module__
