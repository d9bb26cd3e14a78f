"""What a penalty is multiplied by, so that it is one mean over a step however that is split; the rest: invariants."""

from types import SimpleNamespace
from typing import Any

import pytest

from ringfence.train.penalties import PenalisedMixin


@pytest.mark.parametrize(
    ("scaled", "items", "spread"),
    [
        (None, 7, 2),  # the loss is divided by the items of the step: only the ranks' gradients are averaged
        (None, None, 6),  # and the Trainer divides by the 3 micro-batches, too
        (True, None, 2),  # the trainer says that it has scaled its loss, as GRPO does
        (False, 7, 6),  # or that it has not, as DPO does
    ],
)
def test_averages_that_come_after_are_undone(scaled: bool | None, items: int | None, spread: int) -> None:
    """Two ranks, three micro-batches."""
    made: Any = SimpleNamespace(
        loss_is_scaled_for_ga=scaled,
        accelerator=SimpleNamespace(num_processes=2),
        current_gradient_accumulation_steps=3,
    )
    assert PenalisedMixin._spread(made, items) == spread
