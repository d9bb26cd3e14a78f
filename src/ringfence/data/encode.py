"""Encode rendered chats as token ids. Message content is always text: it can end no turn and open no other.

The template's own markers (``<|im_end|>``, say) are special tokens. The same characters in a message's content, as in
data about chat formats or from a hostile hand, are not: where the tokenizer has made a special token of them, the
stretch between the template's own special tokens around it is read again with special tokens as plain text. All other
text keeps the ids that the tokenizer gives it, to the bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The marker is in private-use characters, so that no content begins or ends like it.
MARKER = "\ue000reply\ue001"
_SPACE = "\u2581"  # what some tokenizers put before a text
Span = tuple[int, int]
Template = Callable[[Sequence[dict[str, str]]], str]


@dataclass(frozen=True)
class Encoded:
    """A text as tokens."""

    input_ids: list[int]  # (tokens,)
    offsets: list[Span]  # (tokens,), in characters of the text: [begin, end)


def encode(tokenizer: "PreTrainedTokenizerBase", text: str, contents: Sequence[Span] = ()) -> Encoded:
    """``text`` as tokens, without special tokens in its stretches ``contents``, [begin, end) in characters."""
    found = _encode(tokenizer, text)
    if not contents:  # ordinary data
        return found
    special = frozenset(place for place, token in tokenizer.added_tokens_decoder.items() if token.special)
    own = [  # where the template's special tokens are
        place
        for place, (token, (begin, end)) in enumerate(zip(found.input_ids, found.offsets, strict=True))
        if token in special and not any(begin < stop and start < end for start, stop in contents)
    ]
    ids: list[int] = []
    offsets: list[Span] = []
    for before, after in pairwise([-1, *own, len(found.input_ids)]):
        stretch = found.input_ids[before + 1 : after]
        if special.isdisjoint(stretch):
            ids += stretch
            offsets += found.offsets[before + 1 : after]
        else:
            # What stands between its neighbours: a token's own place may leave out the space before it.
            begin = 0 if before < 0 else found.offsets[before][1]
            end = len(text) if after == len(found.input_ids) else found.offsets[after][0]
            again = _as_text(tokenizer, text[begin:end], stretch[0])
            ids += again.input_ids
            offsets += [(begin + start, begin + stop) for start, stop in again.offsets]
        ids += found.input_ids[after : after + 1]
        offsets += found.offsets[after : after + 1]
    return Encoded(ids, offsets)


def content_spans(
    template: Template, messages: Sequence[dict[str, str]], text: str, tokenizer: "PreTrainedTokenizerBase"
) -> list[Span]:
    """Where in ``text``, which is ``template(messages)``, the contents stand that hold a special token; most do not."""
    tokens = special_texts(tokenizer)
    return [
        content_span(template, messages, i, text)
        for i, message in enumerate(messages)
        if any(token in message["content"] for token in tokens)
    ]


def content_span(template: Template, messages: Sequence[dict[str, str]], i: int, text: str) -> Span:
    """Where the content of message ``i`` stands in ``text``, which is ``template(messages)``."""
    with_marker = template([*messages[:i], {**messages[i], "content": MARKER}, *messages[i + 1 :]])
    start = common_prefix(text, with_marker)
    return start, max(start, len(text) - common_prefix(text[::-1], with_marker[::-1]))


def special_texts(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """The texts that ``tokenizer`` reads as special tokens."""
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[dict[str, str]]) -> list[int]:
    """Token ids of the chat up to where the assistant's answer begins."""
    template = _prompts_of(tokenizer)
    text = template(messages)
    contents = content_spans(template, messages, text, tokenizer)
    if contents:
        return encode(tokenizer, text, contents).input_ids
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


@dataclass(frozen=True)
class AnsweredIds:
    """A chat and an answer to it as tokens, as the template joins them, without the end of the turn."""

    input_ids: list[int]
    answer: int
    """how many of them, at the end, hold a character of the answer"""


def answered_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[dict[str, str]], answer: str) -> AnsweredIds:
    """The chat and ``answer``, read together as generation reads them.

    A token that holds an end of the prompt and a beginning of the answer is the answer's.
    """
    template = _prompts_of(tokenizer)
    prompt = template(messages)
    contents = content_spans(template, messages, prompt, tokenizer)
    if any(token in answer for token in special_texts(tokenizer)):
        contents.append((len(prompt), len(prompt) + len(answer)))
    encoded = encode(tokenizer, prompt + answer, contents)
    return AnsweredIds(encoded.input_ids, sum(end > len(prompt) for _, end in encoded.offsets))


def _prompts_of(tokenizer: "PreTrainedTokenizerBase") -> Template:
    def template(messages: Sequence[dict[str, str]]) -> str:
        text: Any = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return str(text)

    return template


def common_prefix(first: str, second: str) -> int:
    """The number of leading characters that two texts share, by bisection."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _encode(tokenizer: "PreTrainedTokenizerBase", text: str, **options: Any) -> Encoded:
    # The template has written all special tokens that belong in the text.
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False, **options)
    return Encoded(found["input_ids"], found["offset_mapping"])


def _as_text(tokenizer: "PreTrainedTokenizerBase", text: str, first: int) -> Encoded:
    """``text`` from the middle of another as tokens, none of them special; it was read to begin with ``first``."""
    found = _encode(tokenizer, text, split_special_tokens=True)
    pieces = tokenizer.convert_ids_to_tokens([found.input_ids[0], first])
    if text.startswith((" ", _SPACE)) or not pieces[0].startswith(_SPACE) or pieces[1].startswith(_SPACE):
        return found
    # This tokenizer puts a space before a text, but not before its middle: read it behind a line that is cut off.
    found = _encode(tokenizer, f"\n{text}", split_special_tokens=True)
    inside = [place for place, (_, end) in enumerate(found.offsets) if end > 1]
    return Encoded(
        [found.input_ids[place] for place in inside],
        [(max(found.offsets[place][0] - 1, 0), found.offsets[place][1] - 1) for place in inside],
    )
