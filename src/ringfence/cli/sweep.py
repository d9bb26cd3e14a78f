"""``ringfence sweep``. Heavy imports are inside the command."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError
from ringfence.core.text_table import TextTable

if TYPE_CHECKING:
    from ringfence.sweep.plan import SweepPlan, SweepRun


@examples(
    "ringfence sweep recipes/kaczer-2025/table-2.yaml",
    "ringfence sweep recipes/kaczer-2025/table-2.yaml --only 'legal-*' --recipes recipes-of-table-2",
    "ringfence train recipes-of-table-2/legal-kl.yaml --out runs/legal-kl    (what it is for)",
)
def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep, a YAML file; docs/papers.md lists its keys.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Runs of this name, or pattern such as 'legal-*'; may be repeated.")
    ] = None,
    recipes: Annotated[
        Path | None, typer.Option(help="Folder to write the recipe of each run into, as NAME.yaml.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="A grid of more than 10,000 runs is meant.")] = False,
) -> None:
    """Lay out a sweep: its runs, the files that they need, where those come from, and which are missing.

    Every recipe is checked. Nothing is trained: `--recipes` writes one recipe a run, for `ringfence train`.
    """
    from ringfence.sweep.plan import MOST_RUNS, SweepPlan

    plan = SweepPlan.load(file, None if yes else MOST_RUNS)
    runs = _chosen(plan, only or [])
    console.print(_table(plan, runs))
    say(f"\nsource: {plan.config.source}")
    for reading in plan.config.readings:
        say(f"reading: {reading}")
    _tell_published(plan)
    _tell_sources(plan, runs)
    if recipes is not None:
        if not runs:
            raise RingfenceError(f"--recipes: {file} trains nothing; leave it out")
        _write(runs, recipes)


def _table(plan: "SweepPlan", runs: list["SweepRun"]) -> TextTable:
    """A row a run, or a set."""
    if not plan.runs:
        table = TextTable(plan.config.shows, ["set", "data"], words=("data",))
        for name, data in plan.config.sets.items():
            table.add(name, data)
        return table
    table = TextTable(plan.config.shows, ["run", "row", "seed", "defenses"], words=("row", "defenses"))
    for run in runs:
        told = "not trained" if run.base else ", ".join(_defenses(run)) or "none"
        table.add(run.name, run.row, str(run.recipe.seed), told)
    return table


def _chosen(plan: "SweepPlan", patterns: list[str]) -> list["SweepRun"]:
    from fnmatch import fnmatchcase

    for pattern in patterns:
        if not any(fnmatchcase(run.name, pattern) for run in plan.runs):
            raise RingfenceError(f"--only: no run of {plan.path} is called {pattern}; leave it out to see them all")
    return [run for run in plan.runs if not patterns or any(fnmatchcase(run.name, one) for one in patterns)]


def _defenses(run: "SweepRun") -> list[str]:
    from ringfence.defenses import DEFENSES

    return [DEFENSES.name_of(type(one)) for one in run.recipe.defenses]


def _tell_published(plan: "SweepPlan") -> None:
    """How many numbers the paper has, and for what it has none; each of them must have a run."""
    from ringfence.sweep.published import FILE, load_published, require_counterparts, without_numbers

    path = plan.path.parent / FILE
    if not path.is_file():
        return
    numbers = [one for one in load_published(path) if one.table == plan.table]
    require_counterparts(numbers, [plan], path)
    bare = without_numbers(numbers, [plan]).get(plan.table, ())
    said = "" if not bare else ", none for any row" if not numbers else f", none for {', '.join(bare)}"
    say(f"published: {len(numbers):,} numbers in {path}{said}")


def _tell_sources(plan: "SweepPlan", runs: list["SweepRun"]) -> None:
    """The commands that make files, in their order, and what is missing."""
    sources = plan.sources.graph(plan.reads(runs)).values()
    made = [shlex.join(["ringfence", *one.command()]) for one in sources if one.command()]
    if made:
        say("\nmade first, by:")
        for line in made:
            say(f"  {line}")
    missing = plan.missing(runs)
    if missing:
        say("\nmissing, for you to bring:")
        for line in missing:
            say(f"  {line}")


def _write(runs: list["SweepRun"], folder: Path) -> None:
    import yaml

    from ringfence.core.files import write_text

    for run in runs:
        head = "# The untuned model: ringfence evaluate THIS --base --out DIR\n" if run.base else ""
        write_text(folder / f"{run.name}.yaml", head + yaml.safe_dump(run.recipe.resolved(), sort_keys=False))
    say(f"\nrecipes: {folder}, {len(runs):,} of them; `ringfence train {folder}/NAME.yaml --out runs/NAME`")
