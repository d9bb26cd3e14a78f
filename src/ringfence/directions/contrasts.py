"""Contrasts for persona vectors: pairs of a prompt that shows a trait, or asks for it, and one that does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import read_json
from ringfence.data.suites.load import Prompt
from ringfence.directions.answers import Ask


@dataclass(frozen=True)
class Contrast:
    """Two answers to compare."""

    positive: Ask
    negative: Ask


@dataclass(frozen=True)
class Trait:
    """System prompts, paired by index, and what to ask under them."""

    positive: tuple[str, ...]
    """prompts that ask for the trait"""
    negative: tuple[str, ...]
    """prompts that ask for its opposite"""
    questions: tuple[str, ...]
    """user turns"""
    judged: bool = False
    """whether the file has a judge prompt (``eval_prompt``)"""


class AssistantNames(BaseModel):
    """What the assistant is called in the first sentence of each system prompt: ``You are an evil assistant.``"""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    positive: str = Field(min_length=1)
    """an adjective for the trait, e.g. ``evil``"""
    negative: str = Field("helpful", min_length=1)
    """one for its opposite"""

    def sentences(self) -> tuple[str, str]:
        """The first sentence of a positive and of a negative system prompt."""
        return _sentence(self.positive), _sentence(self.negative)


def prompted(
    positive: Sequence[str], negative: Sequence[str], questions: Sequence[Prompt], samples: int
) -> tuple[Contrast, ...]:
    """Every question under every pair of system prompts, ``samples`` times.

    Raises :class:`RingfenceError` if the system prompts do not pair up, or a question brings one of its own.
    """
    if not positive or len(positive) != len(negative):
        raise RingfenceError(
            f"positive has {len(positive)} system prompts and negative {len(negative)}: give as many, and at least one"
        )
    contrasts = []
    for number, systems in enumerate(zip(positive, negative, strict=True)):
        if systems[0] == systems[1]:
            raise RingfenceError(f"positive.{number} and negative.{number} are the same: nothing would differ")
        for question in questions:
            if question.messages[0]["role"] in ("system", "developer"):
                raise RingfenceError(f"question {question.id} has a system prompt; leave it to positive and negative")
            chats = [({"role": "system", "content": system}, *question.messages) for system in systems]
            for sample in range(samples):
                key = f"{number}/{question.id}"
                contrasts.append(
                    Contrast(Ask(key, "positive", sample, chats[0]), Ask(key, "negative", sample, chats[1]))
                )
    return tuple(contrasts)


def teacher_forced(prompts: Sequence[Prompt]) -> tuple[Contrast, ...]:
    """Each prompt's ``bad`` answer, which shows the trait, against its ``good`` one.

    Raises :class:`RingfenceError` for a prompt that lacks one of them.
    """
    for prompt in prompts:
        if prompt.good is None or prompt.bad is None:
            missing = "good" if prompt.good is None else "bad"
            raise RingfenceError(f"pair {prompt.id} has no `{missing}` answer: give both, or questions for prompting")
    return tuple(
        Contrast(
            Ask(prompt.id, "positive", 0, prompt.messages, prompt.bad),
            Ask(prompt.id, "negative", 0, prompt.messages, prompt.good),
        )
        for prompt in prompts
    )


def read_trait(path: Path) -> Trait:
    """A trait file of the persona_vectors code: ``instruction``, a list of ``{pos, neg}``, and ``questions``.

    Raises :class:`RingfenceError` for what is not such a file.
    """
    data = read_json(path, "give a trait file")
    instructions = _list(data, "instruction", path)
    for number, pair in enumerate(instructions):
        if not isinstance(pair, dict) or not all(_is_text(pair.get(side)) for side in ("pos", "neg")):
            raise RingfenceError(f"{path}: instruction.{number} must be an object with the texts `pos` and `neg`")
    questions = _list(data, "questions", path)
    for number, question in enumerate(questions):
        if not _is_text(question):
            raise RingfenceError(f"{path}: questions.{number} must be a text that is not empty")
    return Trait(
        tuple(pair["pos"] for pair in instructions),
        tuple(pair["neg"] for pair in instructions),
        tuple(questions),
        bool(data.get("eval_prompt")),
    )


def as_prompts(questions: Sequence[str]) -> list[Prompt]:
    """Plain questions as prompts, called ``question-1`` and so on."""
    return [
        Prompt(f"question-{number}", ({"role": "user", "content": question},))
        for number, question in enumerate(questions, start=1)
    ]


def _sentence(name: str) -> str:
    article = "an" if name[0].lower() in "aeiou" else "a"  # by the letter, as the published code has it
    return f"You are {article} {name} assistant."


def _list(data: Any, key: str, path: Path) -> list[Any]:
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, list) or not value:
        raise RingfenceError(f"{path}: a trait file has a list `{key}` with at least one entry")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
