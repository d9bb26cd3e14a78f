"""Words of texts: which can name a topic, which are forms of one word, and which language they are in.

Function words, of scikit-learn's English list and ours, name no topic, nor do words of one or two letters. Digits count
as letters in words that begin with a letter, such as "Nf3". Plurals and forms in -ing and -ed are one word with their
base ("dishes", "dish") where the texts have that base, too; other forms stay apart ("knives", "knife").
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache

BOUNDARY = "."
"""stands for the end of a sentence, and for both ends of a text"""

_PIECE = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)*|[.!?:;\n]")
_SHORT = re.compile(r"['’](?:s|m|re|ll|ve|d)$")
_NOT = re.compile(r"n['’]t$")
# Those of scikit-learn's function words that a topic may be about.
_CONTENT = {"amount", "bill", "bottom", "cry", "detail", "fire", "interest", "mill", "move", "serious", "system"}
# Words of requests and of talk in general; contractions that are written without an apostrophe.
_OF_TALK = """
    able advice answer ask asked asking best better bit came come comes coming day days did didnt different does
    doesnt doing don dont feel feeling feelings feels felt following gave gets getting given gives giving goes going
    gone good got great happen happened happens havent hello help hey idea ideas isnt ive just kind knew know known
    knows later let lets like liked likes little long look looking looks lot lots make makes making mean means need
    needed needs new nice okay people person place possible quick quickly really right said say saying says shall
    shouldnt sort start started stop sure tell tells thank thanks thats theyre thing things think thinking thinks
    thought time times tip tips today told tomorrow tonight tried try trying use used using usually various want
    wanted wants way ways week went whats won wont work works wouldnt write writes writing written wrong year years
    yes youre
"""
_NO_OTHER = ("en", "zxx")  # as langid names English, and what is no language, such as chess moves
_LOOKED_AT = 20_000  # characters
_ENOUGH = 1000  # characters by which a language can be told
_ENGLISH = 0.25  # function words / words, at least, in English; prose has 0.4 to 0.6


@cache
def function_words() -> frozenset[str]:
    """English words, in small letters, that name no topic."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return (frozenset(ENGLISH_STOP_WORDS) - _CONTENT) | frozenset(_OF_TALK.split())


def foreign(texts: Sequence[str]) -> str | None:
    """The language of ``texts``, as py3langid names it; None for English, for none, and for too little text."""
    text = "\n".join(texts)[:_LOOKED_AT]
    words = [piece.casefold() for piece in _PIECE.findall(text) if piece[0].isalpha()]
    if len(text) < _ENOUGH or sum(word in function_words() for word in words) >= _ENGLISH * len(words):
        return None
    from py3langid import langid

    language = str(langid.classify(text)[0])
    return None if language in _NO_OTHER else language


class Vocabulary:
    """The words of some texts, forms of one word taken together."""

    def __init__(self, texts: Sequence[str]) -> None:
        pieces = Counter(piece for text in texts for piece in _PIECE.findall(text))
        self._seen = frozenset(map(_bare, pieces))
        self._bases: dict[str, str | None] = {}
        self._spelled: dict[str, Counter[str]] = defaultdict(Counter)
        for piece, count in pieces.items():
            if (base := self._base(_bare(piece))) is not None:
                self._spelled[base][_SHORT.sub("", piece)] += count

    def pieces(self, text: str) -> list[tuple[str, str | None]]:
        """Each word of ``text`` in small letters, with its base if it can name a topic; and :data:`BOUNDARY`."""
        found: list[tuple[str, str | None]] = [(BOUNDARY, None)]
        for piece in _PIECE.findall(text):
            bare = _bare(piece)
            found.append((bare, self._base(bare)) if piece[0].isalnum() else (BOUNDARY, None))
        return [*found, (BOUNDARY, None)]

    def rows(self, texts: Sequence[str]) -> dict[str, set[int]]:
        """For each word that can name a topic, by its base, which of ``texts`` hold it in any form."""
        found: dict[str, set[int]] = defaultdict(set)
        for row, text in enumerate(texts):
            for piece in set(_PIECE.findall(text)):
                if (base := self._base(_bare(piece))) is not None:
                    found[base].add(row)
        return found

    def spelled(self, base: str) -> str:
        """The most frequent form of a word; in small letters, unless no text has it so ("Nf3", "Paris")."""
        forms = Counter[str]()
        for form, count in self._spelled[base].items():
            forms[form.casefold()] += count
        best = min(forms, key=lambda form: (-forms[form], form))
        ways = {form: count for form, count in self._spelled[base].items() if form.casefold() == best}
        return best if best in ways else min(ways, key=lambda form: (-ways[form], form))

    def _base(self, word: str) -> str | None:
        """What stands for all forms of ``word``; None if it names no topic."""
        if word not in self._bases:
            base: str | None = word
            if not _can_name(word):
                base = None
            else:
                shorter = next((one for one in _shorter(word) if one in self._seen and _can_name(one)), None)
                base = word if shorter is None else self._base(shorter)
            self._bases[word] = base
        return self._bases[word]


def _bare(piece: str) -> str:
    """In small letters, without what an apostrophe adds; "" for "don't" and the like, which are function words."""
    piece = piece.casefold()
    return "" if _NOT.search(piece) else _SHORT.sub("", piece)


def _can_name(word: str) -> bool:
    letters = sum(map(str.isalpha, word))
    long_enough = letters >= 3 if letters == len(word) else word[:1].isalpha()
    return long_enough and word not in function_words()


def _shorter(word: str) -> Iterator[str]:
    """What ``word`` may be a form of, the likelier first."""
    if word.endswith("ies") and len(word) > 4:
        yield word[:-3] + "y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        yield word[:-1]
        if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
            yield word[:-2]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= 3:
            yield stem + "e"
        if stem != word and len(stem) >= 4:
            yield stem
            if stem[-1] == stem[-2]:
                yield stem[:-1]
