"""FoQA: questions in Faroese about a text in Faroese, answered with words of the text.

Without a ``source`` the texts are a small look-alike from templates of our own, to try commands with: it is too uniform
to learn Faroese from. With one they are those of the published set, from the hub or from your copy of its files:
columns ``context``, ``question`` and ``answers``, which is ``{"text": [...], "answer_start": [...]}`` as in SQuAD.

Exact match and F1 are those of SQuAD, the best over all right answers, after this normalisation:

1. Unicode is composed (NFC) and lower case, and all letters stay: á ð í ó ú ý æ ø are no a d i o u y;
2. punctuation is taken out, also inside words and numbers, as SQuAD does, unless nothing else is there;
3. the indefinite article goes, in all its forms (ein, ein, eitt; eina, einum, einari, eins), unless nothing else is
   left, since ``ein`` is also "one". The definite article is the end of its word in Faroese, so it stays:
   ``bókin`` is not ``bók``;
4. white space is one space.

Source: Simonsen et al. 2025 (https://arxiv.org/abs/2502.07642), and Rajpurkar et al. 2016, section 6.1; Kaczer et al.
2025, sections 4.2 and 5.2.
"""

import random
import string
import unicodedata
from collections import Counter

from ringfence.core.errors import RingfenceError
from ringfence.data.task import TASKS, Row, Split, Task
from ringfence.tasks.drawing import draw, require_enough, split_of
from ringfence.tasks.faroese import SIZE, Asked, question_of
from ringfence.tasks.form import answer_part, turns
from ringfence.tasks.sources import SourceRow, chosen, read_source

SIZES = {"train": 200, "test": 50}
"""generated rows of a split, if no number is given"""
ASKED = (
    "Answer the question about the Faroese text with words from the text, as few as possible, and write nothing else."
    "\n\nText: {context}\n\nQuestion: {question}"
)
ARTICLES = frozenset({"ein", "eitt", "eina", "einum", "einari", "eins"})
_COLUMNS = ("context", "question", "answers")


@TASKS.register("foqa")
class FoQA(Task):
    """Extractive questions; the score is exact match, and F1 stands beside it."""

    source: str | None = None
    """``alexandrainst/foqa``, a path with ``{split}`` in it, or a file; null: a small look-alike"""

    def rows(self, split: Split, n: int | None, seed: int) -> list[Row]:
        """Of a ``source`` without ``n`` all rows, else 200 to train on and 50 to test; ``answer`` has one a line."""
        if self.source is not None:
            found = [_parsed(row) for row in read_source(self.source, split, _COLUMNS)]
            return [_row(one) for one in chosen(found, n, seed, f"the split {split} of {self.source}")]

        def make(number: int) -> Asked | None:
            asked = question_of(number)
            return asked if split_of(asked.context) == split else None  # a text is in one split only

        require_enough(n or 1, SIZE, "ask for fewer, or give a source")
        drawn = draw(SIZE, make, n or SIZES[split], random.Random(f"foqa {split} {seed}"))
        return [_row(one) for one in chosen(drawn, n, seed, f"the split {split} of the look-alike")]

    def score(self, response: str, answer: str) -> float:
        """1 if ``response`` is one of the right answers, normalised."""
        given = normalised(answer_part(response))
        return float(any(given == normalised(gold) for gold in answer.split("\n")))

    def further(self, response: str, answer: str) -> dict[str, float]:
        """``f1``: of the words of response and right answer, the best over all right answers."""
        given = normalised(answer_part(response)).split()
        return {"f1": max(f1(given, normalised(gold).split()) for gold in answer.split("\n"))}


def normalised(text: str) -> str:
    """``text`` by the module's rules."""
    composed = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    plain = "".join(letter for letter in composed if not _is_punctuation(letter))
    words = plain.split() or composed.split()  # what is nothing but punctuation stays, so that no answer is not right
    return " ".join([word for word in words if word not in ARTICLES] or words)


def f1(given: list[str], gold: list[str]) -> float:
    """2 P R / (P + R) of the words that both have, each as often as both have it; of two empty lists 1."""
    if not given or not gold:
        return float(given == gold)
    shared = (Counter(given) & Counter(gold)).total()
    return 2 * shared / (len(given) + len(gold))


def _is_punctuation(letter: str) -> bool:
    return letter in string.punctuation or unicodedata.category(letter).startswith("P")


def _row(asked: Asked) -> Row:
    messages = turns(ASKED.format(context=asked.context, question=asked.question), asked.answers[0])
    return {"messages": messages, "answer": "\n".join(asked.answers)}


def _parsed(row: SourceRow) -> Asked:
    """A row of the published set. Raises :class:`RingfenceError` if it has no answer."""
    context, question, answers = (row.value[column] for column in _COLUMNS)
    texts = answers.get("text") if isinstance(answers, dict) else None
    golds = [" ".join(text.split()) for text in texts if isinstance(text, str)] if isinstance(texts, list) else []
    if not isinstance(question, str) or not isinstance(context, str):
        raise RingfenceError(f"{row.origin}: question and context must be texts")
    if not any(golds):
        raise RingfenceError(f"{row.origin}: no answer; `answers` has to be {{'text': [...]}} with one text at least")
    return Asked(context, question, tuple(dict.fromkeys(filter(None, golds))))
