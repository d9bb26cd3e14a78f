"""Read what comes before a question: its system message, under one of several names, and earlier turns.

- the system message, if there is one, is in ``system``, ``system_prompt`` or ``system_message``;
- ``context`` is a list of turns; or a text that plainly is the system message, as it tells the model who it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.data.suites.prompts import checked_messages, kind

SYSTEM = ("system", "system_prompt", "system_message")
BEFORE = (*SYSTEM, "context")

# A text that speaks to the model of its part, as no passage to be asked about does.
_ADDRESSED = re.compile(
    r"\s*(you are|you're|your (role|task|job) is|act as|pretend (to be|that you)|from now on)\b", re.I
)


@dataclass(frozen=True)
class Opening:
    """What a row or a question has before what it asks."""

    system: Mapping[str, str]
    """the key that holds the system message, with its text; empty where there is none"""
    turns: list[Any]
    """of ``context``, not checked"""

    @property
    def used(self) -> list[str]:
        """Which keys are asked, and as what."""
        said = [f"`{key}` as the system message" for key in self.system]
        return [*said, "`context` as turns before the question"] if self.turns else said

    def before(self, turns: Any, where: str) -> tuple[dict[str, str], ...]:
        """The messages of a conversation that opens so; :class:`RingfenceError`, led by ``where``, if it cannot."""
        messages = checked_messages([*self.turns, *turns] if isinstance(turns, list) else turns, where)
        if self.system and (spoken := {"system", "developer"} & {turn["role"] for turn in messages}):
            key = next(iter(self.system))
            raise RingfenceError(f"{where}: a {min(spoken)} turn, and `{key}` beside it: keep one system message.")
        return (*({"role": "system", "content": text} for text in self.system.values()), *messages)


def read_opening(value: Mapping[str, Any], where: str) -> Opening:
    """What ``value``, a row or a question, says in :data:`BEFORE`. In :data:`SYSTEM` an empty text is one, None is not.

    Raises :class:`RingfenceError`, led by ``where``, for two system messages, a text that may be a passage, and
    ``context`` beside ``messages``.
    """
    found = {key: value[key] for key in SYSTEM if value.get(key) is not None}
    context = value.get("context")
    if isinstance(context, str) and context.strip():
        if not _ADDRESSED.match(context):
            raise RingfenceError(
                f"{where}: `context` is a text, and may be a passage or a system message: call it `system`, or put it "
                "into the question."
            )
        found["context"] = context
    elif context is not None and not isinstance(context, list | str):
        raise RingfenceError(f"{where}: `context` must be a list of turns or a text, not {kind(context)}.")
    for key, text in found.items():
        if not isinstance(text, str):
            raise RingfenceError(f"{where}: `{key}` must be a text, not {kind(text)}.")
    if len(found) > 1:
        first, second = list(found)[:2]
        raise RingfenceError(f"{where}: `{first}` and `{second}` both hold a system message: keep one of them.")
    turns = context if isinstance(context, list) else []
    if turns and value.get("messages") is not None:
        raise RingfenceError(f"{where}: `messages` hold the whole conversation: put the turns of `context` there.")
    return Opening(found, turns)


def told(used: Mapping[str, int], prompts: int) -> tuple[str, ...]:
    """For the user: each of ``used``, with the number of prompts that have it."""
    return tuple(f"{what}, in {count} of {prompts} prompts" for what, count in sorted(used.items()))
