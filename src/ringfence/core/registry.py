"""A name -> class table that rejects duplicates and, for an unknown name, suggests the nearest one."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ringfence.core.errors import RingfenceError, did_you_mean

T = TypeVar("T", bound=type)


class Registry(Generic[T]):
    """Classes by name, filled by decorator: ``@DEFENSES.register("kl")``."""

    def __init__(self, what: str) -> None:
        self.what = what
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
        if name not in self._classes:
            raise RingfenceError(f"unknown {self.what} {name!r}.{did_you_mean(name, self._classes)}")
        return self._classes[name]

    def name_of(self, cls: type) -> str:
        """The name that ``cls`` is filed under. Raises ``KeyError`` if it is not."""
        for name, known in self._classes.items():
            if known is cls:
                return name
        raise KeyError(cls)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))
