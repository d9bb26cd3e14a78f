"""A child leaves when its standard input closes, and ends by itself without a fault."""

import os
import subprocess
import sys

import pytest

from ringfence.core.parent import LEAVE

CHILD = "from ringfence.core.parent import leave_with_parent; leave_with_parent(7); print('here', flush=True); {then}"


def child(then: str, asked: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD.format(then=then)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, LEAVE: asked},
    )


def test_it_leaves_when_the_parents_end_closes() -> None:
    made = child("import time; time.sleep(60)", "1")
    assert made.stdout is not None
    assert made.stdin is not None
    assert made.stdout.readline() == "here\n"
    made.stdin.close()
    assert made.wait(20) == 7


@pytest.mark.parametrize("asked", ["", "1"])
def test_it_ends_by_itself_without_a_fault(asked: str) -> None:
    made = child("pass", asked)
    assert made.wait(20) == 0
    assert made.stderr is not None
    assert made.stderr.read() == ""
