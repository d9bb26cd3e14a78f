"""A sweep laid out: the recipe of each of its runs, by name. Nothing is run, and no weights are loaded.

A run is called by its levels, in the order of the grid: ``legal-kl``, with several seeds ``legal-kl-s42``. What stands
for all seeds of one place in the grid is its *row*, ``legal-kl``; without the axes that are ``averaged``, ``kl``.
"""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from ringfence.core.errors import RingfenceError, did_you_mean, error_prefix
from ringfence.core.settings import assign, read_plain
from ringfence.evaluate.presets import find_preset
from ringfence.recipe.inputs import run_inputs
from ringfence.recipe.run import Recipe, parse_recipe
from ringfence.sweep.config import BASE, Level, SweepConfig, load_inputs, load_sweep
from ringfence.sweep.filling import filled
from ringfence.sweep.sources import Sources
from ringfence.sweep.toy import Toy

MOST_RUNS = 10_000
"""a larger grid is taken for a mistake"""
_MODELS = ("model", "reference")


@dataclass(frozen=True)
class SweepRun:
    """One run."""

    name: str
    row: str
    """its name without the seed and without the axes that are averaged"""
    recipe: Recipe
    levels: Mapping[str, str]
    """axis -> name of the level"""
    base: bool
    """the untuned model of the recipe, which is evaluated only"""


@dataclass(frozen=True)
class SweepPlan:
    """A checked sweep."""

    path: Path
    config: SweepConfig
    runs: tuple[SweepRun, ...]
    """in the order of the grid, the last axis and then the seeds changing fastest"""
    sources: Sources
    """where the files come from that its recipes name"""
    toy: Toy | None = None
    """the scale, if it is not the sweep's own: :mod:`ringfence.sweep.toy_plan`"""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """run or set -> why it is not there at that scale"""

    @classmethod
    def load(cls, path: Path, most_runs: int | None = MOST_RUNS) -> Self:
        """Read the sweep in ``path`` and all recipes that it names, and check each run's recipe.

        ``most_runs``: null for no bound. Raises :class:`RingfenceError` naming file and key, or the run.
        """
        return cls._load(path, most_runs, ())

    @classmethod
    def _load(cls, path: Path, most_runs: int | None, within: tuple[Path, ...]) -> Self:
        if path.resolve() in within:
            raise RingfenceError(f"{path}: a cycle: its `sweeps` lead back to it")
        config = load_sweep(path)
        if most_runs is not None and config.size > most_runs:
            raise RingfenceError(
                f"{path}: grid: {config.size:,} runs, more than {most_runs:,}; make it smaller, or say --yes if they "
                "are meant"
            )
        inner = [cls._load(path.parent / one, most_runs, (*within, path.resolve())) for one in config.sweeps]
        runs = _united([list(_expanded(config, path)), *(one.runs for one in inner)], path)
        if config.sweeps:
            runs = tuple(replace(run, row=_row(run.levels, config.averaged) or run.row) for run in runs)
        inputs = load_inputs(config, path)
        for one in inner:
            inputs = one.sources.inputs | inputs
        plan = cls(path, config, runs, Sources(inputs, path))
        plan._require_known_runs()
        return plan

    @property
    def table(self) -> str:
        """What it is called in lists and in ``published.csv``: its file's name; at the toy scale with ``.toy``."""
        return self.path.stem if self.toy is None else f"{self.path.stem}.toy"

    @property
    def rows(self) -> tuple[str, ...]:
        """The places of its grid, or the names of its sets."""
        return tuple(dict.fromkeys(run.row for run in self.runs)) or tuple(self.config.sets)

    def reads(self, runs: Sequence[SweepRun] | None = None) -> dict[str, None]:
        """What the recipes of ``runs`` name, by default of all: data sets, suites, vectors, adapters.

        Models of the hub are left out.
        """
        found = dict[str, None]()
        for run in self.runs if runs is None else runs:
            models = {one.name for one in (run.recipe.model, run.recipe.reference) if one is not None}
            found |= dict.fromkeys(name for name in run_inputs(run.recipe) if name not in models)
        direction = [] if self.config.direction is None else [self.config.direction]
        return found | dict.fromkeys([*self.config.sets.values(), *direction])

    def missing(self, runs: Sequence[SweepRun] | None = None) -> list[str]:
        """One line for each file that is not there and that nothing makes: which, where from, how to check."""
        return self.sources.missing(self.reads(runs))

    def _require_known_runs(self) -> None:
        names = {run.name for run in self.runs}
        for name in self.reads():
            found = self.sources.find(name)
            wanted = None if found is None else found.input.run
            if wanted is not None and wanted not in names:
                near = did_you_mean(wanted, names)
                raise RingfenceError(f"{self.path}: inputs: {name}: no run is called {wanted!r}.{near}")


@dataclass(frozen=True)
class _Place:
    """A place in the grid with a seed."""

    name: str
    row: str
    levels: Mapping[str, str]
    chosen: Sequence[Level]
    seed: int


def _places(config: SweepConfig) -> Iterator[_Place]:
    if config.recipe is None:
        return
    axes = [_levels(axis, levels) for axis, levels in config.grid.items()]
    for chosen in itertools.product(*axes):
        levels = dict(zip(config.grid, (name for name, _ in chosen), strict=True))
        full = _row(levels, ()) or Path(config.recipe).stem
        for seed in config.seeds:
            name = f"{full}-s{seed}" if len(config.seeds) > 1 else full
            yield _Place(name, _row(levels, config.averaged) or full, levels, [one for _, one in chosen], seed)


def run_names(path: Path) -> tuple[str, ...]:
    """The names of the sweep's runs, each once; recipes are not read, and what is wrong in them is not seen."""
    config = load_sweep(path)
    inner = [run_names(path.parent / one) for one in config.sweeps]
    return tuple(dict.fromkeys([*(place.name for place in _places(config)), *itertools.chain(*inner)]))


def _expanded(config: SweepConfig, path: Path) -> Iterator[SweepRun]:
    if config.recipe is None:
        return
    there = path.parent / config.recipe
    plain = read_plain(there, names=_MODELS)
    preset = find_preset(config.preset) if config.preset is not None else None
    for place in _places(config):
        changed = copy.deepcopy(plain) | {"seed": place.seed, "name": place.name}
        texts = {**place.levels, "seed": str(place.seed)}
        with error_prefix(f"{path}: run {place.name}"):
            for changes in (config.changes, *(one for one in place.chosen if isinstance(one, dict))):
                for key, value in changes.items():
                    assign(changed, key, filled(value, texts), _MODELS)
            recipe = parse_recipe(changed, there.name)
        recipe = recipe if preset is None else recipe.with_preset(preset)
        yield SweepRun(place.name, place.row, recipe, place.levels, BASE in place.chosen)


def _row(levels: Mapping[str, str], averaged: Sequence[str]) -> str:
    return "-".join(level for axis, level in levels.items() if axis not in averaged)


def _levels(axis: str, levels: Mapping[str, Level] | list[Any]) -> list[tuple[str, Level]]:
    """Name and changes of each level; of a list of values each is called ``KEY-VALUE`` by the key's last part."""
    if isinstance(levels, list):
        return [(f"{axis.rpartition('.')[2]}-{value}", {axis: value}) for value in levels]
    return list(levels.items())


def _united(parts: Sequence[Sequence[SweepRun]], path: Path) -> tuple[SweepRun, ...]:
    """The runs of all sweeps, each once.

    Raises :class:`RingfenceError` for two of one name: in one grid, and in two unless they are the same.
    """
    found = dict[str, SweepRun]()
    for part in parts:
        own = set[str]()
        for run in part:
            before = found.setdefault(run.name, run)
            if run.name in own or (before.recipe, before.base) != (run.recipe, run.base):
                raise RingfenceError(f"{path}: two runs are called {run.name!r}; rename a level of one of them")
            own.add(run.name)
    return tuple(found.values())
