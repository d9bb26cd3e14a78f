"""Read the fields of TRL's and PEFT's dataclasses from their source: importing them takes torch, which takes seconds.

A mistake in a recipe's key is so told at once. Types made of numbers, text, booleans and None are read, too; all others
are the library's own to check, when the config is built. A test compares with what the imported classes say.
"""

import ast
import importlib.util
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError

_PLAIN = {"int": int, "float": float, "str": str, "bool": bool}


@dataclass(frozen=True)
class Source:
    """Where a class is written."""

    package: str
    file: str
    """below the package's folder"""
    name: str


# Base classes first, since a class may say anew what a field of its base is.
_BASES = (
    Source("transformers", "training_args.py", "TrainingArguments"),
    Source("trl", "trainer/base_config.py", "_BaseConfig"),
)
SFT_CONFIG = (*_BASES, Source("trl", "trainer/sft_config.py", "SFTConfig"))
GRPO_CONFIG = (*_BASES, Source("trl", "trainer/grpo_config.py", "GRPOConfig"))
LORA_CONFIG = (
    Source("peft", "config.py", "PeftConfigMixin"),
    Source("peft", "config.py", "PeftConfig"),
    Source("peft", "tuners/lora/config.py", "LoraConfig"),
)


@cache
def fields_in(sources: tuple[Source, ...]) -> dict[str, Any]:
    """The fields that may be set, with their types; None stands for a type that is not plain.

    Raises :class:`RingfenceError` where an installed package has no such class.
    """
    found: dict[str, Any] = {}
    for source in sources:
        for statement in _class(source).body:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            if _is_field(statement):
                found[statement.target.id] = _plain(statement.annotation)
    return found


def _class(source: Source) -> ast.ClassDef:
    for statement in statements(source.package, source.file):
        if isinstance(statement, ast.ClassDef) and statement.name == source.name:
            return statement
    raise RingfenceError(
        f"the installed {source.package} has no {source.name} in {source.file}; install the versions of constraints.txt"
    )


def statements(package: str, file: str) -> list[ast.stmt]:
    """What the installed ``package`` has in ``file``, at its top level; [] if there is no such file."""
    spec = importlib.util.find_spec(package)  # of a package itself; it is not imported
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / file).is_file():
            return ast.parse(path.read_text(encoding="utf-8")).body
    return []


def _is_field(statement: ast.AnnAssign) -> bool:
    """Whether a caller may set it: no class variable, and not ``field(init=False)``."""
    annotation, value = ast.unparse(statement.annotation), statement.value
    if annotation.startswith(("ClassVar", "typing.ClassVar")):
        return False
    keywords = value.keywords if isinstance(value, ast.Call) else []
    return not any(one.arg == "init" and getattr(one.value, "value", None) is False for one in keywords)


def _plain(annotation: ast.expr) -> Any:
    """``int | None`` and the like as a type; None if anything else is part of it."""
    parts = list(_parts(annotation))
    return None if None in parts else reduce(lambda one, other: typing.Union[one, other], parts)  # noqa: UP007


def _parts(annotation: ast.expr) -> Iterator[Any]:
    """The types of a union, one after the other; None for what is not plain."""
    match annotation:
        case ast.Name(name) if name in _PLAIN:
            yield _PLAIN[name]
        case ast.Constant(None):
            yield types.NoneType
        case ast.BinOp(left, ast.BitOr(), right):
            yield from (*_parts(left), *_parts(right))
        case ast.Subscript(ast.Name("Optional"), inner):
            yield from (*_parts(inner), types.NoneType)
        case ast.Subscript(ast.Name("Union"), ast.Tuple(members)):
            for member in members:
                yield from _parts(member)
        case _:
            yield None
