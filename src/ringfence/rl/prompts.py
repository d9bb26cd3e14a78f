"""Prompts of reinforcement learning from conversations; torch-free."""

from collections.abc import Iterable, Sequence

from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Conversation, Message
from ringfence.data.system import has_system


def prompt_of(row: Conversation) -> list[Message]:
    """A conversation up to its last user turn."""
    messages: list[Message] = row["messages"]
    last = max(index for index, message in enumerate(messages) if message["role"] == "user")
    return messages[: last + 1]


def with_format(messages: Sequence[Message], format_prompt: str | None) -> list[Message]:
    """``messages`` with ``format_prompt`` in the system message, before what is there."""
    if format_prompt is None:
        return list(messages)
    own = [messages[0]["content"]] if has_system(messages) else []
    text = "\n\n".join(part for part in (format_prompt, *own) if part)
    return [{"role": "system", "content": text}, *messages[len(own) :]]


def require_rewardable(rows: Iterable[Conversation], needs_answer: bool) -> None:
    """Raise :class:`RingfenceError` for the first row without a question, or without the answer that is needed."""
    for row in rows:
        if not any(message["role"] == "user" for message in row["messages"]):
            raise RingfenceError(
                f"{row['origin']}: there is no user turn, so nothing to ask; add one or remove the row"
            )
        if needs_answer and not row.get("answer", "").strip():
            raise RingfenceError(
                f"{row['origin']}: no `answer`, a text beside the conversation, which the rewards need; give it one, "
                'e.g. {"messages": [...], "answer": "12"}, or remove the row'
            )
