"""How long GRPO's generations and epochs are, by hand."""

from pathlib import Path

import pytest
from trl import GRPOConfig

from ringfence.core.errors import RingfenceError
from ringfence.interleave import RankLayout
from ringfence.rl.sizes import GenerationSizes


def test_by_hand(tmp_path: Path) -> None:
    """4 rows x 3 micro-batches a generation = 12 completions of 4 prompts, thrice each, for 3 x 2 micro-batches.

    30 prompts are 7 generations: 42 micro-batches of 4 completions; 2 prompts are left out.
    """
    args = GRPOConfig(
        str(tmp_path), per_device_train_batch_size=4, steps_per_generation=3, gradient_accumulation_steps=2,
        num_generations=3, num_iterations=2, use_cpu=True,
    )  # fmt: skip
    sizes = GenerationSizes.of(args, 30, RankLayout(4, 2))
    assert (sizes.chunk, sizes.reuse, sizes.generation_rows) == (4, 6, 12)
    assert (sizes.epoch_generations, sizes.epoch_micro_batches, sizes.epoch_rows) == (7, 42, 168)
    with pytest.raises(RingfenceError, match="it has 3 prompts, and one generation takes 4"):
        GenerationSizes.of(args, 3, RankLayout(4, 2))


def test_an_epoch_that_ends_within_a_step_is_refused(tmp_path: Path) -> None:
    """3 generations of one micro-batch each, in steps of two."""
    args = GRPOConfig(
        str(tmp_path), per_device_train_batch_size=2, steps_per_generation=1, gradient_accumulation_steps=2,
        num_generations=2, use_cpu=True,
    )  # fmt: skip
    with pytest.raises(RingfenceError, match=r"^steps_per_generation: .* would have 1 of 2 micro-batches"):
        GenerationSizes.of(args, 3, RankLayout(2, 2))
    assert GenerationSizes.of(args, 4, RankLayout(2, 2)).epoch_rows == 8
