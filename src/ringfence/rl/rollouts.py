"""What sees the defenses where a policy generates and scores its completions: a part of the GRPO trainer.

Rollouts see them or not, as the trainer is asked to; the old policy and the reference of ``beta`` are scored as the
training forward is made, so that the ratio of policies holds no defense. In evaluation nothing does.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer

from ringfence.interleave.loader import SAFE
from ringfence.models.lean_adapters import lean_on_gpu
from ringfence.rl.reward_functions import require_rewarded
from ringfence.train.guards import DefenseStack

if TYPE_CHECKING:
    from trl import GRPOTrainer as _Trainer
else:
    _Trainer = object  # the trainer comes after this class

PLAIN = "plain_prompt"
"""column of the prompt that a completion answers, where it is trained on behind another"""


class RolloutsMixin(_Trainer):
    """The part of :class:`~ringfence.rl.grpo.DefendedGRPOTrainer` that generates and scores."""

    guards: DefenseStack
    rollouts: str
    """whether completions are generated under the defenses: ``defended`` or ``plain``"""
    _asked: list[Any] | None = None
    """the prompts of a generation, where others are trained on"""
    _signature_columns: list[str] | None
    reward_func_names: list[str]

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns = [*dict.fromkeys([*(self._signature_columns or ()), PLAIN])]

    def training_step(self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """TRL's, which counts the micro-batches of RL; those of safe steps go past it."""
        if SAFE in inputs:
            return Trainer.training_step(self, model, inputs, num_items_in_batch)
        found: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        return found

    @contextmanager
    def _under_guards(self, model: Any, wanted: bool = True) -> Iterator[None]:
        """The hooks on ``model`` inside, in training only."""
        if not (wanted and self.guards and self.model.training):
            yield
            return
        with self.guards.around(self.accelerator.unwrap_model(model)):
            yield

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        with self._under_guards(self.model, self.rollouts == "defended"), torch.no_grad(), lean_on_gpu(self.model):
            return super()._generate_single_turn(*args, **kwargs)

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        with self._under_guards(model):
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        self._asked = [row[PLAIN] for row in inputs] if PLAIN in inputs[0] else None
        return super()._generate_and_score_completions([without(row, PLAIN) for row in inputs])

    def _calculate_rewards(self, inputs: list[dict[str, Any]], *args: Any, **kwargs: Any) -> torch.Tensor:
        """TRL's, (completions of all ranks, functions); those of this rank are checked."""
        found: torch.Tensor = super()._calculate_rewards(inputs, *args, **kwargs)
        first = self.accelerator.process_index * len(inputs)
        require_rewarded(found[first : first + len(inputs)], self.reward_func_names, inputs)
        return found

    def _generate(self, prompts: list[Any]) -> Any:
        """TRL's; with plain rollouts of rewritten prompts, completions of the plain ones behind the others."""
        if self._asked is None:
            return super()._generate(prompts)
        _, *others = super()._generate(self._asked)
        prompt_ids, _, _ = self._tokenize_prompts(prompts)
        return (prompt_ids, *others)


def without(row: Mapping[str, Any], column: str) -> dict[str, Any]:
    """``row`` but for one column."""
    return {name: value for name, value in row.items() if name != column}
