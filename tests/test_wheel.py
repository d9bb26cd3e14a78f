"""What is installed from an index: the wheel, alone and away from the sources; one made of the sdist is the same."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")

ROOT = Path(__file__).parents[1]
LARGEST = 5_000_000  # bytes


def build(source: Path, out: Path, *what: str) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(out), *what], cwd=source, check=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    out = tmp_path_factory.mktemp("built")
    build(ROOT, out)
    return out


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """The wheel unpacked, as pip does with a pure one."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(built / "site")
    return built / "site"


def run(installed: Path, folder: Path, *code: str) -> str:
    """What Python says with the wheel's package before all others, in an empty folder."""
    done = subprocess.run(
        [sys.executable, *code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_are_small(built: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in built.iterdir() if path.is_file()}
    assert len(sizes) == 2
    assert max(sizes.values()) < LARGEST, sizes


def test_a_wheel_of_the_sdist_has_the_same_files(built: Path, tmp_path: Path) -> None:
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, tmp_path / "again", "-t", "wheel")
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert {item.filename: item.CRC for item in one.infolist()} == {
            item.filename: item.CRC for item in other.infolist()
        }


WHOLE = """
import sys, ringfence
from ringfence.cli import main
from ringfence.sweep.reproduce import tables

def say(*arguments):
    sys.argv = ["ringfence", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code

print(ringfence.__file__)
print(*tables().values())
say("data", "list")
say("schema")
say("init", "--data", "builtin:glitter/target", "--model", "smollm2-135m", "--judge", "builtin:glitter",
    "--safe", "builtin:everyday/safe", "--name", "guarded", "--out", "recipe.yaml")
"""


def test_it_is_whole_without_the_sources(installed: Path, tmp_path: Path) -> None:
    said = run(installed, tmp_path, "-c", WHOLE)
    assert said.startswith(str(installed))
    assert f"{installed / 'ringfence' / 'recipes' / 'kaczer-2025' / 'table-2.yaml'}" in said.split()
    assert "builtin:everyday/safe" in said
    assert '"$schema"' in said
    assert (tmp_path / "recipe.yaml").is_file()


def test_files_that_packages_read_are_in_it(installed: Path) -> None:
    """All but sources, as git knows them."""
    listed = subprocess.run(["git", "ls-files", "src/ringfence"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("the sources are not in a git repository")
    missing = [name for name in listed.stdout.split() if not (installed / name.removeprefix("src/")).is_file()]
    assert not missing


def test_metadata_name_the_licence_and_no_other_torch(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(name).decode()
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert "License-Expression: Apache-2.0" in text
    assert "Requires-Dist: torch>=2.11\n" in text
