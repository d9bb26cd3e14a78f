"""The toy scale of a paper's table: its graph on the embedded model and the harmless stand-in, ``recipes/toy.yaml``.

Steps, runs, seeds, defenses and their settings are the table's own. Exchanged are the model, the data, the judge, the
questions and the sizes: that file says by what, and what has no stand-in.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.settings import assign, explain, read_plain
from ringfence.sweep.config import Changes, Input, Strict
from ringfence.sweep.filling import expression_of, filled

FILE = "toy.yaml"
_SIZES = ("count", "per_topic", "min_rows", "per_domain")
"""settings of a selection's steps that count rows"""
_MODELS = ("model", "reference")


class Case(Strict):
    """What is different where the target fits."""

    target: str
    """stand-in of ``data.target``; ``{name}`` in it stands for any text without a slash, and may be in ``changes``"""
    changes: Changes = Field(default_factory=dict)
    """dotted key -> value"""
    without: dict[str, str] = Field(default_factory=dict)
    """defense -> why a run with it is left out"""


class Toy(Strict):
    """What the toy scale is."""

    about: tuple[str, ...] = Field(min_length=1)
    """what stands for what, for readers of a table"""
    model: dict[str, Any]
    """in place of all models"""
    rows: tuple[int, int]
    """rows that are selected are multiplied by the second and divided by the first, and rounded up"""
    inputs: dict[str, str]
    """name or pattern of names -> what stands in its place"""
    without: dict[str, str]
    """name or pattern of names that has no stand-in -> why"""
    changes: Changes
    """to all runs"""
    runs: tuple[Case, ...]
    """to those of a target; all that fit, one after the other"""
    defenses: dict[str, Changes]
    """defense -> settings"""
    stages: Changes
    """to each later stage"""
    during: Changes
    """to ``evaluation.during``, where a run has it"""
    steps: dict[str, Changes]
    """step of a selection -> settings"""
    persona: dict[str, Any]
    """the recipe of a persona vector"""

    @classmethod
    def load(cls, path: Path) -> "Toy":
        """Read and check ``path``. Raises :class:`RingfenceError` naming the key."""
        try:
            return cls.model_validate(read_plain(path, names=()))
        except ValidationError as error:
            raise RingfenceError(f"{path}: {explain(error, cls)}") from None

    def recipe(self, kind: str, plain: Mapping[str, Any]) -> dict[str, Any]:
        """``plain``, the recipe of a ``run``, or of what ``train``, ``select`` and ``persona`` make, at this scale."""
        if kind == "persona":
            return {**self.persona, "model": dict(self.model)}
        found = self._named(plain)
        found["model"] = dict(self.model)
        if kind == "select":
            found["steps"] = [self._step(one) for one in found["steps"]]
            return found
        for case, texts in [(Case(target="", changes=self.changes), {}), *self._cases(str(found["data"]["target"]))]:
            for key, value in case.changes.items():
                with error_prefix(FILE):
                    assign(found, key, filled(value, texts), _MODELS)
        if (found.get("evaluation") or {}).get("during"):
            found["evaluation"]["during"] |= self.during
        for stage in found.get("stages") or ():
            for key, value in self.stages.items():
                assign(stage, key, value)
        for part in (found, *(found.get("stages") or ())):
            part["defenses"] = [self._defense(one) for one in part.get("defenses") or ()]
        return found

    def input(self, given: Input) -> Input:
        """How a file comes about, at this scale; recipes that it names are changed by :meth:`recipe`."""
        changes: dict[str, Any] = {}
        if given.direction is not None:
            changes = {"model": self.model["name"], "direction": tuple(map(self.name, given.direction))}
        return given.model_copy(update=changes)

    def name(self, name: str) -> str:
        """What stands in the place of ``name``; itself, if nothing does."""
        for pattern, one in self.inputs.items():
            fits = expression_of(pattern).fullmatch(name)
            if fits is not None:
                return str(filled(one, fits.groupdict()))
        return name

    def reason(self, name: str) -> str | None:
        """Why ``name`` has no stand-in; None if the file does not say so."""
        fits = (why for pattern, why in self.without.items() if expression_of(pattern).fullmatch(name))
        return next(fits, None)

    def refused(self, plain: Mapping[str, Any]) -> str | None:
        """Why a run, its recipe at this scale, is left out for a defense that it has; None if it is not."""
        defenses = {name for part in (plain, *(plain.get("stages") or ())) for one in part["defenses"] for name in one}
        for case, _ in self._cases(str(plain["data"]["target"])):
            for name, why in case.without.items():
                if name in defenses:
                    return f"{name}: {why}"
        return None

    def _cases(self, target: str) -> Iterator[tuple[Case, Mapping[str, str]]]:
        for case in self.runs:
            fits = expression_of(case.target).fullmatch(target)
            if fits is not None:
                yield case, fits.groupdict()

    def _named(self, value: Any) -> Any:
        """``value`` with each name in its stand-in's place; a list goes without what has none."""
        if isinstance(value, Mapping):
            return {key: self._named(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._named(one) for one in value if not (isinstance(one, str) and self.reason(one))]
        return self.name(value) if isinstance(value, str) else value

    def _defense(self, item: Mapping[str, Any]) -> dict[str, Any]:
        return {name: {**settings, **self.defenses.get(name, {})} for name, settings in item.items()}

    def _step(self, item: str | Mapping[str, Any]) -> dict[str, Any]:
        before, after = self.rows
        ((name, given),) = ({item: None} if isinstance(item, str) else item).items()
        settings = dict(given or {})
        for key in _SIZES:
            if isinstance(settings.get(key), int):
                settings[key] = math.ceil(settings[key] * after / before)
        return {name: {**settings, **self.steps.get(name, {})}}
