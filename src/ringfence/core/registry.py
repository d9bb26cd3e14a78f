"""A name -> class table that rejects duplicates and, for an unknown name, suggests the nearest one."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from ringfence.core.errors import RingfenceError, did_you_mean, shown

T = TypeVar("T", bound=type)


class Registry(Generic[T]):
    """Classes by name, filled by decorator: ``@DEFENSES.register("kl")``.

    With ``package``, each class is in a module of that package called by its name, which is imported when the class is
    first asked for; so what nobody asks for costs nothing. Modules called ``beside`` hold none.
    """

    def __init__(self, what: str, package: str | None = None, beside: Sequence[str] = ()) -> None:
        self.what = what
        self._package, self._beside = package, frozenset(beside)
        self._classes: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files a class under ``name``. Raises ``ValueError`` if the name is taken."""

        def add(cls: T) -> T:
            if name in self._classes:
                raise ValueError(f"{self.what} {name!r} is registered twice: {self._classes[name]} and {cls}")
            self._classes[name] = cls
            return cls

        return add

    def get(self, name: str) -> T:
        """The class of ``name``. Raises :class:`RingfenceError` with the nearest known name."""
        if name not in self._classes and name in self._modules():
            importlib.import_module(f"{self._package}.{name}")
        if name not in self._classes:
            raise RingfenceError(f"unknown {self.what} {shown(name)}.{did_you_mean(name, self)}")
        return self._classes[name]

    def name_of(self, cls: type) -> str:
        """The name that ``cls`` is filed under. Raises ``KeyError`` if it is not."""
        for name, known in self._classes.items():
            if known is cls:
                return name
        raise KeyError(cls)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._classes, *self._modules()}))

    def _modules(self) -> set[str]:
        if self._package is None:
            return set()
        found = importlib.import_module(self._package).__path__
        return {module.name for module in pkgutil.iter_modules(found)} - self._beside
