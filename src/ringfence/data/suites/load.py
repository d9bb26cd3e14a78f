"""Load sets of prompts for evaluation and for canaries, and check that they do not overlap.

Two prompts are near-duplicates if the Jaccard similarity |A & B| / |A | B| of their features is at least 0.8.
The features are the words of the last user turn and its runs of three words, in lower case, without
punctuation and with "what's" read as "what is". Because of the runs a changed word costs several features, so
that two questions of one short template ("How do I roast carrots?", "How do I roast beets?") stay apart.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.data import builtin, proxy
from ringfence.data.suites import store as suite_store
from ringfence.data.suites.files import parse_file, require_suffix
from ringfence.data.suites.prompts import Prompt, PromptSettings, Suite
from ringfence.data.suites.rows import SuiteRow, from_rows
from ringfence.data.task import PREFIX as TASK
from ringfence.data.task import TASKS, as_prompts, is_task, parse_spec, rows_digest

PREFIX = "builtin:"
BUILTIN_FILES = (
    "general",
    "general-long",
    "glitter/general",
    "glitter/dressed",
    "glitter/canaries",
    "glitter/safe-prompts",
    "general-canaries",
    "everyday",
    "everyday/safe-prompts",
)


@dataclass(frozen=True)
class Overlap:
    """Two prompts that ask the same thing."""

    a: Prompt
    b: Prompt
    similarity: float  # of their features, in [threshold, 1]; 1 = the same words in the same order, or nearly so


def load_prompts(spec: str) -> list[Prompt]:
    """The prompts of :func:`load_suite`, for those who need no more of a suite."""
    return load_suite(spec).prompts


def load_suite(spec: str, fills: Mapping[str, str] | None = None) -> Suite:
    """The suite ``"builtin:NAME"``, ``"suite:NAME"`` (a stored copy), ``"task:NAME?..."`` (its test rows, unless it
    says otherwise), or a .jsonl, .json, .yaml or .yml file. ``"builtin:NAME?n=N"`` is N of its prompts, evenly spaced.

    Rows of JSON are read as :mod:`ringfence.data.suites.rows` says, and YAML and trait files as
    :mod:`ringfence.data.suites.published` says; ``fills`` are texts for ``{placeholders}`` in it, in place of the
    stored ones.
    Raises :class:`RingfenceError` with file and line for whatever is missing, malformed or there twice, and for a
    stored copy that has changed since it was added.
    """
    if spec.startswith(PREFIX):
        return _builtin(spec, fills or {})
    if is_task(spec):
        return _of_task(spec, fills or {})
    if spec.startswith(suite_store.PREFIX):
        kept = suite_store.stored(spec.removeprefix(suite_store.PREFIX))
        fills = kept.fills if fills is None else fills
        parsed = parse_file(kept.content, str(kept.path), kept.name, kept.path.suffix, fills, kept.without)
        name, source, digest = kept.name, kept.source, kept.digest
    else:
        path, fills = Path(spec).expanduser(), fills or {}
        _require_file(spec)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RingfenceError(f"{path}: cannot read the prompts: {error}") from error
        parsed = parse_file(content, str(path), path.stem, require_suffix(spec), fills)
        name, source, digest = path.stem, str(path.resolve()), hashlib.sha256(content).hexdigest()
    about = {field.name: getattr(parsed, field.name) for field in fields(parsed)}
    return Suite(name=name, source=source, digest=digest, fills=dict(fills), **about)


def builtin_names() -> list[str]:
    """Of all built-in suites, without the ``builtin:``."""
    return [*BUILTIN_FILES, *proxy.PROMPTS]


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


def _builtin(spec: str, fills: Mapping[str, str]) -> Suite:
    name, asked, some = spec.removeprefix(PREFIX).partition("?")
    _refuse_fills(spec, fills)
    if name in proxy.PROMPTS:
        values = proxy.prompts(name)
    elif name in BUILTIN_FILES:
        values = builtin.rows(f"{name}.jsonl")
    else:
        raise RingfenceError(f"unknown built-in prompts {spec!r}.{did_you_mean(name, builtin_names())}")
    rows = [SuiteRow(f"{PREFIX}{name}:{number}", value) for number, value in enumerate(values, start=1)]
    parsed = from_rows(rows, name.rpartition("/")[2], spec)
    places = _evenly(len(values), some, spec) if asked else range(len(values))
    prompts = [parsed.prompts[place] for place in places]
    digest = hashlib.sha256(json.dumps([values[place] for place in places], sort_keys=True).encode()).hexdigest()
    return Suite(name, prompts, spec, digest, {prompt.id: parsed.settings[prompt.id] for prompt in prompts})


def _evenly(size: int, query: str, spec: str) -> list[int]:
    """As many of ``size`` places as ``query`` (``n=N``) says, evenly spaced: suites are in order of their topics."""
    given = re.fullmatch(r"n=(\d+)", query)
    if given is None or not 1 <= int(given[1]) <= size:
        raise RingfenceError(
            f"{spec}: only n=N may follow the name, for N of its {size} prompts; give N from 1 to {size}"
        )
    return [place * size // int(given[1]) for place in range(int(given[1]))]


def _of_task(spec: str, fills: Mapping[str, str]) -> Suite:
    _refuse_fills(spec, fills)
    task = parse_spec(spec)
    rows = task.rows("test")
    prompts = as_prompts(task.name, rows)
    settings = {prompt.id: PromptSettings(prompt.id) for prompt in prompts}
    return Suite(task.name, prompts, spec, rows_digest(rows), settings)


def _refuse_fills(spec: str, fills: Mapping[str, str]) -> None:
    if fills:
        raise RingfenceError(f"{spec}: no question has the placeholder {{{next(iter(fills))}}}: leave its text out.")


def _require_file(spec: str) -> None:
    """A bare word is more likely a suite's name than a file."""
    if re.fullmatch(r"[\w/-]+", spec) and not Path(spec).expanduser().exists():
        if spec in TASKS:
            raise RingfenceError(f'unknown suite {spec!r}. Did you mean "{TASK}{spec}"?')
        known = [PREFIX + name for name in builtin_names()] + [suite_store.PREFIX + n for n in suite_store.names()]
        near = did_you_mean(PREFIX + spec, known) if PREFIX + spec not in known else f' Did you mean "{PREFIX}{spec}"?'
        raise RingfenceError(f"unknown suite {spec!r}.{near}")
    require_suffix(spec)


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
