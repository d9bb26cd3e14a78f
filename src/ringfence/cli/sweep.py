"""``ringfence sweep``. Heavy imports are inside the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError

if TYPE_CHECKING:
    from ringfence.sweep.engines import Engine
    from ringfence.sweep.graph import Graph
    from ringfence.sweep.steps import Step

STATUS = "status"


@examples(
    "ringfence sweep recipes/fars-2026/table-1.yaml --dry-run    (the graph, and what is missing)",
    "ringfence sweep recipes/fars-2026/table-1.yaml --out runs/fars",
    "ringfence sweep recipes/fars-2026/table-1.yaml --out runs/fars --only 'canary-*' --jobs 2",
    "ringfence sweep recipes/fars-2026/table-1.yaml --out runs/fars --engine slurm --engine-set slurm_partition=gpu",
    "ringfence sweep status runs/fars",
    "ringfence sweep sweep.yaml --out runs/sweep --export Snakefile",
)
def sweep(
    target: Annotated[list[str], typer.Argument(help="The sweep, a YAML file; or `status` and a sweep's folder.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the steps; sweeps may share one (runs/NAME).")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only runs whose names fit, with * and ?; and what they need.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Steps at a time (default: one a GPU, else one a core).")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="What starts the steps: local (processes), slurm (by submitit), ray.")
    ] = "local",
    engine_set: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE of the engine, such as slurm_partition=gpu or timeout_min=600; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the graph and what is to do; start nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="More than 10,000 runs are meant.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Files have changed: make anew what depends on them.")] = False,
    recipes: Annotated[
        Path | None, typer.Option(help="Write the recipe of each run there, as NAME.yaml, and start nothing.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write a Snakefile of the graph there, and start nothing.")
    ] = None,
) -> None:
    """Run a grid of recipes: vectors, selections, trainings, evaluations, each once, whoever needs it.

    Every step is called by a digest of all that can change it. What is done is not done again, what several runs share
    is done once, and after a kill the same command goes on. A step that fails is tried once more; then the others go on
    without it.
    """
    if target[0] == STATUS:
        _status(target[1:])
        return
    if len(target) != 1:
        more = " ".join(target)
        raise RingfenceError(
            f"one sweep at a time, and there are {len(target)}: {more} (--only is given once a pattern)"
        )
    from ringfence.core.settings import override
    from ringfence.sweep.driver import Progress, claim
    from ringfence.sweep.engines import engine_of
    from ringfence.sweep.graph import graph_of
    from ringfence.sweep.layout import chosen, show_layout, write_recipes
    from ringfence.sweep.plan import MOST_RUNS, SweepPlan
    from ringfence.sweep.showing import show_graph

    plan = SweepPlan.load(Path(target[0]), None if yes else MOST_RUNS)
    runs = chosen(plan, only or [])
    if dry_run:
        show_layout(console, plan, runs)
    if not plan.runs:
        if dry_run:
            return
        raise RingfenceError(f"{target[0]}: trains nothing; its sets are measured by `ringfence data properties`")
    if recipes is not None:
        write_recipes(console, runs, recipes)
        return
    folder = out or Path("runs") / plan.table
    graph = graph_of(plan, folder, runs, on_paper=dry_run)
    wanted = [graph.runs[run.name] for run in runs]
    if dry_run:
        show_graph(console, Progress.of(graph.after(wanted)))
        return
    starting = None if export is not None else engine_of(engine, jobs, override({}, engine_set or [], ()))
    claim(plan, graph, folder, again)
    if starting is None:
        assert export is not None
        from ringfence.sweep.export import write_snakefile

        write_snakefile(graph, export)
        say(f"written: {export}; run `snakemake --snakefile {export} --cores N`")
        return
    _drive(graph, wanted, folder, starting)
    from ringfence.sweep.showing import show_summary
    from ringfence.sweep.summary import summarise, write_summary

    summary = summarise(plan, graph)
    show_summary(console, summary)
    write_summary(summary, folder / f"{plan.table}.csv")
    say(f"all numbers: {folder / f'{plan.table}.csv'}")
    if failed := [one for one in wanted if not one.is_done]:
        raise RingfenceError(f"{len(failed)} runs are not made; mend what the logs say, and run it again")


def _drive(graph: "Graph", wanted: list["Step"], folder: Path, starting: "Engine") -> None:
    from ringfence.sweep.driver import drive, link_runs
    from ringfence.sweep.showing import live, show_end

    try:
        with live(console, starting.slots) as show:
            progress = drive(graph, wanted, starting, show)
    finally:
        starting.close()
        links = link_runs(graph, folder)
    show_end(console, progress)
    if links:
        say(f"runs: {links[0].parent}; compare them by `ringfence report {links[0].parent}/*`")


def _status(folders: list[str]) -> None:
    from ringfence.sweep.status import show_status

    if len(folders) != 1:
        raise RingfenceError("`ringfence sweep status` takes the folder of one sweep, its --out")
    show_status(console, Path(folders[0]))
