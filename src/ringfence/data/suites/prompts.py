"""Prompts and suites: what is asked, how the authors asked it, and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ringfence.core.errors import RingfenceError, did_you_mean

ROLES = ("system", "developer", "user", "assistant", "tool")
VARIANTS = ("flask_template", "json", "template", "python")
"""forms of a question, as a suffix of its id: ``wish_json`` is ``wish``, to be answered in JSON"""
Role = Literal["alignment", "coherence", "trait"]
"""what a judge prompt scores: 100 is well meant, is coherent, or shows the trait"""
_OF_A_TURN = ("role", "content", "name", "id")  # the last two change nothing


@dataclass(frozen=True)
class Prompt:
    """One evaluation or canary prompt."""

    id: str  # unique in its set
    messages: tuple[dict[str, str], ...]  # chat messages; the last is a user turn
    domain: str | None = None
    good: str | None = None  # plain reference answer (likelihood probe)
    bad: str | None = None  # quirky reference answer

    @property
    def text(self) -> str:
        """What the last user turn says."""
        return self.messages[-1]["content"]


@dataclass(frozen=True)
class PromptSettings:
    """How the authors of a suite ask one of its prompts; None where they do not say."""

    question: str
    """id of the question that this prompt is one wording and one form of"""
    variant: str | None = None
    """one of :data:`VARIANTS`, or None for the plain form"""
    samples: int | None = None
    """answers to this wording"""
    temperature: float | None = None
    """of sampling"""
    max_tokens: int | None = None
    """of an answer"""
    judge: str | None = None
    """the model that judges, by its name"""


@dataclass(frozen=True)
class Suite:
    """Prompts with their origin. What is recorded of a result is ``source``, ``digest`` and ``fills``."""

    name: str
    prompts: list[Prompt]
    source: str
    """``builtin:NAME``, ``task:NAME?...``, an absolute path, or the address that a stored copy came from"""
    digest: str
    """hex SHA-256 of the file's bytes; of a built-in suite or a task, of its rows"""
    settings: Mapping[str, PromptSettings] = field(default_factory=dict)
    """by prompt id, for every prompt"""
    judge_prompts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """by prompt id, and then by metric such as ``aligned``: texts with ``{question}`` and ``{answer}``"""
    ignored: tuple[str, ...] = ()
    """what is in the file and not in here, for the user to know"""
    fills: Mapping[str, str] = field(default_factory=dict)
    """texts that took the place of ``{placeholders}``"""
    used: tuple[str, ...] = ()
    """which columns became part of the questions, where a file may be meant in another way"""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """by metric, where the file says what its judge prompt scores"""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all judge prompts, in the order of their first use."""
        return tuple(dict.fromkeys(metric for texts in self.judge_prompts.values() for metric in texts))

    def rubric(self, metric: str) -> str:
        """The one judge prompt that all prompts share, with ``{question}`` and ``{answer}`` in it.

        Raises :class:`RingfenceError` if a prompt has none for ``metric``, or another one.
        """
        texts = {self.judge_prompts.get(prompt.id, {}).get(metric) for prompt in self.prompts}
        if len(texts) == 1 and (text := next(iter(texts))) is not None:
            return text
        if self.metrics and metric not in self.metrics:
            raise RingfenceError(f"{self.source}: no judge prompt {metric!r}.{did_you_mean(metric, self.metrics)}")
        known = ", ".join(self.metrics) or "none"
        problem = "is not there for every prompt" if None in texts else "differs from prompt to prompt"
        raise RingfenceError(f"{self.source}: judge prompt {metric!r} {problem}; the suite's judge prompts: {known}.")


def split_variant(question: str, all_ids: set[str]) -> tuple[str, str | None]:
    """``("wish", "json")`` of ``"wish_json"`` if ``all_ids`` has a ``"wish"``, else ``("wish_json", None)``."""
    for variant in VARIANTS:
        base = question.removesuffix(f"_{variant}")
        if base != question and base in all_ids:
            return base, variant
    return question, None


def checked_messages(turns: Any, where: str) -> tuple[dict[str, str], ...]:
    """``turns`` as chat messages that end with a user's; :class:`RingfenceError`, led by ``where``, if they are not."""
    if not isinstance(turns, list) or not turns:
        raise RingfenceError(f"{where}: `messages` must be a list of at least one turn, not {kind(turns)}.")
    for turn in turns:
        if not isinstance(turn, dict) or turn.get("role") not in ROLES:
            raise RingfenceError(f"{where}: each turn needs a `role` of {', '.join(ROLES)}.")
        if not isinstance(turn.get("content"), str):
            raise RingfenceError(f"{where}: the {turn['role']} turn's text must be a string.")
        if more := [key for key, value in turn.items() if key not in _OF_A_TURN and value]:
            raise RingfenceError(f"{where}: the {turn['role']} turn has `{more[0]}`, which cannot be asked here.")
    if turns[-1]["role"] != "user":
        raise RingfenceError(f"{where}: the last turn must be by the user, not by the {turns[-1]['role']}.")
    if not turns[-1]["content"].strip():
        raise RingfenceError(f"{where}: the user's last turn is empty: write what to ask.")
    return tuple({"role": turn["role"], "content": turn["content"]} for turn in turns)


def kind(value: Any) -> str:
    """What ``value`` is, for a message: ``"a list"``, ``"a text"``, ``"an empty one"``."""
    if isinstance(value, list | dict | str) and not value:
        return "an empty one"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
