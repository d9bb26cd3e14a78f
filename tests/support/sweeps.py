"""The sweeps of the repository, and small ones for tests."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ringfence.sweep.config import is_sweep
from ringfence.sweep.plan import SweepPlan
from ringfence.sweep.sources import Source

ROOT = Path(__file__).parents[2]
PAPERS = tuple(sorted({path.parent for path in ROOT.glob("recipes/*/published.csv")}))
BASE = {"data": {"target": "target.jsonl", "held_out": 0}}
SWEEPS = tuple(path for path in sorted(ROOT.glob("recipes/*/*.yaml")) if is_sweep(path.read_text()))


@cache
def plan(path: Path) -> SweepPlan:
    """Loaded once a process."""
    return SweepPlan.load(path)


@cache
def graph(path: Path) -> dict[str, Source]:
    """What it takes to have the files of a sweep, made once a process."""
    return plan(path).sources.graph(plan(path).reads())


def write(folder: Path, name: str = "sweep", base: dict[str, Any] | None = None, **keys: Any) -> Path:
    """A sweep over a small recipe in ``folder``."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(base or BASE))
    common = {"shows": "a test", "source": "ours"}
    start = {} if keys.keys() & {"sweeps", "sets", "recipe"} else {"recipe": "recipe.yaml"}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(common | start | keys, sort_keys=False))
    return path
