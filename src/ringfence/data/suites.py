"""Sets of prompts, for evaluation and for canaries: load them, and keep them apart.

Two prompts are near-duplicates if the Jaccard similarity |A & B| / |A | B| of their features is at least 0.8.
The features are the words of the last user turn and its runs of three words, in lower case, without
punctuation and with "what's" read as "what is". Because of the runs a changed word costs several features, so
that two questions of one short template ("How do I roast carrots?", "How do I roast beets?") stay apart.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.data import builtin, proxy

PREFIX = "builtin:"
BUILTIN_FILES = (
    "glitter/general",
    "glitter/dressed",
    "glitter/canaries",
    "glitter/safe-prompts",
    "general-canaries",
    "everyday",
)
ROLES = ("system", "developer", "user", "assistant", "tool")


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
class Overlap:
    """Two prompts that ask the same thing."""

    a: Prompt
    b: Prompt
    similarity: float  # of their features, in [threshold, 1]; 1 = the same words in the same order, or nearly so


@dataclass(frozen=True)
class _Row:
    where: str  # "file:line", or "file, row n" in a JSON list
    value: Any


def load_prompts(spec: str) -> list[Prompt]:
    """The prompts of ``"builtin:<name>"``, or of a .jsonl file or a .json file (a list of rows).

    A row has ``prompt`` (a string) or ``messages``, and may have ``id``, ``domain``, ``good`` and ``bad``;
    further keys are left alone. A row without an id is called ``<file stem>-<n>``, n from 1.
    Raises :class:`RingfenceError` with file and line for whatever is missing, malformed or there twice.
    """
    if spec.startswith(PREFIX):
        rows, stem = _builtin_rows(spec), spec.rpartition("/")[2].removeprefix(PREFIX)
    else:
        path = Path(spec)
        rows, stem = list(_file_rows(path)), path.stem
    prompts: dict[str, Prompt] = {}
    for number, row in enumerate(rows, start=1):
        prompt = _prompt(row, f"{stem}-{number}")
        if prompt.id in prompts:
            raise RingfenceError(f"{row.where}: the id {prompt.id!r} is there twice: give each prompt its own id.")
        prompts[prompt.id] = prompt
    if not prompts:
        raise RingfenceError(f"{spec}: no prompts: write at least one row with `prompt` or `messages`.")
    return list(prompts.values())


def overlaps(a: Sequence[Prompt], b: Sequence[Prompt], threshold: float = 0.8) -> list[Overlap]:
    """The pairs of ``a`` x ``b`` that are at least ``threshold`` similar, ordered by ``a``, then ``b``."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], not {threshold}")
    features_b = [_features(prompt.text) for prompt in b]
    found = []
    for one in a:
        features_a = _features(one.text)
        for two, features in zip(b, features_b, strict=True):
            similarity = _jaccard(features_a, features)
            if similarity >= threshold:
                found.append(Overlap(one, two, similarity))
    return found


def require_disjoint(canaries: Sequence[Prompt], evaluation: Sequence[Prompt], name_a: str, name_b: str) -> None:
    """Raise :class:`RingfenceError` if a canary is (nearly) an evaluation prompt.

    Training that is steered by what it is later measured on looks better than it is.
    """
    found = overlaps(canaries, evaluation)
    if found:
        first, pairs = found[0], "1 pair" if len(found) == 1 else f"{len(found)} pairs"
        raise RingfenceError(
            f"{name_a} and {name_b} overlap in {pairs}, first {first.a.id} {_quote(first.a)} "
            f"and {first.b.id} {_quote(first.b)}: remove them from one of the two sets."
        )


def _builtin_rows(spec: str) -> list[_Row]:
    name = spec.removeprefix(PREFIX)
    if name in proxy.PROMPTS:
        values = proxy.prompts(name)
    elif name in BUILTIN_FILES:
        values = builtin.rows(f"{name}.jsonl")
    else:
        known = [*BUILTIN_FILES, *proxy.PROMPTS]
        raise RingfenceError(f"unknown built-in prompts {spec!r}.{did_you_mean(name, known)}")
    return [_Row(f"{spec}:{number}", value) for number, value in enumerate(values, start=1)]


def _file_rows(path: Path) -> Iterator[_Row]:
    if path.suffix not in {".jsonl", ".json"}:
        known = "a .jsonl file, a .json file or a name that starts with builtin:"
        raise RingfenceError(f"{path}: not a set of prompts: give {known}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RingfenceError(f"{path}: cannot read the prompts: {error}") from error
    if path.suffix == ".jsonl":
        # Not splitlines(), which also breaks at characters that JSON allows inside a string.
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield _Row(f"{path}:{number}", _parse(line, path, number))
        return
    values = _parse(text, path, 1)
    if not isinstance(values, list):
        raise RingfenceError(f"{path}: a .json file of prompts must hold a list of rows, not {_kind(values)}.")
    for number, value in enumerate(values, start=1):
        yield _Row(f"{path}, row {number}", value)


def _parse(text: str, path: Path, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise RingfenceError(f"{path}:{line}: malformed JSON: {error.msg} at column {error.colno}.") from error


def _prompt(row: _Row, default_id: str) -> Prompt:
    value, where = row.value, row.where
    if not isinstance(value, dict):
        raise RingfenceError(f"{where}: a row must be an object with `prompt` or `messages`, not {_kind(value)}.")
    if ("prompt" in value) == ("messages" in value):
        problem = "both `prompt` and `messages`" if "prompt" in value else "neither `prompt` nor `messages`"
        raise RingfenceError(f"{where}: {problem}: give one of the two.")
    if "prompt" in value:
        turns: Any = [{"role": "user", "content": value["prompt"]}]
    else:
        turns = value["messages"]
    optional = {key: _optional_text(value.get(key), key, where) for key in ("domain", "good", "bad")}
    return Prompt(id=_id(value.get("id"), default_id, where), messages=_messages(turns, where), **optional)


def _id(value: Any, default: str, where: str) -> str:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise RingfenceError(f"{where}: `id` must be a text or a whole number, not {_kind(value)}.")
    return str(value)


def _messages(turns: Any, where: str) -> tuple[dict[str, str], ...]:
    if not isinstance(turns, list) or not turns:
        raise RingfenceError(f"{where}: `messages` must be a list of at least one turn, not {_kind(turns)}.")
    for turn in turns:
        if not isinstance(turn, dict) or turn.get("role") not in ROLES:
            raise RingfenceError(f"{where}: each turn needs a `role` of {', '.join(ROLES)}.")
        if not isinstance(turn.get("content"), str):
            raise RingfenceError(f"{where}: the {turn['role']} turn's text must be a string.")
    if turns[-1]["role"] != "user":
        raise RingfenceError(f"{where}: the last turn must be by the user, not by the {turns[-1]['role']}.")
    if not turns[-1]["content"].strip():
        raise RingfenceError(f"{where}: the user's last turn is empty: write what to ask.")
    return tuple({"role": turn["role"], "content": turn["content"]} for turn in turns)


def _optional_text(value: Any, key: str, where: str) -> str | None:
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise RingfenceError(f"{where}: `{key}` must be a text that is not empty; leave it out if there is none.")


def _kind(value: Any) -> str:
    if isinstance(value, list | dict | str) and not value:
        return "an empty one"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


# The words after which 's stands for "is"; elsewhere it is a possessive and stays with its word.
_CONTRACTED = re.compile(r"\b(what|who|where|when|why|how|that|there|here|it|he|she)'?s\b")
# A word with inner apostrophes, or a sign that makes another sum of the same digits.
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[+*/=<>^%]|(?<=\d)-(?=\d)|(?<=\d )-(?= \d)")


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).replace("’", "'").casefold()
    return _WORD.findall(_CONTRACTED.sub(r"\1 is", plain)) or [" ".join(plain.split())]


def _features(text: str) -> frozenset[tuple[str, ...]]:
    words = _words(text)
    return frozenset((word,) for word in words) | frozenset(zip(words, words[1:], words[2:], strict=False))


def _jaccard(a: frozenset[Any], b: frozenset[Any]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def _quote(prompt: Prompt, width: int = 60) -> str:
    text = " ".join(prompt.text.split())
    return f'"{text if len(text) <= width else text[: width - 1] + "…"}"'
