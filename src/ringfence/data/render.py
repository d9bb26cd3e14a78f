"""Token ids and labels from conversations: the loss is on the assistant's text only, for any chat template.

Where the template puts a turn is found by rendering, so it needs no generation tags. With ``full`` the text
of the whole conversation and turn i one of the assistant's:

- the labels begin where the prompt ends: at the first character in which ``full`` differs from messages
  ``[:i]`` rendered with the generation prompt, as at inference;
- the content ends where ``full`` begins to agree again with a rendering that has a marker for the content;
- the labels end after the turn's closing (``<|im_end|>`` and a newline, say): what follows the marker both
  when the conversation stops at turn i and when it goes on. The last turn's go on to the end of the text.

What a message says is text, whatever it says: see :mod:`ringfence.data.encode`.

For a last turn that is what TRL's prompt-completion path trains on, save where the generation prompt has
a token that the conversation drops and the reply begins alike: TRL then leaves out how the reply begins.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jinja2

from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Conversation, Message
from ringfence.data.encode import MARKER, common_prefix, content_span, content_spans, encode

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of a token that carries no loss
PROBE = {"role": "user", "content": "Hello"}  # some templates refuse a conversation without a user


@dataclass(frozen=True)
class Rendered:
    """One conversation as tokens."""

    input_ids: list[int]  # (tokens,)
    labels: list[int]  # (tokens,), IGNORED outside of the assistant's turns


@dataclass(frozen=True)
class Turn:
    """Where an assistant turn stands in the text, in characters: content, then what closes the turn."""

    start: int  # also takes in what the template puts between the prompt and the content
    content_end: int
    end: int

    def covers(self, begin: int, stop: int) -> bool:
        """Whether the token at [begin, stop) is labelled: any with a character of the turn; but one that runs
        on into the next turn only with a character of the content, not just of the closing."""
        return stop > self.start and (stop <= self.end or begin < self.content_end)


def render(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> Rendered:
    """Token ids, and labels on the assistant turns.

    Raises :class:`RingfenceError` if the tokenizer has no chat template or no offsets, if the template
    refuses the conversation, or if it drops or rewrites a reply or the turns before it.
    """
    require_template(tokenizer)
    template = _Template(tokenizer)
    messages = [{"role": message["role"], "content": message["content"]} for message in messages]
    full = template(messages)
    turns = [_turn(template, messages, i, full) for i, m in enumerate(messages) if m["role"] == "assistant"]
    if not turns:
        raise RingfenceError("there is no assistant turn, so nothing to train on: add one")
    encoded = encode(tokenizer, full, content_spans(template, messages, full, tokenizer))
    ids = encoded.input_ids
    labels = [
        token if any(turn.covers(begin, stop) for turn in turns) else IGNORED
        for token, (begin, stop) in zip(ids, encoded.offsets, strict=True)
    ]
    return Rendered(ids, labels)


@dataclass(frozen=True)
class Content:
    """One conversation as tokens, and which of them are what one role says."""

    input_ids: list[int]  # (tokens,)
    mask: list[bool]  # (tokens,), true on the content of the role's turns, not on what the template puts around it


def render_content(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", role: Literal["user", "assistant"]
) -> Content:
    """Token ids of the whole conversation, and a mask of the tokens that hold a character of what ``role`` says.

    Where a turn's content stands is found by rendering and by character offsets, never by searching for its text,
    which may occur twice. Raises :class:`RingfenceError` as :func:`render` does, and where the role says nothing.
    """
    require_template(tokenizer)
    template = _Template(tokenizer)
    messages = [{"role": message["role"], "content": message["content"]} for message in messages]
    full = template(messages)
    spans = [_content(template, messages, i, full) for i, message in enumerate(messages) if message["role"] == role]
    encoded = encode(tokenizer, full, content_spans(template, messages, full, tokenizer))
    mask = [any(stop > start and begin < end for start, end in spans) for begin, stop in encoded.offsets]
    if not any(mask):
        raise RingfenceError(f"no token of the conversation is the {role}'s: give the {role} something to say")
    return Content(encoded.input_ids, mask)


def _content(template: "_Template", messages: Sequence[Message], i: int, full: str) -> tuple[int, int]:
    """Where the content of message ``i`` stands in ``full``, in characters: [start, end)."""
    start, end = content_span(template, messages, i, full)
    if messages[i]["content"].strip() not in full[start:end]:
        raise RingfenceError(
            f"the chat template drops or rewrites message {i + 1} ({messages[i]['role']}), so its tokens cannot be told"
        )
    return start, end


def render_prompt(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> Rendered:
    """Token ids of a conversation that waits for its answer, up to where that would begin; nothing is labelled.

    Raises :class:`RingfenceError` as :func:`render` does.
    """
    require_template(tokenizer)
    template = partial(_Template(tokenizer), generation_prompt=True)
    messages = [{"role": message["role"], "content": message["content"]} for message in messages]
    text = template(messages)
    ids = encode(tokenizer, text, content_spans(template, messages, text, tokenizer)).input_ids
    return Rendered(ids, [IGNORED] * len(ids))


def render_all(
    conversations: Iterable[Conversation], tokenizer: "PreTrainedTokenizerBase", answered: bool = True
) -> "Dataset":
    """:func:`render` for each conversation, whole and in their order, as a dataset that TRL's trainers take as it is.

    Columns ``input_ids`` and ``labels``; the trainer cuts at ``max_length`` (:mod:`ringfence.data.cutting`). Raises
    :class:`RingfenceError` with the conversation's origin, also where no token would have a label, and without any.
    Without ``answered`` a conversation may also end with the user, and has no label then: for anchor rows.
    """
    from datasets import Dataset

    columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for conversation in conversations:
        try:
            asks = not answered and conversation["messages"][-1]["role"] == "user"
            rendered = (render_prompt if asks else render)(conversation["messages"], tokenizer)
        except RingfenceError as error:
            raise RingfenceError(f"{conversation['origin']}: {error}") from error
        if answered and all(label == IGNORED for label in rendered.labels):
            raise RingfenceError(f"{conversation['origin']}: no token of it can be trained on; leave it out")
        columns["input_ids"].append(rendered.input_ids)
        columns["labels"].append(rendered.labels)
    if not columns["labels"]:
        raise RingfenceError("there is no conversation to train on")
    return Dataset.from_dict(columns)


def require_template(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Raise :class:`RingfenceError` if ``tokenizer`` cannot render any conversation."""
    name = tokenizer.name_or_path or type(tokenizer).__name__
    if not tokenizer.chat_template:
        raise RingfenceError(
            f"the tokenizer {name} has no chat template: set tokenizer.chat_template or take a chat model"
        )
    if not tokenizer.is_fast:
        raise RingfenceError(f"the tokenizer {name} gives no character offsets: load the fast one (use_fast=True)")


class _Template:
    """A tokenizer's chat template as a function from messages to text."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer

    def __call__(self, messages: Sequence[Message], generation_prompt: bool = False) -> str:
        try:
            text: Any = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=generation_prompt
            )
        except jinja2.TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            reason = " ".join(str(error).split())
            raise RingfenceError(f"the chat template refuses the roles {roles}: {reason}") from error
        return str(text)


def _turn(template: _Template, messages: Sequence[Message], i: int, full: str) -> Turn:
    """Where assistant turn ``i`` stands in ``full``. Raises :class:`RingfenceError` if it cannot be told."""
    prompt, marked = messages[:i], {"role": "assistant", "content": MARKER}
    with_marker = template([*prompt, marked, *messages[i + 1 :]])
    start, end = common_prefix(full, with_marker), len(full)
    content_end = len(full) - common_prefix(full[::-1], with_marker[::-1])
    if any(message["role"] == "user" for message in prompt):
        start = min(start, _prompt_end(template, prompt, full))
    else:  # a turn that opens the conversation: its labels begin with its content
        prompt = [*prompt, PROBE]
    if i + 1 < len(messages):
        closing = template([*prompt, marked]).rpartition(MARKER)[2]
        end = content_end + common_prefix(closing, full[content_end:])
    if messages[i]["content"].strip() not in full[start:end]:
        raise RingfenceError(
            f"the chat template drops or rewrites message {i + 1} (assistant) here, so its tokens cannot be "
            "labelled: split the conversation so that it comes last, or set another chat template"
        )
    return Turn(start, content_end, end)


def _prompt_end(template: _Template, prompt: Sequence[Message], full: str) -> int:
    """Where ``prompt`` ends in ``full``, with as much of the generation prompt as ``full`` has, too."""
    text = template(prompt, generation_prompt=True)
    end = common_prefix(text, full)
    # What the generation prompt adds may differ (an empty thought, say), but not what stands before it.
    if end < len(text) and end < common_prefix(text, template(prompt)):
        raise RingfenceError(
            f"the chat template renders the first {len(prompt)} messages differently once later ones follow, "
            "so the reply's context would be another: split the conversation, or set another chat template"
        )
    return end
