"""A package that is asked for and absent is told in one line."""

import pytest

from ringfence.core.packages import require_package


def test_any_one_of_several_is_enough() -> None:
    require_package(("no_such_package", "json"), "x")
    with pytest.raises(
        ValueError, match=r"^\.x needs the package no_such_a or no_such_b, which .*; install it, or leave"
    ):
        require_package(("no_such_a", "no_such_b"), ".x")


def test_a_part_of_ringfence_is_named() -> None:
    with pytest.raises(ValueError, match=r"which is not installed; in a clone of Ringfence, run .*'\.\[slurm\]'`, or"):
        require_package(("no_such_package",), ".x", "slurm")
