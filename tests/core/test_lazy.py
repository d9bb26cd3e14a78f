"""A package whose names are found when they are used, and whose modules are not imported before that."""

import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.core.lazy import importer


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a module ``heavy``, which has ``WEIGHT``, and one that cannot be imported."""
    name = "lazily_imported"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "heavy.py").write_text("WEIGHT = 7\n")
    (tmp_path / name / "broken.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    for module in (name, f"{name}.heavy", f"{name}.broken"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return name


def test_a_module_is_imported_when_its_name_is_used(package: str) -> None:
    find = importer(package, {"WEIGHT": "heavy"})
    assert f"{package}.heavy" not in sys.modules
    assert find("WEIGHT") == 7
    assert f"{package}.heavy" in sys.modules


def test_an_unknown_name_is_an_attribute_error_that_says_which(package: str) -> None:
    """So that ``hasattr`` and ``from package import name`` work as ever; a name of a module alone is no export."""
    find = importer(package, {"WEIGHT": "heavy"})
    for name in ("HEIGHT", "heavy", "__path__"):
        with pytest.raises(AttributeError, match=f"module '{package}' has no attribute '{name}'"):
            find(name)
    assert f"{package}.heavy" not in sys.modules


def test_a_module_that_cannot_be_imported_says_why(package: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        importer(package, {"LOAD": "broken"})("LOAD")


def test_importing_the_packages_does_not_import_torch() -> None:
    names = ("train", "defenses", "generation", "interleave", "recipe.run", "sweep.graph", "sweep.driver")
    program = (
        f"import sys, ringfence, {', '.join(f'ringfence.{name}' for name in names)}; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
