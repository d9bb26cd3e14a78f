"""Named settings: classes filed under one name each, and the one way in which a recipe writes them.

An item of a recipe is ``{name: {field: value}}``, or just ``name`` where every field has a default. A class's name is
its module, its key in a recipe and its row in the docs.
"""

import importlib
import json
import logging
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from ringfence.core.errors import RingfenceError, did_you_mean, shown
from ringfence.core.settings import explain

T = TypeVar("T", bound=BaseModel)
C = TypeVar("C", bound=type)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preset:
    """What one name stands for in a list of a recipe, and where it says why."""

    items: Sequence[Mapping[str, Any]]
    evidence: str


class Registry(Generic[T]):
    """Subclasses of ``base`` by name, filed by decorator: ``@DEFENSES.register("kl")``.

    ``example`` is an item, as a recipe has it, for messages. With ``package``, each class is in a module of that
    package called by its name, which is imported when the class is first asked for; so what nobody asks for costs
    nothing. Modules called ``beside`` hold none. ``presets`` are names that stand for items, in a list.
    """

    def __init__(
        self,
        what: str,
        base: type[T],
        example: str,
        package: str | None = None,
        beside: Sequence[str] = (),
        presets: Mapping[str, Preset] | None = None,
    ) -> None:
        self.what, self.base, self.example = what, base, example
        self.presets: Mapping[str, Preset] = presets or {}
        self._package, self._beside = package, frozenset(beside)
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Decorator that files a class under ``name``. Raises ``ValueError`` if the name is taken."""

        def add(cls: C) -> C:
            if name in self._classes:
                raise ValueError(f"{self.what} {name!r} is registered twice: {self._classes[name]} and {cls}")
            self._classes[name] = cls
            return cls

        return add

    def get(self, name: str) -> type[T]:
        """The class of ``name``. Raises :class:`RingfenceError` with the nearest known name."""
        if name not in self._classes and name in self._modules():
            importlib.import_module(f"{self._package}.{name}")
        if name not in self._classes:
            raise RingfenceError(f"unknown {self.what} {shown(name)}.{did_you_mean(name, [*self, *self.presets])}")
        return self._classes[name]

    def name_of(self, cls: type) -> str:
        """The name that ``cls`` is filed under. Raises ``KeyError`` if it is not."""
        for name, known in self._classes.items():
            if known is cls:
                return name
        raise KeyError(cls)

    def parse(self, item: Any, path: str = "") -> T:
        """What ``item`` of a recipe describes; an instance of ``base`` is returned as it is.

        ``path`` is the recipe's key. Raises :class:`RingfenceError` that begins with it for an item of another form,
        for an unknown name and for wrong fields. Without ``path`` the message suits a pydantic validator: see
        :func:`ringfence.core.settings.explain`.
        """
        if isinstance(item, self.base):
            return item
        one = self._read(item, path)
        try:
            cls = self.get(one.name)
        except RingfenceError as error:
            raise RingfenceError(_said(one.key_of_name, str(error))) from None
        try:
            return cls.model_validate({} if one.fields is None else one.fields)
        except ValidationError as error:
            # Not a ValidationError, which a validator of another model would report as its own.
            raise RingfenceError(f"{one.before_field}{explain(error, cls)}") from None

    def parse_list(self, items: Any, path: str = "", least: int = 0) -> tuple[T, ...]:
        """As :meth:`parse`, for a list of at least ``least`` items."""
        if not isinstance(items, list | tuple) or len(items) < least:
            wanted = "a list of at least one" if least else "a list"
            raise RingfenceError(_said(path, f"give {wanted}, e.g. `- {self.example}`"))
        return tuple(one for index, item in enumerate(items) for one in self._parsed(item, f"{path}.{index}"))

    def _parsed(self, item: Any, path: str) -> Iterator[T]:
        """One, or those of a preset."""
        name = next(iter(item), None) if isinstance(item, dict) and len(item) == 1 else item
        preset = self.presets.get(name) if isinstance(name, str) else None
        if preset is None:
            yield self.parse(item, path)
            return
        written = json.dumps(preset.items)
        if isinstance(item, dict) and item[name]:
            raise RingfenceError(
                _said(f"{path}.{name}", f"it has no settings; write what it stands for, {written}, and change that")
            )
        logger.info("%s %s is %s; why: %s", self.what, name, written, preset.evidence)
        for one in preset.items:
            yield self.parse(one, path)

    def item(self, made: T) -> dict[str, Any]:
        """What :meth:`parse` reads for ``made``, as plain data with every field in it."""
        return {self.name_of(type(made)): made.model_dump(mode="json")}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._classes, *self._modules()}))

    def _read(self, item: Any, path: str) -> "_Item":
        if isinstance(item, str):
            item = {item: {}}
        if not isinstance(item, dict) or len(item) != 1:
            raise self._misshapen(path, f"one name with its settings, e.g. `- {self.example}`")
        ((name, fields),) = item.items()
        return _Item(str(name), path, fields, f"{path}.{name}: ")

    def _misshapen(self, path: str, form: str) -> RingfenceError:
        return RingfenceError(_said(path, f"a {self.what} is {form}, in Python a {self.base.__name__}"))

    def _modules(self) -> set[str]:
        if self._package is None:
            return set()
        found = importlib.import_module(self._package).__path__
        return {module.name for module in pkgutil.iter_modules(found)} - self._beside


class TaggedRegistry(Registry[T]):
    """A registry whose items may also be one mapping of settings, in which ``tag`` has the name, or else ``default``.

    With ``kind`` as the tag, ``{kind: api, model: gpt-4o}`` is the same as ``{api: {model: gpt-4o}}``.
    """

    def __init__(self, what: str, base: type[T], example: str, tag: str, default: str) -> None:
        super().__init__(what, base, example)
        self.tag, self.default = tag, default

    def _read(self, item: Any, path: str) -> "_Item":
        if isinstance(item, str) or (isinstance(item, dict) and len(item) == 1 and next(iter(item)) in [*self]):
            return super()._read(item, path)
        if not isinstance(item, dict):
            raise self._misshapen(path, f"a mapping of its settings, e.g. `{self.example}`")
        return _Item(str(item.get(self.tag, self.default)), f"{path}.{self.tag}", item, f"{path}.")


@dataclass(frozen=True)
class _Item:
    """One item as it was read."""

    name: str
    key_of_name: str
    fields: Any
    before_field: str
    """what a message about a field begins with"""


def _said(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message
