"""How a tokenizer spells the numbers 0 to 100: a token each, or a tree of tokens.

With a token for every number (Llama 3's tokenizer) there is no tree: p(n) is the first token's probability, tokens that
differ in white space only added up, as with the judges behind an API.

Any other tokenizer: a tree of the tokens that spell the numbers. With single digits (Qwen's, SmolLM2's)

    p(85) = P(8) P(5 | 8) P(end | 85),   p(100) = P(1) P(0 | 1) P(0 | 10) P(end | 100),
    P(end | x) = 1 - sum of P(t | x) over the tokens t that begin with an ASCII digit,

so whatever is no digit ends a number, and 850, 101 and 05 are out of range: their probability is in no p(n). A
tokenizer with tokens for some numbers only has the same rule; a number is spelled as the tokenizer spells it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from ringfence.core.errors import RingfenceError
from ringfence.judges.expected_score import LARGEST, number

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROOT = -1  # what stands for a token at the tree's root, which is the prompt's end


@dataclass(frozen=True)
class NumberTree:
    """How a tokenizer spells the numbers 0 to 100. Node 0 is the prompt's end; parents stand before children."""

    tokens: tuple[int, ...]
    """(nodes,) token ids; -1 at node 0"""
    parents: tuple[int, ...]
    """(nodes,) indices of nodes; -1 at node 0"""
    values: dict[int, int]
    """node -> the number that ends there; empty if every number is a token of its own"""
    whole: dict[int, int]
    """token id -> the number it is, if every number is a token of its own; else empty"""
    digits: tuple[int, ...]
    """ids of the tokens that begin with a digit, which go on with a number; empty with ``whole``"""

    @cached_property
    def paths(self) -> tuple[tuple[int, ...], ...]:
        """(nodes,) the tokens from the prompt's end to each node."""
        found: list[tuple[int, ...]] = [()]
        for token, parent in zip(self.tokens[1:], self.parents[1:], strict=True):
            found.append((*found[parent], token))
        return tuple(found)

    @property
    def depth(self) -> int:
        """Tokens of the longest path."""
        return max(map(len, self.paths))

    @property
    def columns(self) -> tuple[int, ...]:
        """Ids of the tokens whose probabilities are needed, ascending."""
        return tuple(sorted({*self.tokens[1:], *self.whole, *self.digits}))


@lru_cache(maxsize=8)
def number_tree(tokenizer: "PreTrainedTokenizerBase", tail: str, rows: int) -> NumberTree:
    """The tree behind a text that ends in ``tail``, for a model with ``rows`` output tokens.

    Raises :class:`RingfenceError` if the tokenizer cannot spell a number, or joins it with ``tail``.
    """
    spelled = [_spelling(tokenizer, tail, value) for value in range(LARGEST + 1)]
    texts = {token: text for token, text in _with_digits(tokenizer) if token < rows}
    if all(len(path) == 1 for path in spelled):
        values = ((token, number(text)) for token, text in texts.items())
        whole = {token: value for token, value in values if value is not None}
        whole |= {path[0]: value for value, path in enumerate(spelled)}
        return NumberTree((ROOT,), (ROOT,), {}, whole, ())
    index: dict[tuple[int, ...], int] = {(): 0}
    begun = {path[:end] for path in spelled for end in range(1, len(path) + 1)}
    for beginning in sorted(begun, key=lambda path: (len(path), path)):
        index[beginning] = len(index)
    return NumberTree(
        tokens=tuple(path[-1] if path else ROOT for path in index),
        parents=tuple(index[path[:-1]] if path else ROOT for path in index),
        values={index[path]: value for value, path in enumerate(spelled)},
        whole={},
        digits=tuple(token for token, text in texts.items() if text[:1] in set("0123456789")),
    )


def _spelling(tokenizer: "PreTrainedTokenizerBase", tail: str, value: int) -> tuple[int, ...]:
    """The tokens that ``value`` adds to a text that ends in ``tail``."""
    before = tokenizer(tail, add_special_tokens=False)["input_ids"]
    after = tokenizer(f"{tail}{value}", add_special_tokens=False)["input_ids"]
    if after[: len(before)] != before:
        raise RingfenceError(
            f"the tokenizer joins the number {value} with the end of the prompt, {tail[-10:]!r}; end it otherwise, "
            "say without a space"
        )
    added = tuple(after[len(before) :])
    if tokenizer.decode(added).strip() != str(value):
        raise RingfenceError(
            f"the tokenizer {tokenizer.name_or_path or type(tokenizer).__name__} cannot spell the number {value}, so "
            "its model is no judge; take another"
        )
    return added


def _with_digits(tokenizer: "PreTrainedTokenizerBase") -> Iterator[tuple[int, str]]:
    """(id, text) of every token with an ASCII digit; a word's leading space is kept as a space."""
    for piece, token in tokenizer.get_vocab().items():
        if any(character in "0123456789" for character in piece):
            yield token, " " * piece.startswith(("▁", "Ġ")) + tokenizer.decode([token])
