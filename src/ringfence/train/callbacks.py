"""What happens between optimizer steps besides the loop itself: the progress bar and evaluation during training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ringfence.core.files import Journal
from ringfence.interleave import Mixture, Schedule

EvaluateFn = Callable[[PreTrainedModel, int], list[dict[str, Any]]]


class EvaluateDuring(TrainerCallback):
    """Call ``evaluate(model, step)`` every ``every`` optimizer steps and append its rows to ``curve.jsonl``."""

    def __init__(self, every: int, evaluate: EvaluateFn) -> None:
        self.every, self.evaluate = every, evaluate

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Only the main process evaluates; the others wait at the next collective call."""
        if state.global_step % self.every == 0 and state.is_world_process_zero:
            rows = self.evaluate(kwargs["model"], state.global_step)
            Journal(Path(args.output_dir) / "curve.jsonl").append({"step": state.global_step, **row} for row in rows)


class TargetProgress(TrainerCallback):
    """A progress bar over target rows, since the number of optimizer steps is not known beforehand."""

    def __init__(self, mixture: Mixture, schedule: Schedule) -> None:
        self.mixture, self.schedule = mixture, schedule
        self.bar: tqdm | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar where the run stands, on the main process."""
        if state.is_world_process_zero:
            used = self.mixture.counters.slots
            self.bar = tqdm(total=self.mixture.sizes.slots, initial=used, unit="row", desc="target rows")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move to the target rows used."""
        if self.bar is not None:
            self.bar.update(self.mixture.counters.slots - self.bar.n)
            self.bar.set_postfix({"step": state.global_step, "ratio": f"{self.schedule.ratio:.3f}"}, refresh=False)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
