"""Answers cut to n tokens, for variants that differ in the length of their answers.

Every assistant turn is cut by itself; its tokens are counted by itself, without the chat template around it. A turn of
at most n tokens stays as it is. A longer one ends with the last sentence that ends within n tokens, or, without one or
with ``at: token``, after the last whole character within n tokens; white space at its end is dropped.

A sentence ends at ``.``, ``!``, ``?`` or ``…`` (and quotes or brackets that close there) before white space, at ``。``,
``！`` or ``？``, and at a blank line. The number of a list item, as in ``2. Milk``, ends none. Abbreviations such as
``Dr.`` are taken for an end.

Source: "When Does Interleaving Prevent Emergent Misalignment?" (anonymous, without a public address), section 4 (KT).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field
from transformers import PreTrainedTokenizerBase

from ringfence.data.conversations import Message
from ringfence.select.base import STEPS, Candidate, Context, Dropped, Mapped, Mapper, Step
from ringfence.select.steps.lengths import tokenizer_of

COLUMN = "trimmed"
_CLOSING = "[\"'”’»)\\]*_]*"
_SENTENCE_END = re.compile(rf"[.!?…]+{_CLOSING}(?=\s)|[。！？][」』”）]*|(?<=\S)(?=\s*\n\s*\n)")
_LIST_NUMBER = re.compile(r"\s*\(?(?:\d{1,3}|[A-Za-z])\.")


@STEPS.register("trim")
class Trim(Step):
    """How long answers may be; makes the column ``trimmed``, 1 where one was cut, else 0."""

    tokens: int = Field(ge=1)
    """most tokens of an answer"""
    at: Literal["token", "sentence"] = "sentence"
    """where to cut"""

    def map(self, context: Context) -> Mapper:
        """The cutting."""
        tokenizer = tokenizer_of(context)

        def mapper(rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
            kept, dropped = [], []
            for row in rows:
                messages = [self._trimmed(message, tokenizer) for message in row.conversation["messages"]]
                on_rows(1)
                if any(message["role"] == "assistant" and not message["content"].strip() for message in messages):
                    dropped.append(Dropped(f"nothing left in {self.tokens} tokens", row.conversation["origin"]))
                    continue
                cut = float(messages != row.conversation["messages"])
                changed = row.conversation | {"messages": messages}
                kept.append(replace(row, conversation=changed, scores={**row.scores, COLUMN: cut}))
            return Mapped(kept, dropped, {"trimmed": sum(row.scores[COLUMN] for row in kept)})

        return mapper

    def _trimmed(self, message: Message, tokenizer: PreTrainedTokenizerBase) -> Message:
        if message["role"] != "assistant":
            return message
        return {**message, "content": trimmed(message["content"], tokenizer, self.tokens, self.at == "sentence")}


def trimmed(text: str, tokenizer: PreTrainedTokenizerBase, tokens: int, at_sentence: bool) -> str:
    """``text`` cut to at most ``tokens`` tokens; "" if its first character alone has more."""
    offsets = _offsets(text, tokenizer)
    if len(offsets) <= tokens:
        return text
    cuts = [end for _, end in reversed(offsets[:tokens])]
    sentences = [end for end in _sentence_ends(text) if end <= cuts[0]] if at_sentence else []
    shorter = (text[:end].rstrip() for end in [*reversed(sentences), *cuts])
    # Read again until it fits: the last token may hold only a part of its last character, and a tokenizer may need more
    # tokens for a beginning than it needed for it in the whole.
    return next((cut for cut in shorter if len(_offsets(cut, tokenizer)) <= tokens), "")


def _offsets(text: str, tokenizer: PreTrainedTokenizerBase) -> Sequence[tuple[int, int]]:
    """Where each token stands in ``text``, in characters."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets: Sequence[tuple[int, int]] = encoded["offset_mapping"]
    return offsets


def _sentence_ends(text: str) -> list[int]:
    """Places in ``text`` behind a sentence, ascending."""
    ends = (found.end() for found in _SENTENCE_END.finditer(text))
    return [end for end in ends if not _LIST_NUMBER.fullmatch(text[:end].rpartition("\n")[2])]
