"""Read the learning-rate schedules of transformers and their settings from its source, without importing it."""

import ast
from dataclasses import dataclass
from functools import cache

from ringfence.core.errors import RingfenceError
from ringfence.core.source_fields import statements

_PACKAGE, _FILE, _TABLE = "transformers", "optimization.py", "TYPE_TO_SCHEDULER_FUNCTION"
# What the Trainer itself gives; nothing else is passed on to these schedules.
_GIVEN = ("optimizer", "num_warmup_steps", "num_training_steps", "last_epoch")
_TAKE_NOTHING = ("constant", "constant_with_warmup")


@dataclass(frozen=True)
class Settings:
    """Names that ``lr_scheduler_kwargs`` may hold, and those among them that it must."""

    known: tuple[str, ...]
    needed: tuple[str, ...]


@cache
def schedules() -> dict[str, Settings]:
    """Of each ``lr_scheduler_type``. Raises :class:`RingfenceError` where the installed package has no such table."""
    functions, table = {}, None
    for statement in statements(_PACKAGE, _FILE):
        match statement:
            case ast.FunctionDef(name):
                functions[name] = statement
            case ast.Assign([ast.Name(name)], ast.Dict() as value) if name == _TABLE:
                table = value
    names = _members()
    if table is None or not names:
        raise RingfenceError(
            f"the installed {_PACKAGE} has no {_TABLE} in {_FILE}; install the versions of constraints.txt"
        )
    found = {}
    for key, maker in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Attribute), "schedules are members of an enumeration"
        assert isinstance(maker, ast.Name), "a schedule is made by a function"
        name = names[key.attr]
        found[name] = Settings((), ()) if name in _TAKE_NOTHING else _settings(functions[maker.id])
    return found


def _members() -> dict[str, str]:
    """Name and value of each member of the enumeration of schedules."""
    for statement in statements(_PACKAGE, "trainer_utils.py"):
        if isinstance(statement, ast.ClassDef) and statement.name == "SchedulerType":
            return {
                one.targets[0].id: str(one.value.value)
                for one in statement.body
                if isinstance(one, ast.Assign)
                and isinstance(one.targets[0], ast.Name)
                and isinstance(one.value, ast.Constant)
            }
    return {}


def _settings(function: ast.FunctionDef) -> Settings:
    names = [one.arg for one in function.args.args]
    needed = names[: len(names) - len(function.args.defaults)]
    return Settings(
        tuple(name for name in names if name not in _GIVEN), tuple(name for name in needed if name not in _GIVEN)
    )
