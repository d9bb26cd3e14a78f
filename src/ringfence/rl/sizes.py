"""How TRL's GRPO walks through its prompts, in micro-batches: for the trainer, and for a forecast without one.

One *generation* draws ``chunk`` prompts on all ranks and answers each ``generations`` times. Its completions are split
into ``steps_per_generation`` micro-batches, and these are trained on ``num_iterations`` times: one generation lasts for
``reuse`` micro-batches. An epoch is as many whole generations as there are prompts for; TRL leaves out the rest.
"""

from dataclasses import dataclass

from trl import GRPOConfig

from ringfence.core.errors import RingfenceError
from ringfence.interleave import RankLayout


@dataclass(frozen=True)
class GenerationSizes:
    """Of one run; a row is a completion."""

    layout: RankLayout
    prompts: int
    """that there are"""
    chunk: int
    """prompts a generation, all ranks together"""
    generations: int
    """completions a prompt"""
    reuse: int
    """micro-batches that one generation lasts for"""

    @classmethod
    def of(cls, args: GRPOConfig, prompts: int, layout: RankLayout) -> "GenerationSizes":
        """Raises :class:`RingfenceError` for too few prompts, and for epochs that end within an optimizer step."""
        chunk = args.generation_batch_size // args.num_generations
        sizes = cls(layout, prompts, chunk, args.num_generations, args.steps_per_generation * args.num_iterations)
        if prompts < chunk:
            raise RingfenceError(
                f"train_dataset: it has {prompts} prompts, and one generation takes {chunk}; give more, or make "
                "per_device_train_batch_size, steps_per_generation or gradient_accumulation_steps smaller"
            )
        if left := sizes.epoch_micro_batches % layout.accumulation:
            raise RingfenceError(
                f"steps_per_generation: the last optimizer step of an epoch would have {left} of "
                f"{layout.accumulation} micro-batches; leave it and generation_batch_size out, or give prompts for "
                "whole steps"
            )
        return sizes

    @property
    def epoch_generations(self) -> int:
        """Generations an epoch."""
        return self.prompts // self.chunk

    @property
    def epoch_micro_batches(self) -> int:
        """Micro-batches an epoch, on each rank."""
        return self.epoch_generations * self.reuse

    @property
    def micro_rows(self) -> int:
        """Completions a micro-batch, all ranks together."""
        return self.layout.micro_batch * self.layout.world

    @property
    def epoch_rows(self) -> int:
        """Completions that are trained on in an epoch, each as often as it is."""
        return self.epoch_micro_batches * self.micro_rows

    @property
    def generation_rows(self) -> int:
        """Completions a generation, all ranks together."""
        return self.chunk * self.generations
