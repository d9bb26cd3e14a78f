"""What a script's reward functions may give: a finite number for each row, or None; anything else names the row."""

import asyncio
import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from trl.trainer.utils import get_callable_name

from reinforcing import rows, trainer
from ringfence.core.errors import RingfenceError
from ringfence.rl.reward_functions import checked, require_rewarded

ROWS: dict[str, Any] = {"prompts": ["a", "b"], "completions": ["x", "y"], "origin": ["f:1", "f:2"]}


def giving(found: Any) -> Any:
    def luck(**columns: Any) -> Any:
        return found

    return luck


class Luck:
    """A reward that is an object, and asked in parallel."""

    async def __call__(self, found: Any, **columns: Any) -> Any:
        return found


def test_values_and_names_stay_as_they_are() -> None:
    values = [torch.tensor(0.1), None]
    model = nn.Linear(1, 1)
    asked = checked([giving(values), functools.partial(Luck(), values), "model/name", model])
    assert [get_callable_name(one) for one in asked[:2]] == ["luck", "Luck"]
    assert asked[0](**ROWS) == asyncio.run(asked[1](**ROWS)) == values
    assert asked[2:] == ["model/name", model]
    assert checked(None) is None


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([0.5, math.nan], r"^reward luck: nan for row f:2 is not finite; mend the reward, or return None"),
        (torch.tensor([-math.inf, 0]), r"^reward luck: -inf for row f:1 is not finite"),
        ([0.5, "1"], r"^reward luck: '1' for row f:2 is no number"),
        ([[0.5], 1], r"^reward luck: \[0\.5\] for row f:1 is no number"),
        ([0.5], r"^reward luck: 1 values for 2 completions; give one each"),
        (None, r"^reward luck: it gave None; give a list"),
    ],
)
def test_what_is_no_reward_names_the_function_and_the_row(found: Any, said: str) -> None:
    with pytest.raises(RingfenceError, match=said):
        checked(giving(found))(**ROWS)


def test_a_row_without_any_reward_and_one_too_large_for_single_precision() -> None:
    """Columns are functions; NaN is what TRL makes of None."""
    given = [{"origin": "f:1"}, {}]
    require_rewarded(torch.tensor([[1, math.nan], [math.nan, 2]]), ("one", "two"), given)
    with pytest.raises(RingfenceError, match=r"^reward: row 1 has none of one, two; at least one must"):
        require_rewarded(torch.tensor([[1, math.nan], [math.nan, math.nan]]), ("one", "two"), given)
    with pytest.raises(RingfenceError, match=r"^reward two: inf for row f:1 is not finite"):
        require_rewarded(torch.tensor([[1, 1e300], [1, 1]]), ("one", "two"), given)


def test_training_stops(tmp_path: Path) -> None:
    """None by one function is fine, and is logged as in TRL; by all of them it is not."""
    half = trainer(tmp_path / "half", given={"reward_funcs": [every_other, giving([1.0] * 4)]}, max_steps=1)
    half.train()
    (row,) = rows(half)
    assert (row["rewards/every_other/mean"], row["rewards/luck/mean"], row["reward"]) == (0.5, 1, 1.25)
    with pytest.raises(RingfenceError, match=r"^reward: row 1 has none of every_other"):
        trainer(tmp_path / "none", given={"reward_funcs": every_other}).train()


def every_other(completions: list[Any], **columns: Any) -> list[float | None]:
    """0.5, None, 0.5, ..."""
    return [None if index % 2 else 0.5 for index in range(len(completions))]
