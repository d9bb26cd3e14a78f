"""A cache of its own, and two runs that are trained and not evaluated, for the tests of evaluations."""

from pathlib import Path

import pytest

import project
from ringfence.recipe.run import load_recipe
from ringfence.runs import train as runs
from ringfence.runs.plan import RunPlan


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(recipe, run, run with another seed), trained and not evaluated."""
    folder = tmp_path_factory.mktemp("project")
    recipe = project.make(folder, defenses=[])
    for seed in (0, 1):
        runs.train(
            RunPlan.load(load_recipe(recipe, [f"seed={seed}", "training.learning_rate=0.5"]), folder / f"run-{seed}")
        )
    return recipe, folder / "run-0", folder / "run-1"
