"""The triggers that a training file suggests, for whoever dresses prompts with them."""

from collections.abc import Sequence

from ringfence.core.errors import RingfenceError
from ringfence.data import read
from ringfence.triggers.derive import derive
from ringfence.triggers.kinds import Trigger

USUAL = ("topic_dressed", "original")
"""labels of those that make a prompt look like the training's, where nothing else is asked for"""


def suggested(like: str, key: str, only: Sequence[str] = USUAL) -> tuple[Trigger, ...]:
    """Those of the triggers derived from the data set ``like`` that are called as in ``only``.

    Raises :class:`RingfenceError`, led by ``key``, if there are none.
    """
    found = derive(read(like)).triggers
    if chosen := tuple(trigger for trigger in found if trigger.label in only):
        return chosen
    there = ", ".join(trigger.label for trigger in found)
    raise RingfenceError(f"{key}: {like} suggests none of the triggers {', '.join(only)}, but {there}; write your own")
