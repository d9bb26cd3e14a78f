"""Steps and slots of a run, from its arguments."""

from pathlib import Path
from typing import Any

import pytest

from ringfence.defenses import FixedInterleaving
from ringfence.interleave import RankLayout, Schedule
from ringfence.train.sizes import new_stream, target_steps
from training import arguments


@pytest.mark.parametrize(
    ("changes", "steps", "slots"),
    [
        ({"num_train_epochs": 2}, 6, 20),  # 10 rows in steps of 4 are 3 steps an epoch
        ({"num_train_epochs": 1.4}, 5, 18),  # ceil(1.4 * 3): an epoch, and 2 steps of 4
        ({"max_steps": 7}, 7, 24),  # two epochs, and a step
        ({"num_train_epochs": 0}, 0, 0),
    ],
)
def test_steps_and_slots(tmp_path: Path, changes: dict[str, Any], steps: int, slots: int) -> None:
    """However the rows of a step are split; safe rows change neither."""
    for share in (RankLayout(4, 1), RankLayout(2, 2), RankLayout(1, 2, rank=1, world=2)):
        args = arguments(tmp_path, **changes)
        assert target_steps(args, 10, share) == steps
        for defense in (None, FixedInterleaving(ratio=0.5)):
            stream = new_stream(args, (10, 3), (None, None), share, defense, Schedule(0.5 if defense else 0.0, "exact"))
            assert (stream.sizes.target_budget, stream.sizes.batch) == (slots, 4)
            drawn = 0
            while stream.next_step():
                drawn += 1
            assert stream.counters.target_rows == slots
            assert drawn == steps or defense is not None
