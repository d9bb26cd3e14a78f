"""A sweep on paper: its runs, the readings it takes, what makes its files, and what is missing."""

import shlex
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from rich.console import Console

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_text
from ringfence.core.terminal import say
from ringfence.core.text_table import TextTable
from ringfence.defenses import DEFENSES
from ringfence.sweep.plan import SweepPlan, SweepRun
from ringfence.sweep.published import FILE, load_published, require_counterparts, without_numbers
from ringfence.sweep.toy_table import heading


def show_layout(console: Console, plan: SweepPlan, runs: Sequence[SweepRun]) -> None:
    """Print all of it, for ``runs``."""
    console.print(_table(plan, runs))
    say(console, f"\nsource: {plan.config.source}")
    if plan.toy is not None:
        tell_toy(console, plan)
        return
    for reading in plan.config.readings:
        say(console, f"reading: {reading}")
    _tell_published(console, plan)
    _tell_sources(console, plan, runs)


def tell_toy(console: Console, plan: SweepPlan) -> None:
    """What stands for what at the toy scale, and what is left out."""
    assert plan.toy is not None
    for line in plan.toy.about:
        say(console, f"toy scale: {line}")
    reasons: dict[str, list[str]] = {}
    for name, why in plan.left_out.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        say(console, f"left out: {', '.join(names[:3])}{more} ({why})")


def chosen(plan: SweepPlan, patterns: Iterable[str]) -> list[SweepRun]:
    """The runs whose names fit one of ``patterns`` (``*`` and ``?``); all without any.

    Raises :class:`RingfenceError` for a pattern that fits none.
    """
    wanted = list(patterns)
    for pattern in wanted:
        if not any(fnmatchcase(run.name, pattern) for run in plan.runs):
            raise RingfenceError(f"--only: no run of {plan.path} is called {pattern}; leave it out to see them all")
    return [run for run in plan.runs if not wanted or any(fnmatchcase(run.name, one) for one in wanted)]


def write_recipes(console: Console, runs: Sequence[SweepRun], folder: Path) -> None:
    """The recipe of each run, as ``NAME.yaml`` in ``folder``."""
    for run in runs:
        head = "# The untuned model: ringfence evaluate THIS --base --out DIR\n" if run.base else ""
        write_text(folder / f"{run.name}.yaml", head + yaml.safe_dump(run.recipe.resolved(), sort_keys=False))
    say(console, f"\nrecipes: {folder}, {len(runs):,} of them; `ringfence train {folder}/NAME.yaml --out runs/NAME`")


def _table(plan: SweepPlan, runs: Sequence[SweepRun]) -> TextTable:
    """A row a run, or a set."""
    if not plan.runs:
        table = TextTable(_title(plan), ["set", "data"], words=("data",))
        for name, data in plan.config.sets.items():
            table.add(name, data)
        return table
    table = TextTable(_title(plan), ["run", "row", "seed", "defenses"], words=("row", "defenses"))
    for run in runs:
        told = "not trained" if run.base else ", ".join(_defenses(run)) or "none"
        table.add(run.name, run.row, str(run.recipe.seed), told)
    return table


def _title(plan: SweepPlan) -> str:
    return plan.config.shows if plan.toy is None else heading(plan)


def _defenses(run: SweepRun) -> list[str]:
    return [DEFENSES.name_of(type(one)) for one in run.recipe.defenses]


def _tell_published(console: Console, plan: SweepPlan) -> None:
    """How many numbers the paper has, and for what it has none; each of them must have a run."""
    path = plan.path.parent / FILE
    if not path.is_file():
        return
    numbers = [one for one in load_published(path) if one.table == plan.table]
    require_counterparts(numbers, [plan], path)
    bare = without_numbers(numbers, [plan]).get(plan.table, ())
    told = "" if not bare else ", none for any row" if not numbers else f", none for {', '.join(bare)}"
    say(console, f"published: {len(numbers):,} numbers in {path}{told}")


def _tell_sources(console: Console, plan: SweepPlan, runs: Sequence[SweepRun]) -> None:
    """The commands that make files, in their order, and what is missing."""
    sources = plan.sources.graph(plan.reads(runs)).values()
    made = [shlex.join(["ringfence", *one.command()]) for one in sources if one.command()]
    if made:
        say(console, "\nmade first, by:")
        for line in made:
            say(console, f"  {line}")
    missing = plan.missing(runs)
    if missing:
        say(console, "\nmissing, for you to bring:")
        for line in missing:
            say(console, f"  {line}")
