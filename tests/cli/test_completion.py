"""Completion in the shell: its script, and what it completes, without torch."""

import os
import shutil
import subprocess
import sys

import pytest

BASH = shutil.which("bash")


def ringfence(arguments: str, **environment: str) -> tuple[str, set[str]]:
    """What it says when typed into bash, and the packages that it has loaded."""
    if BASH is None:
        pytest.skip("needs bash")
    ran = subprocess.run(
        [BASH, "-c", f'"$0" -X importtime -m ringfence {arguments}; exit $?', sys.executable],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    loaded = (line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:"))
    return ran.stdout, {name.partition(".")[0] for name in loaded}


def test_the_script_is_shown_without_torch() -> None:
    script, loaded = ringfence("--show-completion")
    assert "_RINGFENCE_COMPLETE=complete_bash" in script
    assert script.rstrip().endswith("ringfence")
    assert "typer" in loaded
    assert loaded.isdisjoint({"torch", "transformers", "datasets", "pandas", "numpy"})


@pytest.mark.parametrize(
    ("typed", "found"),
    [("ringfence aud", "audit"), ("ringfence audit --qui", "--quick"), ("ringfence data pr", "properties")],
)
def test_commands_and_options_are_completed_without_torch(typed: str, found: str) -> None:
    place = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    said, loaded = ringfence("", _RINGFENCE_COMPLETE="complete_bash", **place)
    assert said.split() == [found]
    assert "torch" not in loaded
