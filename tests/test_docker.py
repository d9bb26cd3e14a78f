"""The image's text, since no daemon is asked: what it copies is there, what it names is ours, and nobody is root."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text()
STEPS = re.sub(r"\\\n", " ", TEXT).splitlines()


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def defaults() -> dict[str, str]:
    """Its arguments."""
    return dict(re.findall(r"^ARG (\w+)=(\S+)$", TEXT, re.MULTILINE))


def copied() -> list[str]:
    """What of this folder is in the image."""
    lines = [line.split()[1:-1] for line in STEPS if line.startswith("COPY ") and "--from" not in line]
    return [name for line in lines for name in line]


def test_what_is_copied_is_there_and_is_sent_to_the_daemon() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignored[0] == "*", "nothing is sent but what is named"
    assert sorted(copied()) == sorted(line[1:] for line in ignored if line.startswith("!"))
    assert all((ROOT / name).exists() for name in copied())


def test_all_that_the_wheel_is_made_of_is_copied(project: dict[str, Any]) -> None:
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*hatch["packages"], *hatch["force-include"], project["readme"], *project["license-files"]]
    assert {name.partition("/")[0] for name in needed} <= set(copied())


def test_versions_and_extras_are_those_of_the_lock(project: dict[str, Any]) -> None:
    given = defaults()
    assert f"torch=={given['TORCH']}" in (ROOT / "constraints.txt").read_text().splitlines()
    assert SpecifierSet(project["requires-python"]).contains(given["PYTHON"])
    assert set(given["EXTRAS"].split(",")) <= set(project["optional-dependencies"])
    assert given["TORCH_INDEX"].endswith("/cpu")


def test_it_runs_the_command_line_and_not_as_root(project: dict[str, Any]) -> None:
    users = [line for line in STEPS if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("USER root", "USER 0")
    entry = re.search(r'^ENTRYPOINT \["(\w+)"\]$', TEXT, re.MULTILINE)
    assert entry is not None
    assert entry[1] in project["scripts"]


def test_the_docs_show_its_own_commands() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    commands = re.findall(r"^#     (docker .*)$", TEXT, re.MULTILINE)
    assert len(commands) == 4
    assert all(command in page.splitlines() for command in commands)
