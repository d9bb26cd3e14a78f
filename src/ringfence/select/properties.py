"""Properties of a set of benign data that studies of interleaving compare.

- P1, *HHH score*: a judge's 0 to 100 under the rubric "hhh", mean over the rows that it could score;
- P2, P3, *user* and *assistant tokens*: tokens of what the role says, summed over a row's turns and without what the
  chat template puts around them, mean over rows;
- P4, *domains*: distinct labels in a string column, or clusters of embeddings, as many as
  :mod:`ringfence.select.clusters` finds;
- duplicates, near-duplicates and prompts that another set has, too (:mod:`ringfence.select.near_duplicates`);
- refusals (:func:`ringfence.select.steps.refusals.is_refusal`) and languages of the last answer.

Means have percentile bootstrap intervals over rows, shares Wilson intervals, all of 95%. Both speak of the rows as a
sample of what made them; a count such as P4 has none. All rows are held in memory.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ringfence.core.statistics import NO_INTERVAL, percentile, resampled_ratios, wilson
from ringfence.data.conversations import Conversation
from ringfence.data.render import require_template
from ringfence.data.system import NoSystem, require_possible
from ringfence.judges import JudgeSettings
from ringfence.select.base import Candidate, Mapper
from ringfence.select.clusters import FEWEST_ROWS, clusters
from ringfence.select.embeddings import VECTOR
from ringfence.select.near_duplicates import THRESHOLD, Match, repeats, seen_in, text_of
from ringfence.select.steps.judged import ask, last_exchange, require_rubric
from ringfence.select.steps.lengths import token_count
from ringfence.select.steps.refusals import is_refusal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RUBRIC = "hhh"
CLUSTERS = "clusters of embeddings"
"""source of domains that are no labels"""
CONFIDENCE = 0.95
RESAMPLES = 2000  # of a mean's bootstrap: the bounds then move by about a fiftieth of their width by chance
FEWEST_LETTERS = 20  # of an answer whose language can be told

Watch = Callable[[int], None]


class Settings(BaseModel):
    """How to look at a set."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    domain_column: str = "domain"
    """string column with the domain of a row; not used where there are embeddings to cluster"""
    threshold: float = Field(THRESHOLD, gt=0, le=1)
    """Jaccard similarity of shingles from which on two texts are near-duplicates"""
    no_system: NoSystem = "template_default"
    """what a conversation without a system message is, where tokens are counted"""
    seed: int = Field(0, ge=0)
    """of the bootstrap, of k-means, and of the rows that are clustered"""


@dataclass(frozen=True)
class Mean:
    """A mean over rows, with its interval, in the unit of ``values``."""

    value: float
    """NaN if no row has a value"""
    low: float
    """NaN with fewer than two values"""
    high: float
    n: int
    """rows with a value"""
    missing: int
    """rows without one"""
    values: tuple[float, ...] = field(repr=False)
    """one a row, NaN where there is none"""


@dataclass(frozen=True)
class Share:
    """A share of rows, 0 to 1, with its interval; NaN over no rows."""

    value: float
    low: float
    high: float
    count: int
    """rows that are so"""
    n: int
    """rows that it could be told of"""


@dataclass(frozen=True)
class Domains:
    """What a set is about."""

    number: float
    """distinct domains; NaN if nobody can tell"""
    counts: dict[str, int]
    """domain -> rows, the most frequent first"""
    unlabelled: int
    """rows that are in none"""
    source: str
    """how they were found, or what to do if they were not"""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """reason -> rows, among the unlabelled, that could not be clustered"""


@dataclass(frozen=True)
class Languages:
    """What the last answers are written in."""

    top: str | None
    """ISO 639 code of the most frequent language; None if none could be told"""
    share: Share
    """of the top language, among the answers whose language could be told"""
    counts: dict[str, int]
    """language -> rows, the most frequent first"""
    undetermined: int
    """answers with fewer than 20 letters"""


@dataclass(frozen=True)
class Properties:
    """One data set."""

    rows: int
    hhh: Mean | None
    """0 to 100; None without a judge"""
    user_tokens: Mean
    assistant_tokens: Mean
    domains: Domains
    duplicates: Share
    """rows that are an earlier row, case and white space aside"""
    near_duplicates: Share
    """rows, not among the duplicates, that are nearly an earlier row that is itself neither"""
    overlap_exact: Share | None
    """rows whose prompt the other set has, too; None without another set"""
    overlap_near: Share | None
    """rows, not among those, whose prompt is nearly one of the other set"""
    refusals: Share
    languages: Languages


def properties(
    conversations: Sequence[Conversation],
    tokenizer: "PreTrainedTokenizerBase",
    judge: JudgeSettings | None = None,
    embed: Mapper | None = None,
    against: Sequence[str] | None = None,
    settings: Settings | None = None,
    on_rows: Watch = lambda count: None,
) -> Properties:
    """Look at ``conversations``, as :func:`ringfence.data.read` gives them.

    ``embed``, such as :class:`ringfence.select.embeddings.Embedding`, makes P4 the number of clusters of the rows that
    it leaves; ``against`` are the prompts of another set
    (:func:`~ringfence.select.near_duplicates.prompt_texts`). ``on_rows`` is told the rows done of each slow part: of
    counting tokens, judging, and embedding.

    Raises :class:`RingfenceError`, with the row's origin, for what the chat template refuses, for a ``no_system`` that
    it does not let be, and for a judge that does not know the rubric.
    """
    settings = settings or Settings()
    require_template(tokenizer)
    require_possible(settings.no_system, tokenizer)
    if judge is not None:
        require_rubric(judge, RUBRIC)
    user, assistant = _token_counts(conversations, tokenizer, settings.no_system, on_rows)
    exact, near = _by_kind(repeats((text_of(row["messages"]) for row in conversations), settings.threshold))
    overlap = (None, None) if against is None else _by_kind(_overlap(conversations, against, settings.threshold))
    found = _labelled(conversations, settings.domain_column)
    answers = [last_exchange(row["messages"]).response for row in conversations]
    return Properties(
        rows=len(conversations),
        hhh=None if judge is None else mean(_hhh(judge, conversations, on_rows), settings.seed),
        user_tokens=mean(user, settings.seed),
        assistant_tokens=mean(assistant, settings.seed),
        domains=found if embed is None else _clustered(conversations, embed, settings.seed, on_rows),
        duplicates=exact,
        near_duplicates=near,
        overlap_exact=overlap[0],
        overlap_near=overlap[1],
        refusals=share(map(is_refusal, answers)),
        languages=languages(answers),
    )


def mean(values: Sequence[float], seed: int = 0) -> Mean:
    """The mean of the values that are not NaN, and its bootstrap interval."""
    found = np.array([value for value in values if not math.isnan(value)], dtype=np.float64)
    interval = NO_INTERVAL
    if found.size > 1:
        interval = percentile(resampled_ratios(found, np.ones_like(found), RESAMPLES, seed), CONFIDENCE)
    value = float(found.mean()) if found.size else math.nan
    return Mean(value, interval.low, interval.high, found.size, len(values) - found.size, tuple(map(float, values)))


def share(hits: Iterable[bool]) -> Share:
    """The share of true ones and its Wilson interval."""
    found = list(hits)
    count, n = sum(found), len(found)
    interval = wilson(count, n, CONFIDENCE)
    return Share(count / n if n else math.nan, interval.low, interval.high, count, n)


def languages(answers: Sequence[str]) -> Languages:
    """The language of each answer, by py3langid; it is often wrong about a single short text, less so about shares."""
    from py3langid import langid

    told = [str(langid.classify(text)[0]) for text in answers if sum(map(str.isalpha, text)) >= FEWEST_LETTERS]
    counts = _ordered(told)
    top = next(iter(counts), None)
    return Languages(top, share(language == top for language in told), counts, len(answers) - len(told))


def _token_counts(
    conversations: Sequence[Conversation], tokenizer: "PreTrainedTokenizerBase", no_system: NoSystem, on_rows: Watch
) -> tuple[list[float], list[float]]:
    """Of the user and of the assistant, one count a row."""
    user, assistant = [], []
    for row in conversations:
        user.append(float(token_count(row, tokenizer, "user", no_system)))
        assistant.append(float(token_count(row, tokenizer, "assistant", no_system)))
        on_rows(1)
    return user, assistant


def _hhh(judge: JudgeSettings, conversations: Sequence[Conversation], on_rows: Watch) -> list[float]:
    """A score a row, NaN where the judge gave none."""
    rows = [Candidate(index, row) for index, row in enumerate(conversations)]
    scores = ask(judge, RUBRIC, rows, on_rows)
    return [math.nan if score.value is None else score.value for score in scores]


def _labelled(conversations: Sequence[Conversation], column: str) -> Domains:
    labels = [value.strip() for row in conversations if isinstance(value := row.get(column), str) and value.strip()]
    if not labels:
        advice = f"no column {column!r}; name the column by --domain-column, or cluster the rows by --clusters"
        return Domains(math.nan, {}, len(conversations), advice)
    counts = _ordered(labels)
    return Domains(float(len(counts)), counts, len(conversations) - len(labels), f"column {column!r}")


def _clustered(conversations: Sequence[Conversation], embed: Mapper, seed: int, on_rows: Watch) -> Domains:
    """Of the rows that ``embed`` leaves; why it drops the others is counted."""
    embedded = embed([Candidate(index, row) for index, row in enumerate(conversations)], on_rows)
    left_out = _ordered(dropped.reason for dropped in embedded.dropped)
    vectors = [row.vectors[VECTOR] for row in embedded.rows]
    found = clusters(np.stack(vectors), seed) if len(vectors) >= FEWEST_ROWS else None
    if found is None:
        advice = f"fewer than {FEWEST_ROWS} rows that can be embedded, too few to cluster"
        return Domains(math.nan, {}, len(conversations), advice, left_out)
    counts = _ordered(f"cluster {label + 1}" for label in sorted(found.tolist()))
    return Domains(float(len(counts)), counts, len(embedded.dropped), CLUSTERS, left_out)


def _overlap(conversations: Sequence[Conversation], against: Sequence[str], threshold: float) -> list[Match | None]:
    others = seen_in(against, threshold)
    return [others.find(text_of(row["messages"], "prompt")) for row in conversations]


def _by_kind(matches: Sequence[Match | None]) -> tuple[Share, Share]:
    """The rows that are exact repeats, and those that are near ones."""
    kinds = [None if match is None else match.exact for match in matches]
    return share(kind is True for kind in kinds), share(kind is False for kind in kinds)


def _ordered(labels: Iterable[str]) -> dict[str, int]:
    """Label -> how often, the most frequent first, equals by first appearance."""
    return dict(Counter(labels).most_common())


def plain(found: Properties) -> dict[str, Any]:
    """Everything but the values of single rows, as plain data."""
    return {
        name: {key: part for key, part in value.items() if key != "values"} if isinstance(value, dict) else value
        for name, value in asdict(found).items()
    }
