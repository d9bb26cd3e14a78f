"""``ringfence sweep``. Heavy imports are inside the command."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError

if TYPE_CHECKING:
    from ringfence.sweep.engines import Engine
    from ringfence.sweep.graph import Graph
    from ringfence.sweep.plan import SweepPlan
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
    card: Annotated[
        str | None,
        typer.Option(help="Of a dry run: a GPU, e.g. h100; say how many hours the training that is to do takes on it."),
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="With --card: USD for an hour of one card; say what that costs.")
    ] = None,
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
    asked = Asked(
        out, tuple(only or ()), jobs, engine, tuple(engine_set or ()), dry_run, card, price, again, recipes, export
    )
    from ringfence.sweep.plan import MOST_RUNS, SweepPlan

    run_sweep(SweepPlan.load(Path(target[0]), None if yes else MOST_RUNS), asked)


@dataclass(frozen=True)
class Asked:
    """What is asked of a sweep; each as the option of its name."""

    out: Path | None = None
    only: tuple[str, ...] = ()
    jobs: int | None = None
    engine: str = "local"
    engine_set: tuple[str, ...] = ()
    dry_run: bool = False
    card: str | None = None
    price: float | None = None
    again: bool = False
    recipes: Path | None = None
    export: Path | None = None

    def require_consistent(self) -> None:
        """Raise for an option that has no effect without another."""
        if self.card is not None and not self.dry_run:
            raise RingfenceError("--card: says what a dry run would take; add --dry-run, or leave it out")
        if self.price is not None and self.card is None:
            raise RingfenceError("--price: is for an hour of a card; name one by --card, or leave it out")


def run_sweep(plan: "SweepPlan", asked: Asked) -> None:
    """Run ``plan``, or print or write what is asked for in place of that. Raises if a run could not be made."""
    from ringfence.runs.gpu_cards import parse_cards
    from ringfence.sweep.graph import graph_of
    from ringfence.sweep.layout import chosen, write_recipes

    asked.require_consistent()
    cards = None if asked.card is None else parse_cards(asked.card)
    runs = chosen(plan, asked.only)
    if asked.dry_run:
        from ringfence.sweep.layout import show_layout

        show_layout(console, plan, runs)
    if asked.recipes is not None:
        if not plan.runs:
            raise RingfenceError(f"{plan.path}: trains nothing, so that there is no recipe of a run to write")
        write_recipes(console, runs, asked.recipes)
        return
    folder = asked.out or Path("runs") / plan.table
    graph = graph_of(plan, folder, runs, on_paper=asked.dry_run)
    wanted = [graph.runs[run.name] for run in runs]
    wanted += [] if graph.properties is None else [graph.properties]
    if asked.dry_run:
        from ringfence.sweep.driver import Progress
        from ringfence.sweep.showing import show_graph

        progress = Progress.of(graph.after(wanted))
        show_graph(console, progress)
        if cards is not None:
            from ringfence.sweep.cost import estimate

            left = [step for digest, step in progress.steps.items() if progress.states[digest] != "done"]
            for line in estimate(left, cards, graph.steps).told(cards, asked.price):
                say(line)
        return
    if plan.toy is not None:
        from ringfence.sweep.layout import tell_toy

        tell_toy(console, plan)
    _make(plan, graph, wanted, folder, asked)


def _make(plan: "SweepPlan", graph: "Graph", wanted: "list[Step]", folder: Path, asked: Asked) -> None:
    """Make ``wanted`` in ``folder``, or export how, and tell what was measured."""
    from ringfence.core.settings import override
    from ringfence.sweep.driver import claim
    from ringfence.sweep.engines import engine_of

    if asked.export is not None:
        from ringfence.sweep.export import write_snakefile

        claim(plan, graph, folder, asked.again)
        write_snakefile(graph, asked.export)
        say(f"written: {asked.export}; run `snakemake --snakefile {asked.export} --cores N`")
        return
    starting = engine_of(asked.engine, asked.jobs, override({}, asked.engine_set, ()))
    claim(plan, graph, folder, asked.again)
    _drive(graph, wanted, folder, starting)
    from ringfence.sweep.showing import show_summary
    from ringfence.sweep.summary import summarise, write_summary

    summary = summarise(plan, graph)
    show_summary(console, summary)
    write_summary(summary, folder / f"{plan.table}.csv")
    say(f"all numbers: {folder / f'{plan.table}.csv'}")
    if failed := [one for one in wanted if not one.is_done]:
        raise RingfenceError(f"{len(failed)} steps are not made; mend what the logs say, and run it again")


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
