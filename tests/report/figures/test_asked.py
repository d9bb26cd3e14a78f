"""Runs of one recipe are one point; a suite that nobody has raises."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report import load_runs
from ringfence.report.figures import Asked
from ringfence.report.figures.asked import points, suite_of_leak

LEAK = {"leak": ("general", "misaligned_all")}


def test_seeds_are_one_point_with_their_mean(seeded: Callable[..., Path]) -> None:
    folders = [seeded("none-0", [3, 1], seed=0), seeded("none-1", [5, 3], seed=1)]
    (point,) = points(load_runs(folders), LEAK)
    assert point.label == "none (2 seeds)"
    assert point.rates["leak"].value == pytest.approx(0.3)
    assert point.rates["leak"].low < 0.3 < point.rates["leak"].high


def test_strength_is_all_numbers_of_the_defenses(make_run: Callable[..., Path]) -> None:
    recipe = {"defenses": [{"kl": {"weight": 0.1, "on": "all"}}, "inoculation"]}
    recipe |= {"stages": [{"name": "b", "defenses": [{"ldifs": {"weight": 2, "layers": [3, 4], "x": True}}]}]}
    (point,) = points(load_runs([make_run("a", recipe=recipe)]), LEAK)
    assert point.defenses == ("inoculation", "kl", "ldifs")
    assert point.strength == (0.1, 3.0, 4.0, 2.0)


def test_a_suite_that_no_run_has_raises(strengths: list[Path]) -> None:
    runs = load_runs(strengths)
    assert suite_of_leak(runs, Asked()) == "general"
    with pytest.raises(RingfenceError, match=r"'genral'.*Did you mean \"general\""):
        suite_of_leak(runs, Asked(("genral",)))
