"""Checkpoints from which training resumes bitwise: what they hold, which are valid, and which one is taken."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from accelerate.utils import broadcast_object_list
from peft import PeftModel

from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog, write_json
from ringfence.core.run_folder import CHECKPOINT, JOURNALS, STATE_FILE
from ringfence.interleave import InterleavingStream
from ringfence.models.adapters import sort_sets
from ringfence.models.sharded import is_sharded, trained_state
from ringfence.train.guards import DefenseStack
from ringfence.train.lost_ranks import explained, require_shared
from ringfence.train.state import commit, flaw, newest_checkpoint, read_state, rotate, withdraw

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object  # the trainer comes after this class, whichever it is

T = TypeVar("T")
logger = logging.getLogger(__name__)


class ResumableMixin(_Trainer):
    """The part of :class:`~ringfence.train.mixin.DefendedTrainerMixin` that saves and resumes."""

    stream: InterleavingStream
    guards: DefenseStack
    _fresh_state: dict[str, Any]
    _penalty_sums: dict[str, torch.Tensor]
    _seen: dict[str, list[float]]
    step_seconds = probe_seconds = 0.0
    _total_train_tokens = 0  # TRL's trainers count in it

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As the parent's; ``True`` resumes from the newest whole checkpoint of ``args.output_dir``.

        Raises :class:`RingfenceError` if there is none, or with what is wrong with the named one.
        """
        checkpoint = None
        if resume_from_checkpoint is True:
            checkpoint = self._newest_checkpoint()
            if checkpoint is None:
                raise RingfenceError(
                    f"{self.args.output_dir}: no whole checkpoint to resume from; start without resuming"
                )
        elif resume_from_checkpoint:
            checkpoint = Path(resume_from_checkpoint)
            if what := self._from_main(lambda: flaw(Path(resume_from_checkpoint))):
                raise RingfenceError(f"{what}; resume from another checkpoint")
        return self._train_from(checkpoint, **kwargs)

    def train_or_resume(self) -> Any:
        """:meth:`train` from the newest whole checkpoint of ``args.output_dir``; from the beginning without one."""
        return self._train_from(self._newest_checkpoint())

    def _newest_checkpoint(self) -> Path | None:
        return self._from_main(lambda: newest_checkpoint(Path(self.args.output_dir)))

    def _train_from(self, checkpoint: Path | None, **kwargs: Any) -> Any:
        if checkpoint is not None and self.is_world_process_zero():
            logger.info("%s: going on from %s", self.args.output_dir, checkpoint.name)
        with explained(self.args.ddp_timeout):
            require_shared(Path(self.args.output_dir))
            self._restore(checkpoint)
            output = super().train(str(checkpoint) if checkpoint else None, **kwargs)
            self.guards.after_training()
            return output

    def _restore(self, checkpoint: Path | None) -> None:
        state = read_state(checkpoint) if checkpoint else self._fresh_state
        try:
            self.stream.load_state_dict(state)
        except (KeyError, TypeError) as error:
            raise RingfenceError(
                f"{checkpoint}: was written by another version of Ringfence, whose state has other keys ({error}); go "
                "on with that version, or delete the checkpoints to begin anew"
            ) from error
        self.step_seconds, self.probe_seconds = state["step_seconds"], state["probe_seconds"]
        self._total_train_tokens = state["tokens"]  # TRL forgets it
        self._penalty_sums, self._seen, self._steps_unlogged = {}, {}, 0
        if self.is_world_process_zero():
            for name in JOURNALS:
                JsonlLog(Path(self.args.output_dir) / name).truncate_after(state["step"])

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The parent's; what is trained keeps its type.

        PEFT makes a loaded adapter float32, and on quantised weights TRL has it in bfloat16.
        """
        types = {name: one.dtype for name, one in self.model.named_parameters() if one.requires_grad}
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        for name, parameter in self.model.named_parameters():
            if parameter.dtype != types.get(name, parameter.dtype):
                parameter.data = parameter.data.to(types[name])

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.state.global_step,
            "ranks": self.args.world_size,
            **self.stream.state_dict(),
            "tokens": self._total_train_tokens,
            "step_seconds": self.step_seconds,
            "probe_seconds": self.probe_seconds,
        }

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"{CHECKPOINT}{self.state.global_step}"
        if self.args.should_save:
            withdraw(folder)
            write_json(folder / STATE_FILE, self._state())
        # The parent deletes old checkpoints before the new one has its commit mark.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            commit(folder)
            rotate(folder, limit, self.state.best_model_checkpoint)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The parent's; of weights that are split over ranks the adapter, or all of a model without one, in one piece.

        A call for all ranks. Checkpoints of a model without an adapter hold the parts alone.
        """
        if not is_sharded(self.model):
            super().save_model(output_dir, _internal_call)
        elif isinstance(self.model, PeftModel) or not _internal_call:
            state = trained_state(self.model, keep=self.args.should_save)
            self._save(output_dir or self.args.output_dir, state)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            sort_sets(self.model, Path(output_dir or self.args.output_dir))

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()  # every rank's file is there before the commit mark

    def _from_main(self, make: Callable[[], T]) -> T:
        """What ``make`` gives on the main process, on every rank."""
        return broadcast_object_list([make() if self.accelerator.is_main_process else None])[0]
