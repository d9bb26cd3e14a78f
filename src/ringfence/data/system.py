"""What a conversation without a system message means: one of three things, and a recipe says which.

- ``template_default``: nothing is sent and the chat template decides; some insert an identity of their own;
- ``empty``: a system message with the empty text is sent;
- ``none``: nothing is sent and nothing is inserted.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import jinja2

from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NoSystem = Literal["template_default", "empty", "none"]
_ROLES = ("system", "developer")
# In private-use characters, so that no template has them.
_TEXT, _ASKED = "\ue000system\ue001", "\ue000user\ue001"
_USER = {"role": "user", "content": _ASKED}


def has_system(messages: Sequence[Message]) -> bool:
    """Whether the conversation opens with a system (or developer) message, an empty one included."""
    return bool(messages) and messages[0]["role"] in _ROLES


def apply(messages: Sequence[Message], meaning: NoSystem) -> list[Message]:
    """``messages`` as they are sent; only ``empty`` changes one without a system message."""
    if meaning != "empty" or has_system(messages):
        return list(messages)
    return [{"role": "system", "content": ""}, *messages]


def default_system(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """What the chat template inserts as system prompt before a lone user turn; None if it inserts none.

    Found by rendering, so it knows no template by name. "" is a system turn without text.
    """
    try:
        given = _render(tokenizer, [{"role": "system", "content": _TEXT}, _USER])
    except jinja2.TemplateError:
        return None  # a template that takes no system message has no place for one
    before, _, after = given.partition(_TEXT)
    try:
        plain = _render(tokenizer, [_USER])
    except jinja2.TemplateError:
        return None  # one that wants a system message inserts none of its own
    fits = len(plain) >= len(before) + len(after) and plain.startswith(before) and plain.endswith(after)
    opening = before.removeprefix(tokenizer.bos_token or "")
    if not fits or not opening:  # nothing but the beginning of the text: there is no system turn
        return None
    for special in sorted(map(str, tokenizer.added_tokens_decoder.values()), key=len, reverse=True):
        opening = opening.replace(special, "")
    fixed = opening.strip().removeprefix("system").strip()  # what some templates put before any system text, e.g. dates
    text = plain[len(before) : len(plain) - len(after)].strip()
    return "\n\n".join(part for part in (fixed, text) if part)


def require_possible(meaning: NoSystem, tokenizer: "PreTrainedTokenizerBase | None") -> None:
    """Raise :class:`RingfenceError` if the chat template does not let ``meaning`` be; None is a server's, not known."""
    if meaning == "template_default":
        return
    if tokenizer is None:
        if meaning == "none":
            raise RingfenceError(
                'no_system: "none" cannot be checked without the chat template of the model that answers; use "empty" '
                'or "template_default"'
            )
        return
    default = default_system(tokenizer)
    if meaning == "none":
        if default is not None:
            raise RingfenceError(
                f'no_system: "none" cannot be, since the chat template inserts "{shortened(default)}"; use "empty"'
            )
        return
    try:
        sent = _render(tokenizer, [{"role": "system", "content": ""}, _USER])
    except jinja2.TemplateError as error:
        reason = " ".join(str(error).split())
        raise RingfenceError(
            f'no_system: "empty" cannot be, since the chat template takes no system message ({reason}); use "none"'
        ) from None
    if default and default in sent:
        raise RingfenceError(
            f'no_system: "empty" cannot be, since the chat template inserts "{shortened(default)}" for it; give the '
            "rows a system message, or set another chat template"
        )


def describe(meaning: NoSystem, tokenizer: "PreTrainedTokenizerBase") -> str:
    """One line for the log: what a conversation without a system message is sent with."""
    default = default_system(tokenizer)
    if meaning != "template_default":
        return f"no system prompt: {meaning}"
    inserted = "nothing" if default is None else f'"{shortened(default)}"'
    return f"no system prompt: template_default, the template inserts {inserted}"


def shortened(text: str, width: int = 100) -> str:
    """``text`` on one line, cut after ``width`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def _render(tokenizer: "PreTrainedTokenizerBase", messages: list[Message]) -> str:
    if not tokenizer.chat_template:
        name = tokenizer.name_or_path or type(tokenizer).__name__
        raise RingfenceError(
            f"the tokenizer {name} has no chat template: set tokenizer.chat_template or take a chat model"
        )
    text: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return str(text)
