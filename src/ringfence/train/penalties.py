"""The defenses' guards around the training forward of any ``Trainer``, and their penalties in its loss."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from ringfence.defenses import Defense, TrainerContext
from ringfence.defenses.step import Batch
from ringfence.interleave import InterleavingStream
from ringfence.interleave.loader import ANCHOR, PENALTY_LABELS, SAFE
from ringfence.train.checks import refuse_unmarked_padding
from ringfence.train.guards import DefenseStack
from ringfence.train.parallel import Backend, backend_of
from ringfence.train.splitting import require_splittable, require_whole_weights, split_reference

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object  # the trainer comes after this class, whichever it is


MARKS = (SAFE, ANCHOR, PENALTY_LABELS)
"""keys of a micro-batch that the model does not take"""


def marked(inputs: Mapping[str, Any]) -> Batch:
    """One micro-batch by positions, as the loader has marked them."""
    seen = {**inputs, "labels": inputs.get(PENALTY_LABELS, inputs["labels"])}
    return Batch.of(seen, inputs.get(SAFE), anchor=inputs.get(ANCHOR))


class PenalisedMixin(_Trainer):
    """The part of :class:`~ringfence.train.mixin.DefendedTrainerMixin` that computes the loss."""

    in_force: tuple[Defense, ...]
    """the defenses as this trainer has them"""
    guards: DefenseStack
    stream: InterleavingStream
    _units: torch.Tensor
    """(penalties,): what each is divided by in this optimizer step"""
    _penalty_sums: dict[str, torch.Tensor]
    """(2,) for each, since the last log: without and with the factor that a schedule sets"""
    _steps_unlogged: int
    _seen: dict[str, list[float]]

    @property
    def backend(self) -> Backend:
        """What it trains on."""
        return backend_of(self.accelerator, self.args.n_gpu)

    def _put_up_guards(self, setup: TrainerContext, reference: PreTrainedModel | None) -> None:
        require_whole_weights(self.model)
        if self.backend.split:
            require_splittable(self.model, self.accelerator)
        self.guards = DefenseStack(self.in_force, setup, reference)
        if self.guards:
            self.backend.require_guards()
        if self.backend.split and self.guards.reference is not None:
            self.guards.reference = split_reference(self.guards.reference, self.accelerator)
        if self.guards.apart:
            self.backend.require_unsplit("a defense that changes gradients")
        if self.guards.penalising:
            refuse_unmarked_padding(self.args, self.data_collator)
        self._units = torch.ones(len(self.guards.penalising), dtype=torch.long)
        self._penalty_sums = {}
        self._seen = {}
        self._steps_unlogged = 0

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The parent's micro-batches of one optimizer step."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if batches:
            self._begin_step(batches)
        return batches, items

    def _begin_step(self, batches: Sequence[Any]) -> None:
        """Look at the micro-batches of the optimizer step that begins."""
        for guard in self.guards.apart:
            guard.begin()
        if self.guards.penalising:
            self._count_units([marked(inputs) for inputs in batches])

    def _count_units(self, batches: Sequence[Batch]) -> None:
        """Count what each penalty is divided by in the micro-batches of one optimizer step, over all ranks."""
        self._units = self.accelerator.reduce(self.guards.normalizer(batches).to(self.args.device), "sum")
        self._steps_unlogged += 1

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The parent's loss; in training under the guards, plus ``factor * weight * penalty`` for each penalty."""
        batch, inputs = marked(inputs), {key: value for key, value in inputs.items() if key not in MARKS}
        parent = super().compute_loss
        if not (self.guards and self.model.training):
            return parent(model, inputs, return_outputs, num_items_in_batch)
        return self._guarded(
            batch,
            inputs,
            lambda: parent(model, inputs, num_items_in_batch=num_items_in_batch),
            self._spread(num_items_in_batch),
        )

    def _guarded(
        self, batch: Batch, inputs: Mapping[str, Any], run: Callable[[], torch.Tensor], spread: int
    ) -> torch.Tensor:
        """What ``run``, a training forward and loss, gives under the guards, plus each ``factor * weight * penalty``.

        ``inputs`` are the reference's, ``spread`` undoes the averages over ranks and micro-batches that come after.
        """
        loss, penalties = self.guards.loss(batch, inputs, run)
        for penalty, units in zip(penalties, self._units, strict=True):
            share = penalty.sum / units.clamp(min=1)
            if penalty.guard.apart:
                penalty.guard.collect(batch, share, self._trained())
                continue
            loss = loss + self.stream.factor * penalty.weight * spread * share
            seen = torch.stack([share.detach(), self.stream.factor * share.detach()])
            self._penalty_sums[penalty.name] = self._penalty_sums.get(penalty.name, 0) + seen
        return loss

    def _trained(self) -> list[torch.nn.Parameter]:
        """All that has a gradient."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _finish_gradients(self) -> None:
        """Once an optimizer step has the gradients of all micro-batches and ranks, before they are clipped."""
        if self.guards.apart and self.accelerator.sync_gradients:
            for guard in self.guards.apart:
                for name, value in guard.finish(self._trained(), self._summed).items():
                    self._seen.setdefault(name, []).append(value)

    def _summed(self, tensor: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.accelerator.reduce(tensor.to(self.args.device), "sum")
        return found

    def _mean_seen(self) -> dict[str, float]:
        """What guards have said of gradients, as means since the last log."""
        seen, self._seen = self._seen, {}
        return {name: sum(values) / len(values) for name, values in seen.items()}

    def _spread(self, items: Any) -> int:
        """Undoes the averages that come after: of the ranks' gradients, and of the losses of micro-batches."""
        said: bool | None = getattr(self, "loss_is_scaled_for_ga", None)  # of TRL, and of transformers from 5.19 on
        scaled = items is not None if said is None else said
        return self.accelerator.num_processes * (1 if scaled else self.current_gradient_accumulation_steps)

    def _mean_penalties(self) -> tuple[dict[str, float], float]:
        """Each penalty, unweighted, and their part of the loss, which is weighted.

        Means over the optimizer steps since the last log, summed over the ranks.
        """
        steps, self._steps_unlogged = self._steps_unlogged, 0
        sums, self._penalty_sums = self._penalty_sums, {}
        found = {name: self.accelerator.reduce(both, "sum").tolist() for name, both in sums.items()}
        weighted = sum(self.guards.penalising[name].weight * both[1] / steps for name, both in found.items())
        return {name: both[0] / steps for name, both in found.items()}, weighted
