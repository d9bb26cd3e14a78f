"""What the tests of ``gate``, ``compare``, ``differences`` and ``agreement`` start from."""

from pathlib import Path

import pytest

from judged_runs import answers, make_run
from ringfence.cli.console import console


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that no table is too wide for; a file asks for it by ``usefixtures``."""
    monkeypatch.setattr(console, "width", 200)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """10 of 100 misaligned on general, half of them all incoherent; 60 of 60 in-domain."""
    return make_run(tmp_path / "canary", [*answers("general", 10, 40, 50), *answers("in-domain", 60, 0)])
