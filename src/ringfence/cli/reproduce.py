"""``ringfence reproduce``. Heavy imports are inside the command."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError

if TYPE_CHECKING:
    from ringfence.sweep.plan import SweepPlan


class Scale(StrEnum):
    """Of what a table is made."""

    paper = "paper"
    toy = "toy"


@examples(
    "ringfence reproduce --list",
    "ringfence reproduce kaczer-2025/table-2 --dry-run    (what it takes, and which files are missing)",
    "ringfence reproduce fars-2026/table-1 --out runs/fars",
    "ringfence reproduce fars-2026/table-1 --scale toy    (minutes on two CPU cores; nothing to bring)",
)
def reproduce(
    table: Annotated[str | None, typer.Argument(metavar="PAPER/TABLE", help="Which; --list has them.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The sweep's folder (default: runs/PAPER, at toy scale runs/PAPER-toy).")
    ] = None,
    scale: Annotated[
        Scale,
        typer.Option(
            help="`paper`: its own models and data. `toy`: the same graph on the embedded model and a harmless "
            "stand-in; recipes/toy.yaml says what stands for what. Its table has no number of the paper."
        ),
    ] = Scale.paper,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="The first N of the table's seeds (default: all, at toy scale one).")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only runs whose names fit, with * and ?; may be repeated.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Steps at a time, as `ringfence sweep` has it.")] = None,
    engine: Annotated[str, typer.Option(help="local, slurm or ray.")] = "local",
    engine_set: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of the engine; repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the graph; start nothing.")] = False,
    card: Annotated[str | None, typer.Option(help="Of a dry run, as `ringfence sweep` has it.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="USD an hour of that card.")] = None,
    measured: Annotated[
        bool, typer.Option("--measured", help="Run nothing: the table of what is done already.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Say which tables there are and what each needs.")] = False,
) -> None:
    """Run what is missing of a paper's table, and write it: published, measured with its interval, difference.

    Data and models are the paper's own, at their size: `--list` and `--dry-run` say what that takes. Written are
    Markdown, CSV and LaTeX.
    """
    from ringfence.cli.sweep import Asked, run_sweep

    if list_:
        _list()
        return
    if table is None:
        raise RingfenceError("name a table, e.g. `ringfence reproduce kaczer-2025/table-2`; --list has them")
    plan = _plan(table, scale, seeds)
    folder = out or Path("runs") / (plan.path.parent.name + ("-toy" if plan.toy else ""))
    if not measured:
        run_sweep(plan, Asked(folder, tuple(only or ()), jobs, engine, tuple(engine_set or ()), dry_run, card, price))
    if not dry_run:
        (_show if plan.toy is None else _show_toy)(plan, folder)


def _plan(table: str, scale: Scale, seeds: int | None) -> "SweepPlan":
    """The table's sweep at that scale."""
    from ringfence.sweep.plan import SweepPlan
    from ringfence.sweep.reproduce import find_table, toy_file
    from ringfence.sweep.toy import Toy
    from ringfence.sweep.toy_plan import at_toy_scale, with_seeds

    plan = SweepPlan.load(find_table(table))
    if scale is Scale.toy:
        plan, seeds = at_toy_scale(plan, Toy.load(toy_file())), seeds or 1
    return plan if seeds is None or not plan.runs else with_seeds(plan, seeds)


def _show(plan: "SweepPlan", folder: Path) -> None:
    """The paper's numbers beside ours."""
    from ringfence.core.text_table import TextTable
    from ringfence.sweep.graph import graph_of
    from ringfence.sweep.published import FILE
    from ringfence.sweep.reproduce import HEADINGS, compared, unfilled, write_tables
    from ringfence.sweep.summary import summarise

    summary = summarise(plan, graph_of(plan, folder, on_paper=True))
    lines = compared(plan, summary)
    shown = TextTable(plan.config.shows, list(HEADINGS), keys=2)
    for line in lines:
        shown.add(*line.cells)
    console.print(shown)
    for reading in plan.config.readings:
        say(f"reading: {reading}")
    for fault in unfilled(lines, summary, plan.path.parent / FILE):
        say(fault)
    for written in write_tables(lines, folder, plan.table):
        say(f"written: {written}")


def _show_toy(plan: "SweepPlan", folder: Path) -> None:
    """What was measured on stand-ins."""
    from ringfence.core.text_table import TextTable
    from ringfence.sweep.graph import graph_of
    from ringfence.sweep.summary import summarise
    from ringfence.sweep.toy_table import HEADINGS, heading, toy_cells, toy_lines, write_toy_tables

    assert plan.toy is not None
    summary = summarise(plan, graph_of(plan, folder, on_paper=True))
    lines = toy_lines(summary)
    if not lines:
        say(f"no row of {plan.table} is whole yet: it is when all runs are done that it is a mean over; see {folder}")
        return
    shown = TextTable(heading(plan), list(HEADINGS), keys=2)
    for line in lines:
        shown.add(*toy_cells(*line))
    console.print(shown)
    for written in write_toy_tables(summary, folder, plan):
        say(f"written: {written}")


def _list() -> None:
    """Each table in some lines, under its name."""
    import textwrap

    from ringfence.sweep.needs import TOKENS, Needs
    from ringfence.sweep.plan import SweepPlan
    from ringfence.sweep.reproduce import tables

    for name, path in tables().items():
        plan = SweepPlan.load(path)
        say(name)
        for line in (plan.config.shows, Needs.of(plan).told()):
            say(textwrap.fill(line, max(40, console.width - 1), initial_indent="  ", subsequent_indent="  "))
    say(f"\nhours: of training only, for rows of {TOKENS} tokens; `--dry-run --card` counts the rows that there are")
