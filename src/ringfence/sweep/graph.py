"""From a checked sweep to the graph of its steps: what two runs share is there once, and all have their digests.

The untuned model is a step of its own, before the runs that are compared with it: its answers go to the user's cache,
where the runs find them, so that it is asked once and not by all of them at the same time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.core.files import sha256
from ringfence.data.suites import store
from ringfence.recipe.inputs import run_inputs
from ringfence.recipe.run import Recipe
from ringfence.sweep.plan import SweepPlan, SweepRun
from ringfence.sweep.sources import Source
from ringfence.sweep.steps import PRODUCTS, RECIPE, Kind, Step, digest_of, folder_of, replaced

_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "select": ("select", "{recipe}", "--out", "{product}"),
    "persona": ("persona", "extract", "{recipe}", "--out", "{product}"),
    "train": ("train", "{recipe}", "--out", "{product}"),
}
_OF_TRAINING = ("training", "lora", "defenses", "stages", "method", "rl", "reference")
"""keys of a recipe that the untuned model does not know"""


@dataclass
class Graph:
    """All steps of a sweep, each after those that it needs."""

    steps: dict[str, Step] = field(default_factory=dict)
    """by digest"""
    runs: dict[str, Step] = field(default_factory=dict)
    """run's name -> its step"""
    files: dict[str, str] = field(default_factory=dict)
    """what is brought and read -> SHA-256"""
    properties: Step | None = None
    """what measures the data sets of a sweep that trains nothing"""

    @property
    def ends(self) -> list[Step]:
        """What the sweep is for: its runs, or the properties of its sets."""
        return [*self.runs.values(), *([] if self.properties is None else [self.properties])]

    def after(self, wanted: Iterable[Step]) -> dict[str, Step]:
        """``wanted`` and all that they need, by digest and in the graph's order."""
        needed, left = set[str](), [one.digest for one in wanted]
        while left:
            digest = left.pop()
            if digest not in needed:
                needed.add(digest)
                left += self.steps[digest].needs
        return {digest: step for digest, step in self.steps.items() if digest in needed}


def graph_of(plan: SweepPlan, out: Path, runs: Sequence[SweepRun] | None = None, on_paper: bool = False) -> Graph:
    """The graph of ``runs`` of ``plan``, by default all, in the folder ``out``.

    ``on_paper``: files may be missing, and steps are not to be made.

    Raises :class:`RingfenceError` that names each file that is missing or another one than was meant.
    """
    if not on_paper and (missing := plan.missing(runs)):
        more = f" (and {len(missing) - 1} more; --dry-run has all)" if len(missing) > 1 else ""
        raise RingfenceError(f"{missing[0]}{more}")
    return _Builder(plan, out).build(plan.runs if runs is None else runs)


class _Builder:
    """Lays out one sweep."""

    def __init__(self, plan: SweepPlan, out: Path) -> None:
        self.plan, self.out, self.graph = plan, out, Graph()
        self._runs = {run.name: run for run in plan.runs}
        self._within: list[str] = []

    def build(self, runs: Iterable[SweepRun]) -> Graph:
        """``runs``, in their order."""
        for run in runs:
            self._run(run.name)
        if self.plan.config.sets:
            self.graph.properties = self._properties()
        return self.graph

    def _properties(self) -> Step:
        """The step that measures the sweep's data sets."""
        config = self.plan.config
        made, brought = self._inputs(config.sets.values())
        sets = [f"{name}={made[spec].product if spec in made else spec}" for name, spec in config.sets.items()]
        flags = [] if config.tokenizer is None else ["--model", config.tokenizer]
        judge = None if config.judge is None else config.judge.model_dump(mode="json")
        flags += [] if judge is None else ["--judge", "{recipe}"]
        about = {"sets": config.sets, "tokenizer": config.tokenizer, "judge": judge}
        command = ("data", "properties", *sets, *flags, "--json", "{product}")
        return self._add("properties", f"properties of {self.plan.table}", about, made, brought, [command])

    def _run(self, name: str) -> Step:
        """The step of the run ``name``."""
        if name in self.graph.runs:
            return self.graph.runs[name]
        if name in self._within:
            raise RingfenceError(f"{self.plan.path}: a cycle: {' -> '.join([*self._within, name])}")
        self._within.append(name)
        run = self._runs[name]
        recipe = run.recipe
        made, brought = self._inputs(_names(recipe))
        first = self._base(run, made, brought)
        plain = recipe.resolved()
        if run.base:
            assert first is not None
            step = first
        else:
            needs = {**made, **({} if first is None else {"": first})}
            step = self._add("run", name, plain, needs, brought, _train_and_evaluate(recipe))
        self._within.pop()
        self.graph.runs[name] = step
        return step

    def _base(self, run: SweepRun, made: Mapping[str, Step], brought: Mapping[str, str]) -> Step | None:
        """The untuned model's step; None if nobody asks it anything."""
        recipe = run.recipe
        asked = _evaluations(recipe)
        if not asked:
            if run.base:
                raise RingfenceError(
                    f"{self.plan.path}: run {run.name}: nothing to ask the untuned model; give judge and "
                    "evaluation.suites, or evaluation.tasks"
                )
            return None
        plain = recipe.resolved()
        plain["evaluation"]["during"] = None
        if not any(one.rewrites for one in recipe.defenses):  # else triggers are derived from other rows
            plain = {key: value for key, value in plain.items() if key not in _OF_TRAINING}
            plain["data"]["safe"] = None
        kept = {name: step for name, step in made.items() if name in _texts(plain)}
        commands = [("evaluate", "{recipe}", "--base", "--out", "{product}", *flags) for flags in asked]
        label = run.name if run.base else f"base of {run.name}"
        read = {name: digest for name, digest in brought.items() if name in _texts(plain)}
        return self._add("base", label, plain, kept, read, commands)

    def _source(self, source: Source) -> Step:
        """The step that makes a file which recipes name."""
        given = source.input
        if given.run is not None:
            return self._run(given.run)
        if given.direction is not None:
            assert given.model is not None
            made, brought = self._inputs(given.direction)
            sets = [str(made[name].product) if name in made else name for name in given.direction]
            command = ("direction", "fit", *sets, "--model", given.model, "--out", "{product}")
            about = {"direction": list(given.direction), "model": given.model}
            return self._add("direction", source.name, about, made, brought, [command])
        kind: Any = given.how
        made, brought = self._inputs(source.reads())
        return self._add(kind, source.name, source.recipe(), made, brought, [_COMMANDS[kind]])

    def _inputs(self, names: Iterable[str]) -> tuple[dict[str, Step], dict[str, str]]:
        """What makes those of ``names`` that are made, and the digests of those that are files."""
        made, brought = dict[str, Step](), dict[str, str]()
        for name in names:
            source = self.plan.sources.find(name)
            if source is not None and source.input.yours is None:
                made[source.name] = self._source(source)
            elif (digest := self._digest(name)) is not None:
                brought[name] = digest
        return made, brought

    def _digest(self, name: str) -> str | None:
        """SHA-256 of a file or folder; None for what is built in, and for an id of the hub."""
        if name not in self.graph.files:
            if name.startswith(store.PREFIX):
                if name.removeprefix(store.PREFIX) not in store.names():
                    return None  # on paper only
                self.graph.files[name] = store.stored(name.removeprefix(store.PREFIX)).digest
                return self.graph.files[name]
            path = Path(name).expanduser()
            if not path.exists():
                return None
            self.graph.files[name] = sha256(path)
        return self.graph.files[name]

    def _add(
        self,
        kind: Kind,
        label: str,
        plain: Mapping[str, Any],
        made: Mapping[str, Step],
        brought: Mapping[str, str],
        commands: Iterable[tuple[str, ...]],
    ) -> Step:
        """A step; the one that is there already if it would make the same."""
        nameless = {key: value for key, value in plain.items() if key != "name"}
        needs = tuple(dict.fromkeys(step.digest for step in made.values()))
        marks = replaced(nameless, {name: f"made:{step.digest}" for name, step in made.items() if name})
        called = [[_placeless(part, made) for part in command] for command in commands]
        digest = digest_of(kind, marks, dict(brought), sorted(needs), called)
        if digest in self.graph.steps:
            return self.graph.steps[digest]
        folder = folder_of(self.out, kind, digest)
        recipe = None
        if kind == "properties":
            recipe = plain["judge"]
        elif kind != "direction":
            recipe = replaced(plain, {name: str(step.product) for name, step in made.items() if name})
        texts = {"recipe": str(folder / RECIPE), "product": str(folder / PRODUCTS[kind])}
        filled = tuple(tuple(part.format(**texts) if part in _PLACES else part for part in one) for one in commands)
        step = Step(kind, label, digest, needs, recipe, filled, folder)
        self.graph.steps[digest] = step
        return step


def _placeless(part: str, made: Mapping[str, Step]) -> str:
    """A word of a command, so that it is the same wherever the steps are."""
    for step in made.values():
        part = part.replace(str(step.product), f"made:{step.digest}")
    return part


_PLACES = ("{recipe}", "{product}")


def _train_and_evaluate(recipe: Recipe) -> list[tuple[str, ...]]:
    """The recipe is the user's own: what its run folder asks of keys and trust is allowed."""
    url = getattr(recipe.judge, "base_url", None)
    allowed = [*(("--allow-judge", url) if url else ()), *(["--trust-remote-code"] if _runs_code(recipe) else [])]
    return [
        ("train", "{recipe}", "--out", "{product}"),
        *(("evaluate", "{product}", *flags, *allowed) for flags in _evaluations(recipe)),
    ]


def _runs_code(recipe: Recipe) -> bool:
    models = (recipe.model, recipe.reference, recipe.judge)
    return any(getattr(one, "trust_remote_code", False) for one in models)


def _evaluations(recipe: Recipe) -> list[tuple[str, ...]]:
    """Flags of ``ringfence evaluate``, for what the recipe asks."""
    suites = [()] if recipe.judge is not None and recipe.evaluation.suites else []
    return [*suites, *([("--benign",)] if recipe.evaluation.tasks else [])]


def _names(recipe: Recipe) -> list[str]:
    """What a run reads, models of the hub left out."""
    models = {one.name for one in (recipe.model, recipe.reference) if one is not None}
    return [name for name in run_inputs(recipe) if name not in models or Path(name).expanduser().exists()]


def _texts(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return set().union(*(_texts(one) for one in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*(_texts(one) for one in value))
    return {value} if isinstance(value, str) else set()
