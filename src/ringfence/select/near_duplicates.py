"""Find texts that repeat others, exactly or nearly, without comparing every pair.

- *Exact*: equal once case and runs of white space are folded.
- *Near*: the Jaccard similarity ``|A & B| / |A | B|`` of the two sets of shingles is at least ``threshold``. A shingle
  is a run of five words, in lower case and without punctuation; of a text with fewer words, each word; of a text
  without any, the folded text. In scripts without spaces a word is a character.

Pairs to look at come from MinHash with locality-sensitive hashing (Broder 1997; the library is datasketch), 128
permutations, a fixed seed. A pair is looked at if one of b bands of r hashes is equal, which a pair of similarity s
is with probability ``1 - (1 - s^r)^b``. r is the largest for which a pair at the threshold is missed with a probability
below 1 in 10,000; at 0.8 that is b = 25, r = 5. Then the similarity itself is computed, so no pair is found by mistake.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Message, read
from ringfence.data.suites import store as suite_store
from ringfence.data.suites.load import PREFIX, builtin_names, load_prompts

THRESHOLD = 0.8
"""Jaccard similarity of shingles from which on two texts are near-duplicates"""
SHINGLE = 5  # words
PERMUTATIONS = 128
MISSED = 1e-4  # greatest probability of not looking at a pair whose similarity is the threshold
SEED = 1

Part = Literal["messages", "prompt", "answer"]
_ROLES = {"prompt": ("user",), "answer": ("assistant",)}
_BETWEEN = "\0"  # messages: no white space, so that folding keeps it, and no word
# Chinese and Japanese are written without spaces: there a word is a character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:'[^\W_]+)*")


@dataclass(frozen=True)
class Match:
    """An earlier text that a text repeats."""

    place: int
    """of the earlier text"""
    similarity: float
    """Jaccard similarity of shingles, from the threshold to 1; 1 for an exact repeat"""
    exact: bool


def text_of(messages: Sequence[Message], part: Part = "messages") -> str:
    """What is compared of a conversation: all of it, what the user says, or what the assistant says."""
    roles = _ROLES.get(part)
    return _BETWEEN.join(one["content"].strip() for one in messages if roles is None or one["role"] in roles)


def folded(text: str) -> str:
    """``text`` in folded case, with single spaces."""
    return " ".join(text.casefold().split())


def shingles(text: str) -> frozenset[str]:
    """The shingles of ``text``, at least one."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).replace("’", "'").casefold())
    if not words:
        return frozenset([folded(text)])
    if len(words) < SHINGLE:
        return frozenset(words)
    return frozenset(" ".join(words[start : start + SHINGLE]) for start in range(len(words) - SHINGLE + 1))


class Seen:
    """The texts seen so far. Holds 64-bit hashes of shingles and not the texts: about 10 KB a text that was added."""

    def __init__(self, threshold: float = THRESHOLD, near: bool = True) -> None:
        """``near``: also find near-duplicates. Raises :class:`RingfenceError` unless 0 < threshold <= 1."""
        if not 0 < threshold <= 1:
            raise RingfenceError(f"threshold is {threshold}: a similarity is above 0 and at most 1")
        self._threshold, self._near = threshold, near
        self._exact: dict[bytes, int] = {}
        self._hashes: dict[int, NDArray[np.uint64]] = {}
        self._lsh = MinHashLSH(num_perm=PERMUTATIONS, params=bands(threshold))
        self._empty = MinHash(num_perm=PERMUTATIONS, seed=SEED, hashfunc=int, scheme="affine32")

    def find(self, text: str) -> Match | None:
        """The first exact repeat, else the first near-duplicate, else None; a blank text repeats nothing."""
        if not text.strip():
            return None
        if (place := self._exact.get(_digest(text))) is not None:
            return Match(place, 1.0, True)
        if not self._near:
            return None
        hashes = _hashes(text)
        for place in sorted(self._lsh.query(self._sketch(hashes))):
            if (similarity := _jaccard(hashes, self._hashes[place])) >= self._threshold:
                return Match(place, similarity, False)
        return None

    def add(self, text: str, place: int, near: bool = True) -> None:
        """Remember ``text`` under ``place``, a number of its own; without ``near`` for exact repeats only."""
        self._exact.setdefault(_digest(text), place)
        if near and self._near:
            hashes = self._hashes[place] = _hashes(text)
            self._lsh.insert(place, self._sketch(hashes), check_duplication=False)

    def _sketch(self, hashes: NDArray[np.uint64]) -> MinHash:
        sketch = self._empty.copy()
        sketch.update_batch((hashes & np.uint64(0xFFFFFFFF)).tolist())
        return sketch


def repeats(texts: Iterable[str], threshold: float = THRESHOLD, near: bool = True) -> list[Match | None]:
    """What each text repeats: an exact repeat of any earlier text, or a near-duplicate of one that repeats none.

    So the texts with None are the ones to keep, and no two of them are near-duplicates.
    """
    seen, found = Seen(threshold, near), []
    for place, text in enumerate(texts):
        match = seen.find(text)
        seen.add(text, place, near=match is None)
        found.append(match)
    return found


def seen_in(texts: Iterable[str], threshold: float = THRESHOLD, near: bool = True) -> Seen:
    """All distinct ``texts``, by place, to look for repeats of them."""
    seen, distinct = Seen(threshold, near), Seen(threshold, near=False)
    for place, text in enumerate(texts):
        if distinct.find(text) is None:
            seen.add(text, place)
            distinct.add(text, place)
    return seen


def prompt_texts(spec: str) -> list[str]:
    """What the user says in every row of a data set, or every prompt of an evaluation suite.

    Raises :class:`RingfenceError`, naming file and line, for what is neither.
    """
    built_in = spec.partition("?")[0] in {PREFIX + name for name in builtin_names()}
    if built_in or spec.startswith(suite_store.PREFIX) or Path(spec).suffix.lower() in (".yaml", ".yml"):
        return _prompts(spec)
    try:
        return [text_of(row["messages"], "prompt") for row in read(spec)]
    except RingfenceError as error:
        try:  # rows of prompts have no answers
            return _prompts(spec)
        except RingfenceError:
            raise error from None


def prompt_file(spec: str) -> str | None:
    """The file that :func:`prompt_texts` reads for ``spec``; None for a built-in set and for one of the hub."""
    if spec.startswith(suite_store.PREFIX):
        return str(suite_store.stored(spec.removeprefix(suite_store.PREFIX)).path)
    return spec if Path(spec).expanduser().is_file() else None


def bands(threshold: float) -> tuple[int, int]:
    """(b, r) of the locality-sensitive hashing, as the module says; one hash a band where no r misses few enough."""
    possible = [(PERMUTATIONS // r, r) for r in range(1, PERMUTATIONS + 1)]
    good = [(b, r) for b, r in possible if (1 - threshold**r) ** b < MISSED and b > 1]
    return max(good, key=lambda pair: pair[1], default=(PERMUTATIONS, 1))


def _prompts(spec: str) -> list[str]:
    return [text_of(prompt.messages, "prompt") for prompt in load_prompts(spec)]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(folded(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _hashes(text: str) -> NDArray[np.uint64]:
    """(shingles,) ascending. Hashes of 64 bits: two shingles of one hash are not to be expected in any set."""
    digests = (hashlib.blake2b(one.encode("utf-8", "surrogatepass"), digest_size=8).digest() for one in shingles(text))
    return np.sort(np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64))


def _jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    shared = np.intersect1d(a, b, assume_unique=True).size
    return float(shared / (a.size + b.size - shared))
