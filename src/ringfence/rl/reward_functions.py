"""Reward functions as a script gives them to the trainer: what is no reward raises, where TRL would train on.

In TRL a function returns None for a row that it has no say in. TRL makes NaN of that, and leaves NaN out of the sum
over functions; so a function's own NaN is left out as well. A row without any reward has an advantage of 0, so that
nothing is learned where a function always fails; TRL warns, and trains to the end.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from trl.trainer.utils import get_callable_name, is_async_callable

from ringfence.core.errors import RingfenceError
from ringfence.rl.rewards.base import one_each


def checked(given: Any) -> Any:
    """``reward_funcs`` of TRL, the functions among them checked at every call; their values and names stay as they are.

    They then raise :class:`RingfenceError` naming the function and the row for a value that is neither a finite number
    nor None. Models, and names of models, are as they were.
    """
    return [_checked(one) for one in given] if isinstance(given, list) else _checked(given)


def _checked(given: Any) -> Any:
    if not callable(given) or isinstance(given, nn.Module):
        return given
    name = get_callable_name(given)
    asked = _awaiting(name, given) if is_async_callable(given) else _calling(name, given)
    asked.__name__ = name  # which TRL logs it under
    return asked


def _calling(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def ask(**columns: Any) -> list[Any]:
        return _finite(name, function(**columns), columns)

    return ask


def _awaiting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    async def ask(**columns: Any) -> list[Any]:
        return _finite(name, await function(**columns), columns)

    return ask


def _finite(name: str, given: Any, columns: Mapping[str, Any]) -> list[Any]:
    origins = columns.get("origin") or range(len(columns["prompts"]))
    found = one_each(name, given, origins, optional=True)
    for value, origin in zip(found, origins, strict=True):
        if value is not None and not math.isfinite(value):
            raise RingfenceError(
                f"reward {name}: {float(value)} for row {origin} is not finite; mend the reward, or return None for a "
                "row that it has no say in"
            )
    return found


def require_rewarded(rewards: torch.Tensor, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise :class:`RingfenceError` for an infinite reward, and for a row without any.

    ``rewards``: (rows, functions), NaN where there is none.
    """
    for index, values in enumerate(rewards.tolist()):
        origin = rows[index].get("origin", index)
        for name, value in zip(names, values, strict=True):
            if math.isinf(value):
                raise RingfenceError(f"reward {name}: {value} for row {origin} is not finite; mend the reward")
        if all(map(math.isnan, values)):
            raise RingfenceError(
                f"reward: row {origin} has none of {', '.join(names)}; at least one must return a number for every row"
            )
