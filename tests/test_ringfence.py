"""The front door: light to open, and everything that it names is there."""

import subprocess
import sys

import pytest

import ringfence


def test_every_name_is_there_and_others_are_not() -> None:
    for name in ringfence.__all__:
        assert getattr(ringfence, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ringfence.nonsense


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, ringfence, ringfence.cli; sys.exit('torch' in sys.modules or 'trl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
