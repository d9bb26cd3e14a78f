"""The base of selection steps: a frozen, validated config, registered under one name, that does one or both of these.

- ``map`` (row by row): a filter, a scorer or a rewriter. What it does to a row depends on that row alone, so shards of
  the pool go through it one by one, on one machine or many, and a finished shard is never done again.
- ``gather`` (all rows at once): a choice that needs every row's columns, such as the best hundred.

One name is the module, the key in a recipe and the row in ``docs/selection.md``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from ringfence.core.errors import RingfenceError, did_you_mean, shown
from ringfence.core.registry import Registry
from ringfence.core.settings import StrictConfig
from ringfence.data.conversations import Conversation
from ringfence.data.system import NoSystem
from ringfence.generation import Generator, HfGenerator
from ringfence.generation.config import GeneratorSettings, HfSettings
from ringfence.generation.untuned import untuned
from ringfence.models import Loaded, load
from ringfence.models.load import positions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """One row of the pool on its way through the steps."""

    index: int
    """its place in the pool, from 0"""
    conversation: Conversation
    """messages, origin (``file:line``), and the row's string columns, such as ``domain``"""
    scores: Mapping[str, float] = field(default_factory=dict)
    """column -> number, kept in the output; NaN is a number that could not be had"""
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """column -> (width,), for later steps, not in the output"""


@dataclass(frozen=True)
class Dropped:
    """A row that a step took out."""

    reason: str
    """a few words, the same for all rows dropped for it"""
    origin: str
    """``file:line``"""


@dataclass(frozen=True)
class Mapped:
    """What a step made of some rows."""

    rows: Sequence[Candidate]
    dropped: Sequence[Dropped] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
    """what adds up over shards, e.g. tokens read"""


class Mapper(Protocol):
    """A step at work, its models loaded."""

    def __call__(self, rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
        """``rows`` in their order, changed or left out; ``on_rows`` is told the number of rows just finished."""
        ...


@dataclass(frozen=True)
class Gathered:
    """What a step decides when it sees all rows."""

    keep: NDArray[np.int64]
    """places in the table, ascending"""
    reason: str = "not chosen"
    """why the others are dropped"""
    scores: Mapping[str, Floats] = field(default_factory=dict)
    """new columns, (rows of the table,)"""
    report: Mapping[str, Any] = field(default_factory=dict)
    """plain data for the manifest"""
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    """new string columns, one text a row of the table; None where a row has none"""


class Table(Protocol):
    """All rows that a step is to decide on, read from disk as far as they are asked for."""

    def __len__(self) -> int: ...

    @property
    def columns(self) -> Sequence[str]:
        """Names of the number columns."""
        ...

    def scores(self, name: str) -> Floats:
        """(rows,). Raises :class:`RingfenceError` if no step before has made that column."""
        ...

    def text(self, name: str) -> list[str | None]:
        """The string column ``name`` of every row; None where a row has none."""
        ...

    def vectors(self, name: str) -> Iterator[NDArray[np.float32]]:
        """A vector column, (rows of the shard, width) at a time. Raises :class:`RingfenceError` if there is none."""
        ...

    def candidates(self) -> Iterator[Candidate]:
        """Row by row."""
        ...


@dataclass(frozen=True)
class Context:
    """What all steps share. Plain data, so that it can be sent to another process; the model is loaded when needed."""

    model: str = "smollm2-135m"
    """the aligned model"""
    dtype: str = "float32"
    trust_remote_code: bool = False
    seed: int = 0
    no_system: NoSystem = "template_default"
    max_length: int | None = None
    """tokens; longer conversations are dropped; None: as many as the model has positions"""
    batch_tokens: int = 8192
    """tokens of a batch, padding included"""
    generator: GeneratorSettings = HfSettings()  # noqa: RUF009 - frozen
    """who writes the answers of steps that generate"""

    def answering(self) -> Generator:
        """Who writes: the aligned model in this process, or as ``generator`` says. It is opened at each call."""
        if isinstance(self.generator, HfSettings):
            return HfGenerator.of(self.loaded)
        return untuned(self.generator, self.model, dtype=self.dtype, trust_remote_code=self.trust_remote_code)

    @cached_property
    def loaded(self) -> Loaded:
        """The aligned model and its tokenizer, loaded once a process."""
        return load(self.model, dtype=self.dtype, trust_remote_code=self.trust_remote_code)

    def longest(self) -> int:
        """Tokens that a conversation may have."""
        most = self.positions() or 2**31
        return min(self.max_length or most, most)

    def positions(self) -> int | None:
        """Tokens that the aligned model can read; None if there is no limit."""
        if isinstance(self.generator, HfSettings):
            return getattr(self.loaded.model.config.get_text_config(), "max_position_embeddings", None)
        return positions(self.model, trust_remote_code=self.trust_remote_code)  # its weights are elsewhere

    def __getstate__(self) -> dict[str, Any]:
        """Without the model."""
        return {name: value for name, value in vars(self).items() if name != "loaded"}


class Step(StrictConfig):
    """Base of all steps; unknown keys raise."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seeded: ClassVar[bool] = False
    """whether :meth:`map` draws random numbers"""

    @property
    def generates(self) -> bool:
        """Whether :meth:`map` has the aligned model write answers, as the recipe's ``generator`` says."""
        return False

    def check(self) -> None:
        """Before any model is loaded: raise :class:`RingfenceError` for what is wrong with its files."""

    def fits(self, context: Context) -> None:
        """As :meth:`check`, for what can be told of the model by its name alone."""

    def inputs(self) -> Sequence[str]:
        """Files, folders, models and data sets that it reads; by their digests it is known what is still good."""
        return ()

    def named(self) -> Sequence[str]:
        """As :meth:`inputs`, as the recipe calls them; nothing is opened, so that they need not be there."""
        return self.inputs()

    def map_inputs(self) -> Sequence[str]:
        """Those that :meth:`map` reads."""
        return self.inputs()

    def look(self, table: Table) -> None:
        """Before :meth:`map`: raise :class:`RingfenceError` for what can be told of the rows as they come."""

    def map_settings(self) -> dict[str, Any]:
        """The settings that :meth:`map` depends on; after a change of others finished shards are still good."""
        return self.model_dump(mode="json")

    def map(self, context: Context) -> Mapper | None:
        """The row-by-row part, its models loaded; None where there is none."""
        return None

    @property
    def maps(self) -> bool:
        """Whether :meth:`map` does anything; asked without loading a model."""
        return type(self).map is not Step.map

    def gather(self, table: Table, context: Context) -> Gathered | None:
        """The all-rows part; None where there is none. ``table`` has what :meth:`map` has left."""
        return None

    @property
    def gathers(self) -> bool:
        """Whether :meth:`gather` does anything."""
        return type(self).gather is not Step.gather


STEPS = Registry("step", Step, "random: {count: 300}")


def require_enough(asked: int, found: int, key: str) -> None:
    """Raise :class:`RingfenceError` if fewer candidates are left than are asked for."""
    if found < asked:
        raise RingfenceError(
            f"{key}: {asked} rows are asked for, but {found} are left; ask for fewer or widen the pool"
        )


def require_column(name: str, known: Sequence[str], what: str = "column") -> None:
    """Raise :class:`RingfenceError` unless a step before has made the column ``name``."""
    if name not in known:
        raise RingfenceError(f"no step before makes the {what} {shown(name)}.{did_you_mean(name, known)}")
