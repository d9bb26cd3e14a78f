"""Where the files come from that the recipes of a sweep name: the user brings them, or a command makes them.

What a command makes needs files of its own, so that this is a graph: from what recipes name down to what is brought.
"""

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ringfence.core.errors import RingfenceError, did_you_mean, error_prefix
from ringfence.core.files import sha256
from ringfence.core.settings import assign, explain, read_plain
from ringfence.data.chosen import HUB, source_of
from ringfence.data.suites import store
from ringfence.data.task import is_task
from ringfence.recipe.inputs import persona_inputs, run_inputs, selection_inputs
from ringfence.recipe.run import Recipe
from ringfence.recipe.sections import HELD_OUT
from ringfence.sweep.config import Input
from ringfence.sweep.filling import expression_of, filled
from ringfence.sweep.toy import Toy

_INPUTS: Mapping[str, Callable[[Any], list[str]]] = {
    "train": run_inputs,
    "select": selection_inputs,
    "persona": persona_inputs,
}
"""how a file comes about by a recipe -> what such a recipe reads"""


def _model_of(how: str) -> type[Any]:
    """What checks such a recipe. Those of vectors and selections take torch: a mistake in a sweep is told before."""
    if how == "persona":
        from ringfence.recipe.persona import PersonaRecipe

        return PersonaRecipe
    if how == "select":
        from ringfence.recipe.selection import SelectRecipe

        return SelectRecipe
    return Recipe


@dataclass(frozen=True)
class Source:
    """How one file comes about."""

    name: str
    """as recipes name it"""
    input: Input
    """its texts filled in"""
    folder: Path
    """where the recipes are that it names"""
    toy: Toy | None = None
    """the scale, if it is another than the recipes' own"""

    def recipe(self) -> dict[str, Any]:
        """That of its command, with its changes. Raises :class:`RingfenceError` if it cannot be read."""
        return copy.deepcopy(self._recipe)

    @cached_property
    def _recipe(self) -> dict[str, Any]:
        path = self.folder / str(getattr(self.input, self.input.how))
        plain = read_plain(path, names=("model", "reference"))
        with error_prefix(f"{path}: for {self.name}"):
            for key, value in self.input.changes.items():
                assign(plain, key, value, ("model", "reference"))
        return plain if self.toy is None else self.toy.recipe(self.input.how, plain)

    def command(self) -> list[str]:
        """The arguments of ``ringfence`` that make it; empty for what is brought, and for a run of the sweep."""
        given, how = self.input, self.input.how
        if given.direction is not None:
            return ["direction", "fit", *given.direction, "--model", str(given.model), "--out", self.name]
        if how not in _INPUTS:
            return []
        words = ["persona", "extract"] if how == "persona" else [how]
        changes = [f"{key}={_as_yaml(value)}" for key, value in given.changes.items()]
        return [*words, str(self.folder / str(getattr(given, how))), *changes, "--out", self.name]

    def reads(self) -> list[str]:
        """What its command reads, models of the hub left out."""
        return list(self._reads)

    @cached_property
    def _reads(self) -> list[str]:
        if self.input.direction is not None:
            return list(self.input.direction)
        how = self.input.how
        if how not in _INPUTS:
            return []
        with error_prefix(f"{self.folder / str(getattr(self.input, how))}: for {self.name}"):
            recipe = parsed(_model_of(how), self._recipe)
        return [name for name in _INPUTS[how](recipe) if name != recipe.model.name]


class Sources:
    """The inputs of a sweep; with ``toy`` at that scale."""

    def __init__(self, inputs: Mapping[str, tuple[Input, Path]], path: Path, toy: Toy | None = None) -> None:
        self.inputs = dict(inputs)
        self.path = path
        self.toy = toy
        self._found: dict[str, Source | None] = {}

    def find(self, name: str) -> Source | None:
        """How ``name``, or the folder that it is in, comes about; None if no input says so.

        Of several patterns the first that fits.
        """
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Source | None:
        for pattern, (one, folder) in self.inputs.items():
            fits = expression_of(pattern, behind="(?:/.*)?").fullmatch(name)
            if fits is not None:
                texts = fits.groupdict()
                plain = {key: filled(value, texts) for key, value in one.model_dump(exclude_defaults=True).items()}
                given = Input.model_validate(plain)
                return Source(fits[1], given if self.toy is None else self.toy.input(given), folder, self.toy)
        return None

    def graph(self, names: Iterable[str]) -> dict[str, Source]:
        """All that it takes to have ``names``, each after what its command reads.

        What is built in, the rows of a task and a file that is there and that no input names need nothing. Raises
        :class:`RingfenceError` for what no input names, for a cycle, and for a recipe that is not good.
        """
        found = dict[str, Source]()
        for name in names:
            self._visit(name, found, ())
        return found

    def _visit(self, name: str, found: dict[str, Source], within: tuple[str, ...]) -> None:
        if name in found or name == HELD_OUT or name.startswith("builtin:") or is_task(name):
            return
        if name in within:
            raise RingfenceError(f"{self.path}: inputs: a cycle: {' -> '.join((*within[within.index(name) :], name))}")
        source = self.find(name)
        if source is None:
            if name.startswith(HUB) or Path(source_of(name)).expanduser().exists():
                return
            near = did_you_mean(name, self.inputs) if self.inputs else ""
            raise RingfenceError(
                f"{self.path}: {name} is no file in {Path.cwd()}, where paths begin, and `inputs` does not say "
                f"where it comes from; mend the path, or add it there.{near}"
            )
        for one in source.reads():
            self._visit(one, found, (*within, name))
        found[source.name] = source

    def missing(self, names: Iterable[str]) -> list[str]:
        """One line for each file to bring that is not there, or is another: which, where from, how to check."""
        brought = [one for one in self.graph(names).values() if one.input.yours is not None]
        return [line for one in brought if (line := _fault(one)) is not None]


def parsed(model: type[Any], plain: dict[str, Any]) -> Any:
    """``plain`` as ``model``, with an error in one line."""
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise RingfenceError(explain(error, model)) from None


def _as_yaml(value: Any) -> str:
    """On one line, as an override has it."""
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()


def _fault(source: Source) -> str | None:
    name, given = source.name, source.input
    if name.startswith(store.PREFIX):
        stored = name.removeprefix(store.PREFIX) in store.names()
        return None if stored else f"{name} is missing: {given.yours}; then `ringfence suites show {name}`"
    path = Path(name).expanduser()
    if not path.exists():
        return f"{name} is missing: {given.yours}; {_check(name, given)}"
    if given.sha256 is not None and sha256(path) != given.sha256:
        return f"{name} is another file than was meant: its SHA-256 is not {given.sha256}; {given.yours}"
    if given.git_blob is not None and git_blob(path) != given.git_blob:
        return f"{name} is another file than was meant: `git hash-object {name}` is not {given.git_blob}; {given.yours}"
    return None


def _check(name: str, given: Input) -> str:
    if given.sha256 is not None:
        return f"check: its SHA-256 is {given.sha256}"
    if given.git_blob is not None:
        return f"check: `git hash-object {name}` prints {given.git_blob}"
    return f"check: `ringfence data check {name}`" if name.endswith((".jsonl", ".parquet")) else "look at it"


def git_blob(path: Path) -> str:
    """The name of a file's content in git: the SHA-1 of its length and its bytes."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
