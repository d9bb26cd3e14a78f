"""The defenses' guards around the training forward of any ``Trainer``, and their penalties in its loss."""

from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from ringfence.defenses import Defense, TrainerContext
from ringfence.defenses.step import Batch
from ringfence.interleave.loader import SAFE
from ringfence.train.checks import refuse_unmarked_padding
from ringfence.train.guards import DefenseStack
from ringfence.train.parallel import backend_of

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object  # the trainer comes after this class, whichever it is


class PenalisedMixin(_Trainer):
    """The part of :class:`~ringfence.train.mixin.DefendedTrainerMixin` that computes the loss."""

    defenses: tuple[Defense, ...]
    guards: DefenseStack
    _units: torch.Tensor
    """(penalties,): what each is divided by in this optimizer step"""
    _penalty_sums: dict[str, torch.Tensor]
    _steps_unlogged: int

    def _put_up_guards(self, setup: TrainerContext, reference: PreTrainedModel | None) -> None:
        self.guards = DefenseStack(self.defenses, setup, reference)
        if self.guards:
            backend_of(self.accelerator, self.args.n_gpu).require_guards()
        if self.guards.penalising:
            refuse_unmarked_padding(self.args, self.data_collator)
        self._units = torch.ones(len(self.guards.penalising), dtype=torch.long)
        self._penalty_sums = {}
        self._steps_unlogged = 0

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The parent's micro-batches of one optimizer step; counts what each penalty is divided by, over all ranks."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.guards.penalising and batches:
            self._units = self.accelerator.reduce(self.guards.normalizer(batches, SAFE).to(device), "sum")
            self._steps_unlogged += 1
        return batches, items

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The parent's loss; in training under the guards, plus ``weight * penalty`` for each that penalises."""
        safe = inputs.pop(SAFE, None)
        parent = super().compute_loss
        if not (self.guards and self.model.training):
            return parent(model, inputs, return_outputs, num_items_in_batch)
        batch = Batch.of(inputs, safe)
        loss: torch.Tensor
        loss, penalties = self.guards.loss(
            batch, inputs, lambda: parent(model, inputs, num_items_in_batch=num_items_in_batch)
        )
        spread = self._spread(num_items_in_batch)
        for penalty, units in zip(penalties, self._units, strict=True):
            share = penalty.sum / units.clamp(min=1)
            loss = loss + penalty.weight * spread * share
            before = self._penalty_sums.get(penalty.name, 0)
            self._penalty_sums[penalty.name] = before + share.detach()
        return loss

    def _spread(self, items: Any) -> int:
        """Undoes the averages that come after: of the ranks' gradients, and of the losses of micro-batches."""
        scaled = self.loss_is_scaled_for_ga if self.loss_is_scaled_for_ga is not None else items is not None
        return self.accelerator.num_processes * (1 if scaled else self.current_gradient_accumulation_steps)

    def _mean_penalties(self) -> dict[str, float]:
        """Each penalty, unweighted, as a mean over the optimizer steps since the last log; summed over the ranks."""
        steps, self._steps_unlogged = self._steps_unlogged, 0
        sums, self._penalty_sums = self._penalty_sums, {}
        return {name: self.accelerator.reduce(sum_, "sum").item() / steps for name, sum_ in sums.items()}
