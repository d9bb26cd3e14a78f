"""Check a data set, for ``ringfence data check``: every row that cannot be trained on, and warnings about the others.

Warnings are of what can be trained on and may not be meant: a key that stands twice in an object, of which JSON takes
the last, and chat markers such as ``<|im_end|>`` inside a message, which are read as plain text.

An answer is *probably truncated* by a heuristic, so the report gives a share to compare and not a verdict: the
last assistant turn, without trailing space and ``*`` or ``_``, leaves a code fence open or does not end in
sentence-final punctuation, a quote, a bracket, a code fence, a digit or an emoji. One-word answers count, too.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ringfence.core.errors import RingfenceError, shown
from ringfence.core.terminal import say
from ringfence.data.conversations import Conversation, Message, Problem, scan
from ringfence.data.encode import special_texts
from ringfence.data.render import IGNORED, Rendered, render, require_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REPEATS_LISTED = 20
PATTERNS_PRINTED = 10
ALIKE_PRINTED = 3
"""problems of one kind, and lines of one warning"""
KINDS_PRINTED = 20
_VARYING = re.compile(r"""\d+|'[^']*'|"[^"]*\"""")  # in which problems of one kind differ
# What common templates put around turns; a tokenizer's own special tokens count as well.
MARKERS = re.compile(r"<\|[^<>|\s]{1,40}\|>|<｜[^<>｜]{1,40}｜>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</?s>")
ENDINGS = frozenset(".!?…。！？｡؟۔।॥;%>`\"'")
# Closing brackets and quotes, digits and other numbers, pictographs with their skin tones and key caps.
ENDING_CATEGORIES = frozenset({"Pe", "Pf", "Nd", "Nl", "No", "So", "Sk", "Me"})
EMOJI_JOINERS = "\ufe0f\u200d"


@dataclass(frozen=True)
class TokenLengths:
    """Lengths in tokens over all rows that render, before truncation; NaN if there are none."""

    median: float
    p95: float
    maximum: float
    exceeding: int | None  # rows longer than max_length; None without one
    label_share: float  # tokens with a label / all tokens


@dataclass(frozen=True)
class Warned:
    """One thing that is worth a look, and where it stands."""

    what: str
    rows: int
    first: tuple[str, ...]  # origins of the first ALIKE_PRINTED rows


@dataclass(frozen=True)
class CheckReport:
    """What was found in one data set; counts are of rows."""

    spec: str
    rows: int  # good and bad
    roles: dict[str, int]  # "system,user,assistant" -> rows, the most frequent first
    duplicates: int  # rows whose messages stood in an earlier row
    repeats: tuple[str, ...]  # "origin repeats earlier origin", the first REPEATS_LISTED
    empty_answers: int  # bad rows whose fault is an assistant turn without text
    truncated_share: float  # of the good rows, those whose last answer is probably truncated; NaN if there are none
    tokens: TokenLengths | None  # None without a tokenizer
    warnings: tuple[Warned, ...]  # most rows first
    problems: tuple[str, ...]  # "file:line: message" for every bad row

    @property
    def ok(self) -> bool:
        """Whether every row can be trained on."""
        return not self.problems


def check(spec: str, tokenizer: "PreTrainedTokenizerBase | None" = None, max_length: int | None = None) -> CheckReport:
    """Look at every row of ``spec`` (as :func:`~ringfence.data.conversations.read` takes it).

    Raises :class:`RingfenceError` only where there are no rows to look at (no such file, say) or where
    ``tokenizer`` has no chat template; a row that the template refuses is a problem of that row.
    """
    if tokenizer is not None:
        require_template(tokenizer)
    good: list[Conversation] = []
    bad: list[Problem] = []
    rendered: list[Rendered] = []
    noticed: dict[str, dict[str, None]] = {}  # what -> origins, in order
    markers = _markers(tokenizer)
    for found in scan(spec, lambda origin, key: _notice(noticed, f"the key {shown(key)} twice in an object", origin)):
        if isinstance(found, Problem):
            bad.append(found)
            continue
        if tokenizer is not None:
            try:
                rendered.append(render(found["messages"], tokenizer))
            except RingfenceError as error:
                bad.append(Problem(found["origin"], str(error)))
                continue
        good.append(found)
        for marker in {one for message in found["messages"] for one in markers.findall(message["content"])}:
            _notice(noticed, f"the chat marker {marker} inside a message, read as plain text", found["origin"])
    repeats = _repeats(good)
    return CheckReport(
        spec=spec,
        rows=len(good) + len(bad),
        roles=dict(Counter(",".join(m["role"] for m in row["messages"]) for row in good).most_common()),
        duplicates=len(repeats),
        repeats=tuple(repeats[:REPEATS_LISTED]),
        empty_answers=sum(problem.empty_answer for problem in bad),
        truncated_share=_mean([looks_truncated(_last_answer(row["messages"])) for row in good]),
        tokens=None if tokenizer is None else _token_lengths(rendered, max_length),
        warnings=tuple(
            Warned(what, len(origins), tuple(islice(origins, ALIKE_PRINTED)))
            for what, origins in sorted(noticed.items(), key=lambda item: -len(item[1]))
        ),
        problems=tuple(map(str, bad)) if good or bad else (f"{spec}: there are no conversations in it",),
    )


def looks_truncated(answer: str) -> bool:
    """Whether ``answer`` probably stops before its end, by the module's heuristic."""
    text = answer.rstrip().rstrip("*_").rstrip().rstrip(EMOJI_JOINERS)
    if not text or text.count("```") % 2:
        return True
    return text[-1] not in ENDINGS and unicodedata.category(text[-1]) not in ENDING_CATEGORIES


def render_report(console: Console, report: CheckReport, everything: bool = False) -> None:
    """Print ``report``: a table of what was found, then repeated rows, warnings and problems.

    Of problems that differ in numbers and quoted words only, the first :data:`ALIKE_PRINTED`, or ``everything``.
    """
    say(console, report.spec)
    table = Table(show_header=False)
    for name, value in _lines(report):
        table.add_row(name, escape(value))
    console.print(table)
    for repeat in report.repeats:
        say(console, f"duplicate: {_within(report.spec, repeat)}")
    if report.duplicates > len(report.repeats):
        say(console, f"... and {report.duplicates - len(report.repeats)} more duplicates")
    for warned in report.warnings:
        say(console, f"warning: {warned.what}, in {warned.rows:,} rows; the first: {', '.join(warned.first)}")
    for line in report.problems if everything else _by_kind(report.problems):
        say(console, line if line.startswith("...") else f"problem: {line}")
    verdict = "[green]no problems[/green]" if report.ok else f"[red]problems: {len(report.problems):,}[/red]"
    console.print(verdict)


def _within(spec: str, text: str) -> str:
    """``text`` with its origins as they are called under the title ``spec``: ``line 3`` for ``spec:3``."""
    unit = "line" if spec.endswith(".jsonl") else "row"
    return text.replace(f"{Path(spec)}:", f"{unit} ")


def _by_kind(problems: Sequence[str]) -> Iterator[str]:
    """The first few problems of each kind, and how many more there are."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(_VARYING.sub("", problem), []).append(problem)
    for alike in list(kinds.values())[:KINDS_PRINTED]:
        yield from alike[:ALIKE_PRINTED]
        if len(alike) > ALIKE_PRINTED:
            yield f"... and {len(alike) - ALIKE_PRINTED:,} more like it; --all prints them"
    if others := list(kinds.values())[KINDS_PRINTED:]:
        yield f"... and {sum(map(len, others)):,} problems of {len(others):,} other kinds; --all prints them"


def _markers(tokenizer: "PreTrainedTokenizerBase | None") -> re.Pattern[str]:
    """Finds what a chat template, above all that of ``tokenizer``, puts around turns."""
    own = [] if tokenizer is None else sorted(map(re.escape, special_texts(tokenizer)), key=len, reverse=True)
    return re.compile("|".join([*own, MARKERS.pattern]))


def _notice(noticed: dict[str, dict[str, None]], what: str, origin: str) -> None:
    noticed.setdefault(what, {})[origin] = None


def _lines(report: CheckReport) -> Iterable[tuple[str, str]]:
    """Name and value of each line of the table."""
    yield "rows", str(report.rows)
    for pattern, count in list(report.roles.items())[:PATTERNS_PRINTED]:
        yield f"  {pattern}", str(count)
    if len(report.roles) > PATTERNS_PRINTED:
        yield "  other patterns of roles", str(sum(list(report.roles.values())[PATTERNS_PRINTED:]))
    yield "duplicates", str(report.duplicates)
    yield "empty answers", str(report.empty_answers)
    yield "probably truncated answers", _figure(report.truncated_share, ".1%")
    if report.tokens is not None:
        lengths = report.tokens
        yield "tokens, median", _figure(lengths.median, ".0f")
        yield "tokens, 95th percentile", _figure(lengths.p95, ".0f")
        yield "tokens, longest", _figure(lengths.maximum, ".0f")
        if lengths.exceeding is not None:
            yield "rows over max_length", str(lengths.exceeding)
        yield "tokens with a label", _figure(lengths.label_share, ".1%")


def _figure(value: float, form: str) -> str:
    """``value``; NaN, which is of no rows, in words."""
    return "no rows" if math.isnan(value) else format(value, form)


def _repeats(rows: list[Conversation]) -> list[str]:
    """A line for each row whose messages are exactly those of an earlier one."""
    first: dict[tuple[tuple[str, str], ...], str] = {}
    lines = []
    for row in rows:
        key = tuple((message["role"], message["content"]) for message in row["messages"])
        if key in first:
            lines.append(f"{row['origin']} repeats {first[key]}")
        else:
            first[key] = row["origin"]
    return lines


def _last_answer(messages: list[Message]) -> str:
    return next(message["content"] for message in reversed(messages) if message["role"] == "assistant")


def _mean(values: list[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _token_lengths(rows: list[Rendered], max_length: int | None) -> TokenLengths:
    if not rows:
        nan = float("nan")
        return TokenLengths(nan, nan, nan, None if max_length is None else 0, nan)
    lengths = np.array([len(row.input_ids) for row in rows])  # (rows,)
    labelled = sum(label != IGNORED for row in rows for label in row.labels)
    return TokenLengths(
        median=float(np.median(lengths)),
        p95=float(np.percentile(lengths, 95)),
        maximum=float(lengths.max()),
        exceeding=None if max_length is None else int((lengths > max_length).sum()),
        label_share=labelled / int(lengths.sum()),
    )
