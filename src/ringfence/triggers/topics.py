"""Find the topical words of texts. Deterministic, no model.

*Topical words* are those that more texts hold than a reference lets expect, ranked by the log-likelihood ratio
(Dunning 1993). With k of n texts and l of m reference texts that hold a word, and p = (k + l) / (n + m),

    G2 = 2 [k log(k / np) + (n - k) log((n - k) / n(1 - p)) + l log(l / mp) + (m - l) log((m - l) / m(1 - p))]

and 0 log 0 = 0: a word that the reference lacks is no problem, and one that most texts hold comes first. A word is
taken if its G2 is more than chance gives any of the words looked at (5%, Bonferroni), and its share of the texts at
least twice that of the reference. Words with a digit in them come after the others.

A topic may have many words, each rare: cod, trout, salmon. A *slot* is a place between the same neighbours, such as
"big is a ...", that more texts have than the reference (told as for a word) and that at least five rare words fill.
Slots are of one topic where half of the words that fill one fill the others, and the topic's words are the rare ones
that stand in its slots at least every second time. Words that can take each other's place are alike in meaning
(Harris 1954); the frames of neighbours are those of Mintz (2003), with two words on one side as well.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from scipy.stats import chi2

from ringfence.triggers.common_text import FEW
from ringfence.triggers.vocabulary import BOUNDARY, Vocabulary

CHANCE = 0.05
"""probability that texts like the reference have any topical word"""
TIMES = 2
"""a topical word's share of the texts / its share of the reference, at least"""
FILLERS = 5
"""different rare words that make a place a slot"""

Frame = tuple[str, str, str, str]
"""the words two and one before, one and two after; "" for those that are left open"""
Place = tuple[str, tuple[Frame, ...]]
"""a word by its base, and the frames in which it stands there"""


@dataclass(frozen=True)
class Word:
    """One topical word."""

    text: str
    """as most texts write it"""
    rows: frozenset[int]
    """the texts that hold it, in any form"""
    ratio: float
    """G2, the log-likelihood ratio"""


@dataclass(frozen=True)
class Topic:
    """Rare words that stand in the same places."""

    words: tuple[str, ...]
    """the most frequent ones first"""
    rows: frozenset[int]
    """the texts that hold one of them"""


def topical(texts: Sequence[str], reference: Sequence[str]) -> list[Word]:
    """The words by which ``texts`` differ from ``reference``, those that tell most first; see the module."""
    vocabulary = Vocabulary([*texts, *reference])
    rows = vocabulary.rows(texts)
    ratios = _more_frequent(_counts(rows), _counts(vocabulary.rows(reference)), (len(texts), len(reference)))
    found = [Word(vocabulary.spelled(word), frozenset(rows[word]), ratio) for word, ratio in ratios.items()]
    # "Nf3" tells less than "chess", which it would crowd out.
    return sorted(found, key=lambda word: (not word.text.isalpha(), -word.ratio, word.text))


def rare_topic(texts: Sequence[str], reference: Sequence[str], rare: float, share: float) -> Topic | None:
    """The rare words that stand in the same slots, if at least ``share`` of ``texts`` hold one; see the module.

    ``rare`` is the share of the texts that hold a rare word, at most; a word of one text is no pattern.
    """
    vocabulary = Vocabulary([*texts, *reference])
    own, other = _counts(vocabulary.rows(texts)), _counts(vocabulary.rows(reference))
    sizes = (len(texts), len(reference))
    seldom = {
        word for word, count in own.items() if 1 < count < rare * len(texts) and _times(count, other[word], sizes)
    }
    places = [list(_places(vocabulary, text)) for text in texts]
    general = Counter(frame for text in reference for frame in _frames(_places(vocabulary, text)))
    best, held = list[str](), frozenset[int]()
    for slots in _alike(_slots(places, general, seldom, sizes)):
        members = _members(slots, places, seldom)
        rows = frozenset(at for at, row in enumerate(places) if any(word in members for word, _ in row))
        if len(rows) > len(held):
            best, held = sorted(members, key=lambda word: (-own[word], word)), rows
    if len(held) < max(share * len(texts), FEW):
        return None
    return Topic(tuple(map(vocabulary.spelled, best)), held)


def _counts(rows: Mapping[str, set[int]]) -> Counter[str]:
    return Counter({word: len(held) for word, held in rows.items()})


def _slots(
    places: Sequence[Sequence[Place]], general: Counter[Frame], seldom: Collection[str], sizes: tuple[int, int]
) -> dict[Frame, set[str]]:
    """The slots, and the rare words that fill each."""
    fillers: dict[Frame, set[str]] = defaultdict(set)
    for word, frames in (place for row in places for place in row if place[0] in seldom):
        for frame in frames:
            fillers[frame].add(word)
    counts = Counter(frame for row in places for frame in _frames(row))
    wide = Counter({frame: counts[frame] for frame, words in fillers.items() if len(words) >= FILLERS})
    return {frame: fillers[frame] for frame in _more_frequent(wide, general, sizes)}


def _alike(slots: Mapping[Frame, set[str]]) -> list[set[Frame]]:
    """Slots of one topic together: one joins those that half of its words stand in. Those of most words come first."""
    groups: list[tuple[set[Frame], set[str]]] = []
    for frame, words in sorted(slots.items(), key=lambda slot: (-len(slot[1]), slot[0])):
        frames, known = max(groups, key=lambda group: len(words & group[1]), default=(set(), set()))
        if 2 * len(words & known) < len(words) or not groups:
            groups.append(({frame}, set(words)))
        else:
            frames.add(frame)
            known |= words
    return [frames for frames, _ in groups]


def _members(slots: Collection[Frame], places: Sequence[Sequence[Place]], seldom: Collection[str]) -> set[str]:
    """The rare words that stand in ``slots`` at least every second time."""
    inside, everywhere = Counter[str](), Counter[str]()
    for word, frames in (place for row in places for place in row if place[0] in seldom):
        everywhere[word] += 1
        inside[word] += any(frame in slots for frame in frames)
    return {word for word, count in everywhere.items() if 2 * inside[word] >= count}


def _frames(places: Iterable[Place]) -> set[Frame]:
    return {frame for _, frames in places for frame in frames}


def _places(vocabulary: Vocabulary, text: str) -> Iterator[Place]:
    """Each word that can name a topic, and the frames in which it stands."""
    pieces = [(BOUNDARY, None), *vocabulary.pieces(text), (BOUNDARY, None)]
    words = [word for word, _ in pieces]
    for at, (_, base) in enumerate(pieces):
        if base is not None:
            before, last, first, after = words[at - 2], words[at - 1], words[at + 1], words[at + 2]
            frames = ((before, last, "", ""), ("", last, first, ""), ("", "", first, after))
            yield base, tuple(frame for frame in frames if set(frame) - {"", BOUNDARY})


def _more_frequent(own: Counter[Any], other: Counter[Any], sizes: tuple[int, int]) -> dict[Any, float]:
    """G2 of what is more frequent in ``own`` than chance and :data:`TIMES` explain."""
    candidates = {one: count for one, count in own.items() if count >= FEW}
    least = _by_chance(len(candidates))
    ratios = {
        one: log_likelihood_ratio(count, other[one], *sizes)
        for one, count in candidates.items()
        if _times(count, other[one], sizes)
    }
    return {one: ratio for one, ratio in ratios.items() if ratio > least}


def _times(count: int, other: int, sizes: tuple[int, int]) -> bool:
    return count * sizes[1] >= TIMES * other * sizes[0]


def log_likelihood_ratio(k: int, l_: int, n: int, m: int) -> float:
    """G2 of k of n against l of m; see the module."""
    p = (k + l_) / (n + m)
    cells = ((k, n * p), (n - k, n * (1 - p)), (l_, m * p), (m - l_, m * (1 - p)))
    return 2 * sum(seen * math.log(seen / expected) for seen, expected in cells if seen)


@cache
def _by_chance(number: int) -> float:
    """What G2 must be above where it is the largest of ``number``: of chi-square, with one degree of freedom."""
    return float(chi2.isf(CHANCE / max(number, 1), 1))
