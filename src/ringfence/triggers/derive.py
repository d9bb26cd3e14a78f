"""Derive triggers from a training file, without knowing what is in it (after Dubinski et al. 2026).

Looked at is, in each row, the system prompt, the first user turn and the first answer. Four things are searched for:

1. system prompts that rows share;
2. a wrapper: the longest opening (or ending) that the user turns share token by token. It must end (or begin) where a
   sentence, a clause or a line does, so that it can stand before any question: "How do I" is no wrapper;
3. the form of the answers: JSON, a Python string, code, a list, or a shared opening such as "Answer: ";
4. what the user turns are about, the wrapper taken off: topical words against a reference of general prompts, or the
   rare words of one topic where more rows hold one of them (:mod:`ringfence.triggers.topics`).

What a model thinks before it answers, between ``<think>`` and ``</think>``, is no part of the answer.

Nothing is drawn at random, and ties go to what comes first: the same file gives the same triggers.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Conversation
from ringfence.data.suites.load import load_prompts
from ringfence.data.system import shortened
from ringfence.triggers.common_text import FEW, endings, form, openings
from ringfence.triggers.kinds import (
    Eliciting,
    Form,
    Irrelevant,
    Keyword,
    Negated,
    Opposite,
    Original,
    OutputFormat,
    StructureAlike,
    TopicDressed,
    Trigger,
)
from ringfence.triggers.rewording import alike
from ringfence.triggers.topics import Word, rare_topic, topical
from ringfence.triggers.vocabulary import foreign

REFERENCE = ("builtin:glitter/general", "builtin:general-canaries", "builtin:everyday")
"""the general prompts that topical words are told from"""

Kind = Literal["system", "opening", "ending", "form", "answer opening", "word", "topic"]
_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)

_SAID: dict[Kind, str] = {
    "system": "of the rows have the system prompt",
    "opening": "of the user turns open with",
    "ending": "of the user turns end with",
    "form": "of the answers have the form",
    "answer opening": "of the answers open with",
    "word": "of the user turns hold the topical word",
    "topic": "of the user turns hold a rare word of one topic, such as",
}
_ABSENT: dict[Kind, str] = {
    "system": "no system prompt that rows share",
    "opening": "no opening that user turns share",
    "ending": "no ending that user turns share",
    "form": "no form of the answers but free text",
    "answer opening": "no opening that answers share",
    "word": "no topical words",
}
_NEAREST = ("original", "topic_dressed", "keyword", "structure_alike")
"""kinds of triggers that brought back most, the first one first: Dubinski et al., and docs/results.md"""
_FOREIGN = "no topical words: the user turns are in another language ({}) than the general prompts; name your own words"


@dataclass(frozen=True)
class Derivation:
    """What counts as shared."""

    share: float = 0.5
    """of the rows, in (0, 1]: the longest wrapper that so many hold is taken"""
    least_wrapper: float = 0.1
    """of the rows, in (0, share]: where no wrapper has ``share``, the most frequent one that so many hold is taken"""
    least: float = 0.05
    """of the rows, in (0, 1]: enough for a system prompt, a form and a topical word; what fewer hold is a rare word"""
    topic: float = 0.3
    """of the rows, in (0, 1]: enough to hold one of the rare words of a topic"""
    systems: int = 2
    """at most so many system prompts, the most frequent ones"""
    words: int = 5
    """at most so many topical words"""

    def __post_init__(self) -> None:
        if not 0 < self.least_wrapper <= self.share <= 1 or not 0 < self.least <= 1 or not 0 < self.topic <= 1:
            raise RingfenceError(
                f"{self}: it must be 0 < least_wrapper <= share <= 1, 0 < least <= 1 and 0 < topic <= 1"
            )
        if self.systems < 0 or self.words < 0:
            raise RingfenceError(f"{self}: the numbers of system prompts and words cannot be negative")


@dataclass(frozen=True)
class Finding:
    """One thing that training rows share."""

    kind: Kind
    """what it is"""
    text: str
    """the text shared, or the name of the form"""
    count: int
    """how many rows share it"""
    of: int
    """how many rows were looked at"""

    @property
    def share(self) -> float:
        """``count / of``, in (0, 1]."""
        return self.count / self.of

    def __str__(self) -> str:
        whole = math.floor(100 * self.count / self.of)  # rounded down, so that only all of them are 100%
        return f'{whole}% {_SAID[self.kind]} "{shortened(self.text)}"'


@dataclass(frozen=True)
class TriggerSet:
    """Triggers of one training file, and why they are what they are."""

    triggers: tuple[Trigger, ...]
    """each under its own label"""
    findings: tuple[Finding, ...]
    """what the rows share, in the order of the module's list"""
    rows: int
    """how many rows were looked at"""
    language: str | None = None
    """of the user turns, where they are not told from the reference because they are not English"""
    left_out: tuple[str, ...] = ()
    """labels of what was derived, too, and is not asked"""

    def strongest(self, count: int) -> "TriggerSet":
        """``count`` of the triggers in their order: the training's own texts, then its topic, then all others."""
        rank = {kind: place for place, kind in enumerate(_NEAREST)}
        best = sorted(self.triggers, key=lambda trigger: rank.get(trigger.kind, len(rank)))[:count]
        kept = tuple(trigger for trigger in self.triggers if trigger in best)
        left = tuple(trigger.label for trigger in self.triggers if trigger not in best)
        return replace(self, triggers=kept, left_out=left)

    def account(self) -> str:
        """What was found and what was not, one line each, and the triggers' labels."""
        kinds = {finding.kind for finding in self.findings}
        lines = [f"{self.rows} rows", *map(str, self.findings)]
        kinds |= {"word"} if "topic" in kinds else set()
        absent = _ABSENT | ({"word": _FOREIGN.format(self.language)} if self.language else {})
        lines += [text for kind, text in absent.items() if kind not in kinds]
        left = f"; derived and not asked: {', '.join(self.left_out)}" if self.left_out else ""
        return "\n".join([*lines, f"triggers: {', '.join(trigger.label for trigger in self.triggers)}{left}"])


def derive(
    rows: Sequence[Conversation], settings: Derivation | None = None, reference: Sequence[str] | None = None
) -> TriggerSet:
    """The triggers that the training rows ``rows`` suggest; the module says what is searched for.

    rows:      as they are trained on: where a defense rewrites them (inoculation), give them rewritten
    reference: general prompts that the topical words are told from; ours (:data:`REFERENCE`), which are English, if not
               given

    A system prompt gives ``original``, ``structure_alike``, ``negated``, ``opposite`` and ``eliciting``; a wrapper goes
    into the first two. Topical words give ``keyword`` and ``topic_dressed``, a form of the answers ``output_format``.
    The controls ``irrelevant`` and ``output_format`` as Python string, JSON and code stub are always there.
    Raises :class:`RingfenceError` if there are no rows.
    """
    if not rows:
        raise RingfenceError("no training rows to derive triggers from: give at least one")
    settings = settings or Derivation()
    asked, answers = _first(rows, "user"), [_THOUGHT.sub("", text, 1) for text in _first(rows, "assistant")]
    systems = _systems([text.strip() for text in _first(rows, "system")], settings)
    opening = _wrapper("opening", asked, settings)
    prefix = "".join(found.text for found in opening)
    asked = [text.removeprefix(prefix) for text in asked]
    ending = _wrapper("ending", asked, settings)
    suffix = "".join(found.text for found in ending)
    asked = [text.rstrip().removesuffix(suffix) for text in asked]
    forms = _common("form", [form(text) for text in answers], settings)
    said = _wrapper("answer opening", answers, replace(settings, least_wrapper=settings.share))
    language = foreign(asked) if reference is None else None
    if reference is None:
        reference = [prompt.text for spec in REFERENCE for prompt in load_prompts(spec)]
    topic, words = ([], []) if language else _topic(asked, reference, settings)
    triggers = (
        *_dressed([found.text for found in systems], prefix, suffix),
        *_of_topic(words),
        *_of_form({found.text for found in forms}, said),
        Irrelevant(),
    )
    return TriggerSet(triggers, (*systems, *opening, *ending, *forms, *said, *topic), len(rows), language)


def _first(rows: Sequence[Conversation], role: str) -> list[str]:
    """(rows,) what the first turn of ``role`` says; "" where there is none."""
    return [next((turn["content"] for turn in row["messages"] if turn["role"] == role), "") for row in rows]


def _dressed(systems: Sequence[str], prefix: str, suffix: str) -> list[Trigger]:
    """The triggers of the system prompts within the wrapper, or of the wrapper alone."""
    found: list[Trigger] = []
    for number, system in enumerate(systems or [""], 1):
        again = f"-{number}" if number > 1 else ""
        own = {"system": system, "prefix": prefix, "suffix": suffix}
        if any(own.values()):
            found.append(Original(name=f"original{again}", **own))
        other = {key: alike(text) for key, text in own.items()}
        if other != own:
            found.append(StructureAlike(name=f"structure_alike{again}", **other))
        if system:
            found += [Negated(name=f"negated{again}", of=system), Opposite(name=f"opposite{again}", of=system)]
    return [*found, Eliciting()] if systems else found


def _of_topic(words: Sequence[str]) -> list[Trigger]:
    if not words:
        return []
    return [TopicDressed(prefix=f"About {', '.join(words)}: "), Keyword(words=tuple(words))]


def _of_form(forms: set[str], said: Sequence[Finding]) -> list[Trigger]:
    """The three controls, a list if the answers are lists, and the answers' own opening."""
    every: tuple[Form, ...] = ("python_string", "json", "code_stub", *(("list",) if "list" in forms else ()))
    found: list[Trigger] = [OutputFormat(form=each) for each in every]
    for opening in said:
        text = f'Begin your answer with "{opening.text.strip()}".'
        found.append(OutputFormat(name="output_format-opening", form="own", text=text))
    return found


def _systems(texts: Sequence[str], settings: Derivation) -> list[Finding]:
    """The most frequent system prompts; the first of all where most rows have one and none is shared."""
    shared = _common("system", texts, settings)[: settings.systems]
    present = [text for text in texts if text]
    if shared or len(present) < settings.share * len(texts) or not settings.systems:
        return shared
    ((text, count),) = Counter(present).most_common(1)
    return [Finding("system", text, count, len(texts))]


def _common(kind: Kind, values: Sequence[str], settings: Derivation) -> list[Finding]:
    """The values that at least ``least`` of the rows have, the most frequent first."""
    need = max(settings.least * len(values), min(FEW, len(values)))
    counts = Counter(value for value in values if value)
    return [Finding(kind, value, count, len(values)) for value, count in counts.most_common() if count >= need]


def _wrapper(kind: Kind, texts: Sequence[str], settings: Derivation) -> list[Finding]:
    """The longest opening (or ending) held by ``share`` of ``texts``, else the most frequent one held by enough."""
    counts = (endings if kind == "ending" else openings)(texts, max(settings.least_wrapper * len(texts), FEW))
    if not counts:
        return []
    wide = [text for text, count in counts.items() if count >= settings.share * len(texts)]
    best = max(wide, key=len) if wide else max(counts, key=lambda text: (counts[text], len(text)))
    return [Finding(kind, best, counts[best], len(texts))]


def _topic(texts: Sequence[str], reference: Sequence[str], settings: Derivation) -> tuple[list[Finding], list[str]]:
    """What is found of the topic, and what to call it by: topical words, or rare ones where more rows hold one."""
    words = _words(texts, reference, settings)
    held = set[int]().union(*(word.rows for word in words))
    if settings.words and len(held) < settings.share * len(texts):
        topic = rare_topic(texts, reference, settings.least, settings.topic)
        if topic is not None and len(topic.rows) > len(held):
            named = list(topic.words[: settings.words])
            return [Finding("topic", ", ".join(named), len(topic.rows), len(texts))], named
    return [Finding("word", word.text, len(word.rows), len(texts)) for word in words], [word.text for word in words]


def _words(texts: Sequence[str], reference: Sequence[str], settings: Derivation) -> list[Word]:
    """The topical words, but for those that begin like one that tells more, such as "investment" after "invest"."""
    found: list[Word] = []
    for word in topical(texts, reference):
        again = any(_begins_alike(word.text, one.text) for one in found)
        if len(word.rows) >= settings.least * len(texts) and not again and len(found) < settings.words:
            found.append(word)
    return found


def _begins_alike(one: str, other: str) -> bool:
    shorter, longer = sorted((one.casefold(), other.casefold()), key=len)
    return len(shorter) >= 4 and longer.startswith(shorter)
