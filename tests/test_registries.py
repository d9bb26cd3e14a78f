"""One name for one thing: the module, what it is filed under, its key in a recipe, its row in the docs."""

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ringfence import defenses, judges, select, tasks
from ringfence.core.registry import Registry
from ringfence.data.task import TASKS
from ringfence.defenses import DEFENSES
from ringfence.judges import JUDGES
from ringfence.rl import rewards
from ringfence.rl.rewards import REWARDS
from ringfence.select import STEPS
from ringfence.triggers import kinds
from ringfence.triggers.kinds import TRIGGERS

DOCS = Path(__file__).parents[1] / "docs"
SOURCES = Path(defenses.__file__).parents[1]
OUTSIDE = [path for path in sorted(SOURCES.rglob("*.py")) if path.parent.name != "defenses" and path.parent != SOURCES]
OUTSIDE += [path for path in sorted(SOURCES.glob("*.py")) if path.name != "__init__.py"]
PAGES: list[tuple[Registry[Any], str]] = [
    (DEFENSES, "defenses.md"),
    (STEPS, "selection.md"),
    (JUDGES, "judges.md"),
    (TRIGGERS, "triggers.md"),
    (REWARDS, "rl.md"),
    (TASKS, "tasks.md"),
]
PACKAGES: dict[str, Any] = {
    "defense": defenses,
    "step": select,
    "judge": judges,
    "trigger": kinds,
    "reward": rewards,
    "task": tasks,
}
FILED = [pytest.param(registry, name, id=f"{registry.what}-{name}") for registry, _ in PAGES for name in registry]


@pytest.mark.parametrize(("registry", "name"), FILED)
def test_a_name_is_its_module_and_its_class_is_exported(registry: Registry[Any], name: str) -> None:
    cls = registry.get(name)
    assert registry.name_of(cls) == name
    # The triggers are a few lines each and share one module.
    assert cls.__module__.rpartition(".")[2] == ("kinds" if registry is TRIGGERS else name)
    assert getattr(PACKAGES[registry.what], cls.__name__) is cls
    assert issubclass(cls, registry.base)


@pytest.mark.parametrize(("registry", "name"), FILED)
def test_a_name_is_the_key_of_a_recipe(registry: Registry[Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^place\.{name}: "):
        registry.parse({name: {"nonesuch": 1}}, "place")


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_says_its_kind(name: str) -> None:
    assert JUDGES.get(name).model_fields["kind"].default == name


@pytest.mark.parametrize(("registry", "page"), PAGES, ids=lambda value: str(getattr(value, "what", value)))
def test_the_docs_have_one_row_each(registry: Registry[Any], page: str) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", (DOCS / page).read_text(), re.MULTILINE)
    named = [re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) for table in tables]
    first = next(names for names in named if set(names) & {*registry})
    assert sorted(first) == [*registry]


def test_every_step_is_imported_with_its_room() -> None:
    """What nobody imports is not filed, and then no recipe can name it."""
    folder = Path(select.__file__).parent / "steps"
    filing = {path.stem for path in folder.glob("*.py") if "@STEPS.register(" in path.read_text()}
    assert filing == {*STEPS}
    assert all(f"ringfence.select.steps.{name}" in sys.modules for name in filing)


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES.rglob("*.py") if path.parent.name not in ("defenses",)],
    ids=lambda path: path.stem,
)
def test_nobody_knows_the_class_of_a_single_defense(path: Path) -> None:
    """A new defense touches its file, its export, its test and its row in the docs, and nothing else."""
    if path == SOURCES / "__init__.py":
        return
    tree = ast.parse(path.read_text())
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    known = {f"ringfence.defenses.{name}" for name in (*defenses.CLASSES, *DEFENSES)}
    modules = {f"ringfence.defenses.{name}." for name in DEFENSES}
    assert not [name for name in imported if name in known or name.startswith(tuple(modules))]
