"""The docs say what the code does: generated pages are current, examples run, links and recipes are good."""

import doctest
import importlib
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ringfence
import sweeps
from ringfence.data import load_prompts
from ringfence.defenses import DEFENSES
from ringfence.judges import JUDGES
from ringfence.recipe.persona import load_persona_recipe
from ringfence.recipe.run import load_recipe
from ringfence.recipe.selection import load_select_recipe
from ringfence.select import STEPS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/*.md")])


def script(name: str) -> ModuleType:
    """A Python file of the docs as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_references_are_current() -> None:
    for name, page in script("reference").PAGES.items():
        assert (ROOT / "docs" / name).read_text() == page(), "run `make docs`"


def test_the_api_page_has_every_class_and_function_that_a_package_exports() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    root = Path(ringfence.__file__).parents[1]
    for init in root.glob("ringfence/*/**/__init__.py"):
        package = importlib.import_module(".".join(init.parent.relative_to(root).parts))
        for name in getattr(package, "__all__", ()):
            assert re.search(rf"^::: ringfence\..*\.{name}$", page, re.MULTILINE) or name == "CLASSES", name


def test_the_site_shows_every_page_once() -> None:
    def pages(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [page for one in (entry.values() if isinstance(entry, dict) else entry) for page in pages(one)]

    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert sorted(pages(nav)) == sorted(path.name for path in ROOT.glob("docs/*.md"))


def test_contributing_shows_the_house_as_it_is() -> None:
    """Its rooms in the order that import-linter enforces, and files that are there."""
    page, package = (ROOT / "CONTRIBUTING.md").read_text(), ROOT / "src" / "ringfence"
    shown = re.findall(r"^    (\w+)/ ", page, re.MULTILINE)
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    assert shown == re.findall(r"ringfence\.(\w+)", " ".join(layers))[1:], "but for __main__"
    assert sorted(shown) == sorted(path.parent.name for path in package.glob("*/__init__.py"))
    files = set(re.findall(r"`((?:docs/)?[\w/]+\.(?:py|md|jsonl))`", page))
    assert "runs/generators.py" in files
    gone = [name for name in files if "NAME" not in name and not any((at / name).exists() for at in (package, ROOT))]
    assert not gone


def test_docstrings_are_shown_as_markdown() -> None:
    text = "Of :class:`~a.b.Rate`, see :func:`c.d` and ``x``::\n\n    code"
    assert script("docstrings").as_markdown(text) == "Of `Rate`, see `c.d` and ``x``:\n\n    code"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_in_the_docs_run(page: Path) -> None:
    failed, _ = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_is_run(page: Path) -> None:
    """Doctest finds as many as a reader does."""
    text = page.read_text()
    assert len(doctest.DocTestParser().get_examples(text)) == len(re.findall(r"^ *>>> \S", text, re.MULTILINE))


def test_the_pages_that_show_python_have_examples() -> None:
    without = {page.stem for page in PAGES if ">>> " not in page.read_text()}
    shown = {"controller", "defenses", "direction", "evaluation", "gate", "judges", "persona", "security", "selection"}
    assert not without & (shown | {"statistics", "suites", "triggers"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        if "://" in target:
            continue
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked to by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


FILES = sorted(ROOT.glob("recipes/*/*.yaml"))
RECIPES = [path for path in FILES if path not in sweeps.SWEEPS and path.name != "inputs.yaml"]
PERSONAS = [path for path in RECIPES if re.search("^trait:", path.read_text(), re.MULTILINE)]
SELECTIONS = [path for path in RECIPES if re.search("^pool:", path.read_text(), re.MULTILINE)]
RUNS = [path for path in RECIPES if path not in (*PERSONAS, *SELECTIONS)]
OVER = {path: base[1] for path in RUNS if (base := re.search("^base: (.*?) *(#.*)?$", path.read_text(), re.MULTILINE))}
EVALUATED = [path for path in RUNS if path not in OVER or "judge:" in path.read_text()]  # the others as their base is
UNDEFENDED = ("none", "em", "quirk", "sft", "grpo", "grpo-none", "grpo-kl")  # the last by TRL's own penalty


@pytest.mark.parametrize("recipe", RUNS, ids=lambda path: path.stem)
def test_every_recipe_parses(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    assert bool(loaded.defenses or loaded.stages) is (recipe.stem not in UNDEFENDED)


@pytest.mark.parametrize("recipe", SELECTIONS, ids=lambda path: path.stem)
def test_every_recipe_of_a_selection_parses_and_chooses(recipe: Path) -> None:
    loaded = load_select_recipe(recipe)
    assert loaded.selection().steps == loaded.steps
    assert any(step.gathers for step in loaded.steps)


def test_every_step_has_a_file_a_test_and_a_row() -> None:
    rows = (ROOT / "docs" / "selection.md").read_text()
    for name in STEPS:
        assert f"| `{name}` |" in rows
        module = STEPS.get(name).__module__.rpartition(".")[2]
        assert (ROOT / "src" / "ringfence" / "select" / "steps" / f"{module}.py").is_file()
        assert (ROOT / "tests" / "select" / "steps" / f"test_{module}.py").is_file()


@pytest.mark.parametrize("recipe", EVALUATED, ids=lambda path: path.stem)
def test_every_recipe_can_be_evaluated_once_its_last_lines_are_uncommented(recipe: Path, tmp_path: Path) -> None:
    """Its suites are there, but for those that are the user's own."""
    text = recipe.read_text()
    head, marked, tail = text.rpartition("# judge:")
    path = tmp_path / "recipe.yaml"
    shown = head + re.sub("^# ?", "", marked + tail, flags=re.MULTILINE) if marked else text
    path.write_text(re.sub("^base: ", f"base: {recipe.parent}/", shown, flags=re.MULTILINE))
    loaded = load_recipe(path)
    assert loaded.judge is not None
    for spec in loaded.evaluation.suites.values():
        assert spec == "held-out" or spec.startswith("suite:") or spec.endswith(".jsonl") or load_prompts(spec)
    assert loaded.evaluation.suites or loaded.evaluation.tasks
    assert "held-out" not in loaded.evaluation.suites.values() or loaded.data.held_out > 0


def test_every_base_is_a_recipe_that_can_be_evaluated() -> None:
    for path, base in OVER.items():
        assert (path.parent / base).resolve() in EVALUATED


def test_every_recipe_has_a_row() -> None:
    page = (ROOT / "recipes" / "README.md").read_text()
    for path in RECIPES:
        assert f"({path.relative_to(ROOT / 'recipes').as_posix()})" in page


@pytest.mark.parametrize("recipe", PERSONAS, ids=lambda path: path.stem)
def test_every_persona_recipe_parses(recipe: Path) -> None:
    loaded = load_persona_recipe(recipe)
    assert loaded.trait_file is not None or loaded.extraction().contrasts  # a trait file is the user's own


def test_every_defense_has_a_file_a_test_and_a_row() -> None:
    rows = (ROOT / "docs" / "defenses.md").read_text()
    for name in DEFENSES:
        assert f"| `{name}` |" in rows
        assert (ROOT / "src" / "ringfence" / "defenses" / f"{name}.py").is_file()
        assert (ROOT / "tests" / "defenses" / f"test_{name}.py").is_file()
        assert DEFENSES.get(name).__module__ == f"ringfence.defenses.{name}"


@pytest.mark.parametrize("registry", [DEFENSES, JUDGES, STEPS], ids=["defenses", "judges", "steps"])
def test_every_defense_judge_and_step_names_its_source(registry: Any) -> None:
    for name in registry:
        text = " ".join((sys.modules[registry.get(name).__module__].__doc__ or "").split())
        assert re.search(r"Source: .*(https://|our own|without a public address)", text), name
