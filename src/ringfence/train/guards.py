"""Run all defenses around one training forward, whichever trainer runs it.

One micro-batch: the trainer's own loss runs the trained model, whose hidden states are kept. If any guard penalises,
ONE reference forward follows, in evaluation mode and without gradients. All hooks are active in both the training and
the reference forward. The reference is the same weights with the adapter off; with full fine-tuning, a frozen copy.
Decoder layers below the first adapted one compute the same in both, so they run once; and only the rows that some
penalty compares go through the reference, such as the safe rows alone.
"""

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, Defense, DefenseHook, TrainerContext
from ringfence.defenses.step import Batch, HiddenStates, PenaltyInputs
from ringfence.models.activations import (
    Captured,
    Model,
    bare,
    capture_hidden_states,
    decoder_layers,
    reusing,
    untouched_layers,
    without_adapters,
)
from ringfence.models.output_head import OutputHead
from ringfence.models.quantised import is_packed
from ringfence.models.sharded import run_inside, split_again
from ringfence.train.checks import require_reference

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Penalty:
    """One term of the loss for one micro-batch: ``weight * sum / units``, the units being the whole step's."""

    name: str
    weight: float
    sum: torch.Tensor
    guard: DefenseHook


class DefenseStack:
    """The guards of a run, by the names of their defenses."""

    def __init__(
        self, defenses: Sequence[Defense], setup: TrainerContext, reference: PreTrainedModel | None = None
    ) -> None:
        assert setup.model is not None, "guards work on a model"
        self.model: Model = setup.model
        made = {DEFENSES.name_of(type(defense)): defense.guard(setup) for defense in defenses}
        self.guards: dict[str, DefenseHook] = {name: guard for name, guard in made.items() if guard is not None}
        adding = {DEFENSES.name_of(type(defense)) for defense in defenses if defense.adds_to_loss}
        comparing = {DEFENSES.name_of(type(defense)) for defense in defenses if defense.penalises}
        self.penalising = {name: guard for name, guard in self.guards.items() if name in adding}
        """those that add a term to the loss"""
        self.comparing = {name: guard for name, guard in self.guards.items() if name in comparing}
        """those of them that need a reference"""
        self.apart = [guard for guard in self.penalising.values() if guard.apart]
        """those of them whose term has a gradient of its own"""
        self._holding = any(type(guard).apply is not DefenseHook.apply for guard in self.guards.values())
        self._in_forward = False
        self._step: ExitStack | None = None
        self.needs_last = any(guard.needs_last for guard in self.penalising.values())
        self.layers = frozenset[int]().union(*(guard.layers for guard in self.penalising.values()))
        self.reference = self._reference(reference) if self.comparing else None
        self.shared = untouched_layers(self.model) if self.comparing and self.reference is None else 0

    def __bool__(self) -> bool:
        return bool(self.guards)

    def _reference(self, given: PreTrainedModel | None) -> PreTrainedModel | None:
        """The frozen reference model; None where the trained model without its adapter is one."""
        # A guard that holds does so in both, by layers and width of the trained model.
        require_reference(self.model, given, " and ".join(sorted(self.comparing)), bool(self.layers) or self._holding)
        if given is None and isinstance(self.model, PeftModel):
            return None
        if given is None:
            logger.info("all weights are trained, so a frozen copy of the model is kept as the reference")
            given = copy.deepcopy(bare(self.model))
        if given.device != self.model.device:
            given.to(self.model.device)
        return given.requires_grad_(False).eval()

    def normalizer(self, batches: Sequence[Batch]) -> torch.Tensor:
        """(penalties,): the units of each penalty in the micro-batches of one optimizer step on this rank."""
        counts = [sum(guard.normalizer(batch) for batch in batches) for guard in self.penalising.values()]
        return torch.tensor(counts, dtype=torch.long)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one micro-batch with its backward pass: hooks that this needs stay until its end."""
        with ExitStack() as stack:
            self._step = stack
            try:
                yield
            finally:
                self._step = None

    @contextmanager
    def around(self, model: Model) -> Iterator[None]:
        """The guards' hooks on ``model`` inside: where a policy generates and scores its completions.

        In a training forward they are up already.
        """
        with ExitStack() as stack:
            for guard in () if self._in_forward else self.guards.values():
                stack.enter_context(guard.apply(model, None))
            yield

    def loss(self, batch: Batch, inputs: Mapping[str, Any], run: Callable[[], T]) -> tuple[T, list[Penalty]]:
        """What ``run``, the trainer's own training forward and loss, returns, and the penalties on this micro-batch."""
        with ExitStack() as stack:
            stack.enter_context(self._forwarding())
            for guard in self.guards.values():
                lasting = self._step if guard.through_backward and self._step is not None else stack
                lasting.enter_context(guard.apply(self.model, batch))
            if not self.penalising:
                return run(), []
            with capture_hidden_states(self.model, self.layers, last=self.needs_last, frozen=self.shared) as trained:
                loss = run()
            self._require_gradient(trained)
            # Accelerate puts autocast around the model's forward only; the reference must round as the model does.
            with torch.autocast(batch.labels.device.type, trained.autocast, enabled=trained.autocast is not None):
                return loss, self._penalties(batch, inputs, trained)

    def _require_gradient(self, trained: Captured) -> None:
        """Raise :class:`RingfenceError` where the states that are penalised lead to no weight that is trained.

        Some checkpointing runs a layer without gradients, hooks and all, and again in the backward pass: a penalty on
        what a hook has seen there would be a number that teaches nothing.
        """
        deepest = max(self.layers, default=0)
        if not (deepest and torch.is_grad_enabled()) or trained.layers[deepest].requires_grad:
            return
        below = decoder_layers(self.model)[:deepest]
        if any(parameter.requires_grad for parameter in below.parameters()):
            raise RingfenceError(
                f"gradient checkpointing: hidden states of layer {deepest} come without a gradient, so a penalty on "
                "them would do nothing; set gradient_checkpointing_kwargs: {use_reentrant: false} (with Unsloth "
                "use_gradient_checkpointing=True), or turn checkpointing off"
            )

    @contextmanager
    def _forwarding(self) -> Iterator[None]:
        self._in_forward = True
        try:
            yield
        finally:
            self._in_forward = False

    def _penalties(self, batch: Batch, inputs: Mapping[str, Any], trained: Captured) -> list[Penalty]:
        head = OutputHead.of(self.model) if self.needs_last else None
        states, none = HiddenStates(trained.layers, trained.last, head), HiddenStates({}, None, None)
        alone = compared = PenaltyInputs(batch, states, none)
        if self.comparing:
            chosen = self._compared_rows(batch)
            reference = self._refer(batch, inputs, trained, chosen)
            own = (batch, states) if chosen is None else (batch.rows(chosen), states.rows(chosen))
            compared = PenaltyInputs(*own, reference)
        return [
            Penalty(name, guard.weight, guard.penalty(compared if name in self.comparing else alone), guard)
            for name, guard in self.penalising.items()
        ]

    def _compared_rows(self, batch: Batch) -> torch.Tensor | None:
        """(batch,): the rows that go through the reference; None for all of them.

        All do where hooks hold in it, which go by the positions of the whole batch. One does where there is nothing to
        compare: ranks that share the weights run the pass together.
        """
        if self._holding:
            return None
        rows = torch.stack([guard.rows(batch) for guard in self.comparing.values()]).any(0)
        if not rows.any():
            rows[0] = True
        return None if rows.all() else rows

    def _refer(
        self, batch: Batch, inputs: Mapping[str, Any], trained: Captured, chosen: torch.Tensor | None
    ) -> HiddenStates:
        """The one reference pass, of ``chosen`` rows: the decoder only, the output layer is the penalty's affair."""
        model, size = self.reference or self.model, len(batch.labels)
        inputs = {key: _rows_of(value, chosen, size) for key, value in inputs.items() if key != "labels"}
        inputs["use_cache"] = False
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if self.reference is None:
                stack.enter_context(_evaluating(self.model))
                stack.enter_context(without_adapters(self.model))
                stack.enter_context(reusing(self.model, self.shared, _rows_of(_detached(trained.frozen), chosen, size)))
            else:
                for guard in self.guards.values():
                    stack.enter_context(guard.apply(model, batch))
            above = frozenset(k for k in self.layers if k > self.shared)
            kept = stack.enter_context(capture_hidden_states(model, above, last=self.needs_last))
            run_inside(model, lambda: bare(model).get_decoder()(**inputs))
            below = {k: _rows_of(trained.layers[k].detach(), chosen, size) for k in self.layers - above}
            return HiddenStates(kept.layers | below, kept.last, OutputHead.of(model) if self.needs_last else None)

    def after_training(self) -> None:
        """What is left to do after training."""
        split_again(self.model)
        for guard in self.guards.values():
            guard.after_training(self.model)

    def summaries(self) -> dict[str, Any]:
        """What the guards have to say after training, by the names of their defenses; without those that do not."""
        found = {name: guard.summary() for name, guard in self.guards.items()}
        return {name: record for name, record in found.items() if record is not None}


def _rows_of(value: Any, chosen: torch.Tensor | None, size: int) -> Any:
    """Of a tensor with ``size`` rows, or a tuple with such, those that are ``chosen``; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_rows_of(part, chosen, size) for part in value)
    by_row = isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == size
    return value[chosen] if by_row and chosen is not None else value


def _detached(output: Any) -> Any:
    if isinstance(output, tuple):
        return tuple(part.detach() if isinstance(part, torch.Tensor) else part for part in output)
    return output.detach() if isinstance(output, torch.Tensor) else output


@contextmanager
def _evaluating(model: Model) -> Iterator[None]:
    """Evaluation mode inside; the former mode of every module afterwards.

    Packed layers keep theirs: on a CPU those of 8 bits round their input in evaluation mode, and not in training.
    """
    training = [module for module in model.modules() if module.training and not is_packed(module)]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
