"""The lock: what is installed here is what it says, and it fits ``pyproject.toml``."""

import importlib.util
import platform
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("lock", ROOT / "scripts" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pins(lock: ModuleType) -> dict[str, str]:
    """Name -> version, read as pip reads it."""
    lines = [line for line in lock.LOCK.read_text().splitlines() if not line.startswith("#")]
    found = [Requirement(line) for line in lines]
    exact = {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in found}
    assert len(exact) == len(found)
    return exact


def test_it_is_the_tree_that_is_installed_here(lock: ModuleType) -> None:
    if platform.system() != "Linux" or sys.version_info[:2] != (3, 11):
        pytest.skip("the lock is that of Linux and Python 3.11")
    assert lock.text(lock.installed(lock.requirements(["dev"]))) == lock.LOCK.read_text()


def test_every_requirement_is_pinned_to_a_version_that_it_allows(lock: ModuleType, pins: dict[str, str]) -> None:
    for one in lock.requirements(lock.extras()):
        assert one.specifier.contains(pins[canonicalize_name(one.name)]), str(one)
    assert pins["torch"] == "2.13.0"


def test_dev_has_all_extras(lock: ModuleType) -> None:
    """So that what is tested is what each of them brings."""
    names = {str(one) for one in lock.requirements(["dev"])}
    assert {str(one) for one in lock.requirements(lock.extras())} == names
    assert lock.ELSEWHERE.isdisjoint(lock.extras())
