"""``ringfence reproduce``. Heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError


@examples(
    "ringfence reproduce --list",
    "ringfence reproduce kaczer-2025/table-2 --dry-run    (what it takes, and which files are missing)",
    "ringfence reproduce fars-2026/table-1 --out runs/fars",
)
def reproduce(
    table: Annotated[str | None, typer.Argument(metavar="PAPER/TABLE", help="Which; --list has them.")] = None,
    out: Annotated[Path | None, typer.Option(help="The sweep's folder (default: runs/PAPER).")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only runs whose names fit, with * and ?; may be repeated.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Steps at a time, as `ringfence sweep` has it.")] = None,
    engine: Annotated[str, typer.Option(help="local, slurm or ray.")] = "local",
    engine_set: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of the engine; repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the graph; start nothing.")] = False,
    measured: Annotated[
        bool, typer.Option("--measured", help="Run nothing: the table of what is done already.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Say which tables there are and what each needs.")] = False,
) -> None:
    """Run what is missing of a paper's table, and write it: published, measured with its interval, difference.

    Data and models are the paper's own, at their size: `--list` and `--dry-run` say what that takes. Written are
    Markdown, CSV and LaTeX.
    """
    from ringfence.sweep.plan import SweepPlan
    from ringfence.sweep.reproduce import HEADINGS, compared, find_table, tables, write_tables

    if list_:
        _list(tables())
        return
    if table is None:
        raise RingfenceError("name a table, e.g. `ringfence reproduce kaczer-2025/table-2`; --list has them")
    path = find_table(table)
    plan = SweepPlan.load(path)
    folder = out or Path("runs") / path.parent.name
    if not plan.runs:
        raise RingfenceError(f"{table}: has no runs; its sets are measured by `ringfence data properties`")
    if not measured:
        from ringfence.cli.sweep import sweep

        sweep([str(path)], folder, only, jobs=jobs, engine=engine, engine_set=engine_set, dry_run=dry_run)
    if dry_run:
        return
    from ringfence.core.text_table import TextTable
    from ringfence.sweep.graph import graph_of
    from ringfence.sweep.summary import summarise

    lines = compared(path, summarise(plan, graph_of(plan, folder, on_paper=True)))
    if not lines:
        raise RingfenceError(f"{path.parent / 'published.csv'}: has no numbers of {path.stem} to stand beside ours")
    shown = TextTable(plan.config.shows, list(HEADINGS), keys=2)
    for line in lines:
        shown.add(*line.cells)
    console.print(shown)
    for reading in plan.config.readings:
        say(f"reading: {reading}")
    for written in write_tables(lines, folder, path.stem):
        say(f"written: {written}")


def _list(found: dict[str, Path]) -> None:
    from ringfence.core.text_table import TextTable
    from ringfence.sweep.plan import SweepPlan

    shown = TextTable("", ["table", "runs", "models", "missing files", "shows"], words=["shows", "models"])
    for name, path in found.items():
        plan = SweepPlan.load(path)
        models = dict.fromkeys(run.recipe.model.name.rpartition("/")[2] for run in plan.runs)
        shown.add(name, str(len(plan.runs)), ", ".join(models), str(len(plan.missing())), plan.config.shows)
    console.print(shown)
