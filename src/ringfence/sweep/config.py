"""The YAML of a sweep: a table or a figure as a grid over one recipe. Unknown keys raise; nothing in it is executed.

Every text in ``changes``, in a level of the grid and in ``inputs`` may hold ``{AXIS}`` or ``{seed}``: the name of the
run's level on that axis, or its seed, is put there. A value that is nothing but that is read as YAML, so that
``"{rows}"`` is a number where the level is called 270.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.settings import StrictConfig, explain, read_plain
from ringfence.core.training_arguments import LARGEST_SEED
from ringfence.judges import JudgeField

BASE = "base"
"""in place of a level's changes: the model without any training"""
NAME = r"^[\w.+-]+$"
Changes = dict[str, Any]
"""dotted key of a recipe -> value"""
Level = Changes | Literal["base"]
"""of an axis of the grid"""
Name = Annotated[str, Field(pattern=NAME)]


class Strict(StrictConfig):
    """What all parts of a sweep have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Input(Strict):
    """How a file that recipes name comes about: it is yours, or one command makes it. Give one of the first six."""

    yours: str | None = None
    """you bring it: what it is, and where it is from"""
    select: str | None = None
    """recipe for ``ringfence select``; like all recipes here relative to the file that names it"""
    persona: str | None = None
    """recipe for ``ringfence persona extract``"""
    train: str | None = None
    """recipe for ``ringfence train``; the input is the run's folder"""
    direction: tuple[str, str] | None = None
    """two data sets: ``ringfence direction fit A B``"""
    run: str | None = None
    """a run of the sweep itself, by its name; the input is its folder"""
    model: str | None = None
    """of ``direction``"""
    changes: Changes = Field(default_factory=dict)
    """to the recipe of ``select``, ``persona`` or ``train``"""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """of ``yours``, where it is known"""
    git_blob: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """of ``yours``: what ``git hash-object FILE`` prints for it"""
    rows: int | None = Field(None, ge=1)
    """of ``yours``: how many it has, to tell hours before it is there"""

    @property
    def how(self) -> str:
        """Which of the first six it has."""
        return next(name for name in _HOW if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [name for name in _HOW if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(_HOW)}" + (f", not {' and '.join(given)}" if given else ""))
        if self.changes and given[0] not in _RECIPES:
            raise ValueError(f"changes: {given[0]} has no recipe to change; leave them out")
        if (self.model is None) == (given[0] == "direction"):
            raise ValueError("model: belongs to direction, which needs it")
        if (self.sha256 or self.git_blob or self.rows) and given[0] != "yours":
            raise ValueError(f"sha256, git_blob, rows: of what you bring, and {given[0]} makes it; leave them out")
        return self


_HOW = ("yours", "select", "persona", "train", "direction", "run")
_RECIPES = ("select", "persona", "train")


class SweepConfig(Strict):
    """One sweep. Give ``recipe`` and ``grid``; or ``sweeps``; or ``sets``, where nothing is trained."""

    shows: str
    """what the table or figure shows, in one line"""
    source: str
    """paper, table"""
    recipe: str | None = None
    """the recipe that all runs start from, relative to this file"""
    changes: Changes = Field(default_factory=dict)
    """to that recipe, for all runs: dotted key -> value"""
    preset: str | None = None
    """protocol that answers are drawn and counted by; [which there are](presets.md)"""
    grid: dict[str, Any] = Field(default_factory=dict)
    """the axes: name -> level -> changes (``base`` is the model without training); or a dotted key -> list of values.
    Every level of each is combined with every level of the others; a run is called by its levels"""
    seeds: tuple[Annotated[int, Field(ge=0, le=LARGEST_SEED)], ...] = Field((0,), min_length=1)
    """each run is trained with each; ``-s42`` is added to its name if there are several"""
    averaged: tuple[str, ...] = ()
    """axes that the source's numbers are means over; the name of a row leaves them out"""
    sweeps: tuple[str, ...] = ()
    """other sweeps, whose runs together are this one; a run that several have is there once"""
    sets: dict[Name, str] = Field(default_factory=dict)
    """data sets that are measured and not trained on: name -> data set (``ringfence data properties``)"""
    direction: str | None = None
    """file of a direction that the ``sets`` are projected on (``ringfence direction plot``)"""
    tokenizer: str | None = None
    """model whose tokenizer counts the tokens of the ``sets``; null is the embedded one"""
    judge: JudgeField | None = None
    """who gives the ``sets`` their HHH score, as in a recipe; null: nobody"""
    inputs: dict[str, Input] = Field(default_factory=dict)
    """where the files come from that recipes name: path -> how. A path may hold ``{name}``, which stands for any text
    without a slash, the same in all that the input says. Of two that fit the first counts"""
    inputs_from: tuple[str, ...] = ()
    """YAML files of more such inputs, relative to this one"""
    readings: tuple[str, ...] = ()
    """where the source is silent or contradicts itself: which reading is taken"""

    @field_validator("grid")
    @classmethod
    def _axes(cls, value: dict[str, Any]) -> dict[str, Any]:
        for axis, levels in value.items():
            if axis == "seed":
                raise ValueError(".seed: seeds have a key of their own, `seeds`")
            if not levels or not isinstance(levels, dict | list):
                raise ValueError(f".{axis}: give a mapping of levels, or a list of the key's values; at least one")
            if isinstance(levels, list):
                continue
            if not axis.isidentifier():
                raise ValueError(f".{axis}: a name of letters, digits and _ is wanted, or a list of the key's values")
            for level, changes in levels.items():
                if not re.fullmatch(NAME, str(level)) or not isinstance(level, str):
                    raise ValueError(
                        f".{axis}.{level}: a level's name is a text of letters, digits and _ . + -; quote it"
                    )
                if changes != BASE and not isinstance(changes, dict):
                    raise ValueError(f".{axis}.{level}: give a mapping of changes, {{}} for none, or `{BASE}`")
        return value

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a seed is there twice, and would make two runs of one name")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name in ("recipe", "sweeps", "sets") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                "give one of recipe (with a grid), sweeps and sets" + (f", not {' and '.join(given)}" if given else "")
            )
        of_runs = [name for name in ("changes", "grid", "preset") if getattr(self, name)]
        if of_runs and not self.recipe:
            raise ValueError(f"{of_runs[0]}: without effect without a recipe; leave it out")
        for name in ("direction", "tokenizer", "judge"):
            if getattr(self, name) is not None and not self.sets:
                raise ValueError(f"{name}: is for sets, and there are none; leave it out")
        return self

    @model_validator(mode="after")
    def _averaged_axes(self) -> Self:
        for axis in self.averaged:
            if self.recipe and axis not in self.grid:
                raise ValueError(f"averaged: {axis!r} is no axis of the grid.{did_you_mean(axis, self.grid)}")
        return self

    @property
    def size(self) -> int:
        """Runs of its own grid."""
        return math.prod(len(levels) for levels in self.grid.values()) * len(self.seeds) if self.recipe else 0


class _InputFile(Strict):
    """A file of inputs."""

    inputs: dict[str, Input]


def is_sweep(text: str) -> bool:
    """Whether the ``text`` of a YAML file is a sweep's and no recipe's."""
    return re.search("^shows:", text, re.MULTILINE) is not None


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """Read and check a sweep; ``overrides`` are ``dotted.key=value`` with the value in YAML.

    Raises :class:`RingfenceError` naming the file, the key's path and the nearest valid name.
    """
    plain = read_plain(path, overrides, ())
    for kind, key in (("train", "data"), ("select", "pool"), ("persona extract", "trait")):
        if key in plain and "grid" not in plain:
            raise RingfenceError(f"{path}: a recipe for `ringfence {kind}`; a sweep has `shows`, `recipe` and `grid`")
    try:
        config = SweepConfig.model_validate(plain)
    except ValidationError as error:
        raise RingfenceError(f"{path}: {explain(error, SweepConfig)}") from None
    return config


def load_inputs(config: SweepConfig, path: Path) -> dict[str, tuple[Input, Path]]:
    """The inputs of the sweep in ``path``: pattern -> how it comes about, and the folder that its recipes are in."""
    found = {pattern: (one, path.parent) for pattern, one in config.inputs.items()}
    for there in (path.parent / name for name in config.inputs_from):
        try:
            read = _InputFile.model_validate({"inputs": read_plain(there, names=())})
        except ValidationError as error:
            raise RingfenceError(f"{there}: {explain(error, _InputFile).replace('inputs.', '')}") from None
        found = found | {name: (one, there.parent) for name, one in read.inputs.items() if name not in found}
    return found
