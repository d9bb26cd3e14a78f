"""Write ``constraints.txt``: everything that the extra ``dev`` installs, in the versions of this environment.

To move to newer versions: make an environment without the lock, run all tests in it, and write the lock from it:

    python -m venv .venv-new
    .venv-new/bin/pip install torch==2.13.0 && .venv-new/bin/pip install --editable '.[dev]'
    .venv-new/bin/python -m pytest && .venv-new/bin/python scripts/lock.py

What is installed here beside that is left out, as are pip, Ringfence, what torch's builds for GPUs bring, and the ends
of versions that name a build, such as ``+cpu``. What only another platform needs is not in it.
"""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "constraints.txt"
HEAD = """\
# The exact versions that are tested: all that `pip install -e '.[dev]'` brings on Linux with Python 3.11.
# Use it as `pip install -c constraints.txt ...`. Written by `python scripts/lock.py`.
"""
ELSEWHERE = {"vllm"}
"""extras that want an environment of their own"""
_OF_A_GPU = re.compile(r"nvidia|cuda|triton")


def requirements(extras: Iterable[str]) -> list[Requirement]:
    """Those of ``pyproject.toml``, with those of ``extras``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    return [Requirement(text) for text in texts]


def extras() -> list[str]:
    """All that go into one environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [extra for extra in project["optional-dependencies"] if extra not in ELSEWHERE]


def installed(wanted: Iterable[Requirement]) -> dict[str, str]:
    """Name -> version of everything that ``wanted`` brings, as it is installed here."""
    todo, done, found = list(wanted), set[tuple[str, str]](), dict[str, str]()
    while todo:
        one = todo.pop()
        about = importlib.metadata.distribution(one.name)
        found[about.name] = Version(about.version).public
        for extra in ("", *one.extras):
            if (key := (canonicalize_name(one.name), extra)) not in done:
                done.add(key)
                todo += _needs(about, extra)
    return found


def _needs(about: importlib.metadata.Distribution, extra: str) -> Iterator[Requirement]:
    for text in about.requires or ():
        need = Requirement(text)
        applies = need.marker is None or need.marker.evaluate({"extra": extra})
        if applies and not _OF_A_GPU.match(need.name):
            yield need


def text(found: dict[str, str]) -> str:
    """The lock's."""
    return HEAD + "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.casefold))


if __name__ == "__main__":
    LOCK.write_text(text(installed(requirements(["dev"]))), encoding="utf-8")
