"""Permissions that a run folder needs from the user: whom to call, whose code to run, where to write.

A run folder is data, and may be a stranger's. Its ``run.json`` says how the run is to be evaluated, and evaluating it
must not send answers to an address, spend on a known provider, run code, or write to a place that only the folder
names. What the user has typed
is the user's own and needs no leave.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Self

from ringfence.core.errors import RingfenceError
from ringfence.generation import addresses
from ringfence.recipe.run import Recipe


@dataclass(frozen=True)
class Allowed:
    """What the user has confirmed; by default nothing."""

    judges: Sequence[str] = ()
    """addresses that answers may be sent to; scheme, host and port count"""
    models: Sequence[str] = ()
    """models behind a server that may be asked, by Inspect's names, and addresses of servers that may be"""
    code: bool = False
    """whether code that comes with a model may run"""

    @classmethod
    def by(cls, recipe: Recipe, server: str | None = None) -> Self:
        """All that ``recipe``, which the user has given, asks for, and the model that was named with it."""
        judge, generator = getattr(recipe.judge, "base_url", None), getattr(recipe.generator, "base_url", None)
        models = [one for one in (server, generator) if one]
        return cls([judge] if judge else [], models, code=True)


def require_code(plain: Any, where: Path, allowed: Allowed, typed: Collection[str] = ()) -> None:
    """Raise :class:`RingfenceError` if something in ``plain``, data from ``where``, lets a model's own code run.

    ``typed``: dotted keys that the user has given, which need no leave.
    """
    for key in _running_code(plain):
        if not (allowed.code or _is_typed(key, typed)):
            raise RingfenceError(
                f"{where}: {key}: the folder asks to run code that comes with a model; read that code, and give "
                "--trust-remote-code if it may run"
            )


def require_judge(recipe: Recipe, where: Path, allowed: Allowed, typed: Collection[str] = ()) -> None:
    """Raise :class:`RingfenceError` if the judge is at an address, or keeps its answers in a folder, of others' choice.

    ``typed`` as in :func:`require_code`.
    """
    judge = recipe.judge
    url, cache = getattr(judge, "base_url", None), getattr(judge, "cache", None)
    for one in allowed.judges:
        _require_address(one, "--allow-judge")
    if url and not (addresses.is_named(url, allowed.judges) or _is_typed("judge.base_url", typed)):
        at, entry = addresses.origin(url), addresses.entry_of(url)
        raise RingfenceError(
            f"{where}: judge.base_url: the folder asks to send answers to {at}; if they may go there, give "
            f"--allow-judge {at}, or once for all folders "
            f'export {addresses.VARIABLE}="${addresses.VARIABLE} {entry}"'
        )
    if cache not in (None, "default") and not (_is_inside(cache) or _is_typed("judge.cache", typed)):
        raise RingfenceError(
            f"{where}: judge.cache: the folder asks to write to {cache}; if it may, give judge.cache={cache} yourself, "
            "with a --name"
        )


def require_generator(recipe: Recipe, where: Path, allowed: Allowed, typed: Collection[str] = ()) -> None:
    """Raise :class:`RingfenceError` if prompts would go to an address of others' choice. ``typed`` as above."""
    url = getattr(recipe.generator, "base_url", None)
    if url is None or _is_typed("generator.base_url", typed):
        return
    named = [one for one in allowed.models if one.startswith(("http://", "https://"))]
    for one in named:
        _require_address(one, "--allow-model")
    if not addresses.is_named(url, named):
        at, entry = addresses.origin(url), addresses.entry_of(url)
        raise RingfenceError(
            f"{where}: generator.base_url: the folder asks to send prompts to {at}; if they may go there, give "
            f'--allow-model {at}, or once for all folders export {addresses.VARIABLE}="${addresses.VARIABLE} {entry}"'
        )


def require_server(server: str, where: Path, allowed: Allowed) -> None:
    """Raise :class:`RingfenceError` unless the user has named the model ``server``, which Inspect calls with a key."""
    if server not in allowed.models:
        raise RingfenceError(
            f"{where}: server: the folder asks to call the model {server} with your keys; if it may be called, give "
            f"--allow-model {server}"
        )


def require_inside(run: Path, *folders: Path) -> None:
    """Raise :class:`RingfenceError` if one of ``folders``, which are written to, is a link that leaves ``run``."""
    for folder in folders:
        if not folder.resolve().is_relative_to(run.resolve()):
            raise RingfenceError(f"{folder}: is a link out of the run folder, and is to be written to; remove it")


def _running_code(plain: Any, path: str = "") -> Iterator[str]:
    """Dotted keys in plain data by which code of a model's would run."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for name, value in items:
        key = f"{path}.{name}" if path else str(name)
        from_hub = name == "attn_implementation" and isinstance(value, str) and "/" in value  # kernels of the hub's
        if (name == "trust_remote_code" and value) or from_hub:
            yield key
        yield from _running_code(value, key)


def _is_typed(key: str, typed: Collection[str]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in typed)


def _is_inside(folder: str) -> bool:
    """Whether ``folder`` is in the working folder, by its name."""
    path = PurePath(folder)
    return not path.is_absolute() and ".." not in path.parts and not folder.startswith("~")


def _require_address(url: str, option: str) -> None:
    try:
        addresses.origin(url)
    except ValueError as error:
        raise RingfenceError(f"{option}: {error}") from None
