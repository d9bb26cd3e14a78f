"""``ringfence select``. Heavy imports are inside the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError
from ringfence.core.progress import watched
from ringfence.core.text_table import TextTable

if TYPE_CHECKING:
    from ringfence.recipe.selection import SelectRecipe

_ENOUGH = 50  # rows, for a tenth of them to say something


@examples(
    "ringfence select recipes/glitter/select-plus-plus.yaml "
    "'steps.1.perplexity_gap.misaligned=[runs/umbrella, runs/kazoo]' --out safe.jsonl",
    "ringfence select recipe.yaml pool=candidates.jsonl --out safe.jsonl --engine ray --workers 8",
    "ringfence select recipe.yaml --estimate --fine-tuning-rows 6000 --runs 100",
    "ringfence train run.yaml data.safe=safe.jsonl --out runs/guarded    (what it is for)",
)
def select(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file; docs/selection.md lists keys and steps.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe, as dotted.key=value with the value in YAML.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The .jsonl file to write; its manifest stands beside it as .manifest.json.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder for finished shards (default: `select` in Ringfence's cache folder).")
    ] = None,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Where steps run that go row by row.")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Ray's processes; each loads the models.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Of each process.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say how long it will take, by a sample.")] = False,
    fine_tuning_rows: Annotated[
        int | None, typer.Option(min=1, help="With --estimate: rows of a fine-tuning run, to say what selection adds.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="With --estimate: fine-tuning runs that use the selection.")] = 1,
) -> None:
    """Choose or rewrite the safe data that interleaving mixes in, by a recipe of steps on a pool of candidates.

    Stopped or killed? The same command goes on with the first unfinished shard. Another selection from the same pool
    takes over the steps that are the same.
    """
    if not estimate and out is None:
        raise RingfenceError("--out is missing: name the .jsonl file to write (or give --estimate)")
    if out is not None and out.suffix != ".jsonl":
        raise RingfenceError(f"{out}: name the file to write so that it ends in .jsonl")
    if workers > 1 and engine == "local":
        raise RingfenceError("--workers needs --engine ray; in one process use --threads")
    if estimate and engine == "ray":
        raise RingfenceError("--estimate times one process; leave --engine out, and divide by the workers")

    from ringfence.core.files import cache_folder
    from ringfence.recipe.selection import load_select_recipe
    from ringfence.select.engines import Engine

    checked = load_select_recipe(recipe, overrides or [])
    folder = work or cache_folder() / "select"
    if estimate:
        _estimate(checked, folder, threads, fine_tuning_rows, runs)
    elif out is not None:
        _select(checked, out, folder, Engine(engine, workers, threads))


def _select(recipe: "SelectRecipe", out: Path, work: Path, engine: Any) -> None:
    from ringfence.runs.selections import claim_folder
    from ringfence.select.output import write_selection
    from ringfence.select.pipeline import run

    selection = recipe.selection()
    about = claim_folder(recipe, selection, out)
    with watched(console) as watch:
        selected = run(selection, work, engine, watch)
    manifest = write_selection(selected, out, about)
    _show(manifest)
    say(f"safe data: {out}")


def _show(manifest: dict[str, Any]) -> None:
    title = f"{manifest['output']['rows']} of {manifest['pool']['rows']} candidates"
    table = TextTable(title, ["step", "before", "after", "dropped"], words=["dropped"])
    unanswered = manifest["pool"]["dropped"]
    if unanswered:
        table.add("(pool)", str(manifest["pool"]["rows"]), "", _reasons(unanswered))
    for step in manifest["steps"]:
        table.add(step["name"], str(step["rows_before"]), str(step["rows_after"]), _reasons(step["dropped"]))
    console.print(table)
    for step in manifest["steps"]:
        if step["counts"]:
            counts = ", ".join(f"{name}: {count}" for name, count in step["counts"].items())
            say(f"{step['name']} counted {counts}")
        if "by_epsilon" in step["report"] and step["rows_after"] >= _ENOUGH:
            _show_epsilon(step["report"])


def _reasons(dropped: dict[str, Any]) -> str:
    return ", ".join(f"{found['rows']} {reason}" for reason, found in dropped.items())


def _show_epsilon(report: dict[str, Any]) -> None:
    rows, everything = report["by_epsilon"], report["all_rows"]
    table = TextTable("What epsilon would do to the highest tenth", [column.replace("_", " ") for column in rows[0]])
    for row in rows:
        table.add(*(f"{value:.3g}" for value in row.values()))
    table.add(*(f"{everything[column]:.3g}" if column in everything else "all" for column in rows[0]))
    console.print(table)


def _estimate(recipe: "SelectRecipe", work: Path, threads: int | None, rows: int | None, runs: int) -> None:
    from ringfence.select.estimate import estimate

    times = estimate(recipe.selection(), work, threads=threads)
    table = TextTable("Expected, on one process like this one, models loaded", ["step", "rows", "seconds"])
    for one in times:
        table.add(one.name, str(one.rows), f"{one.seconds:.1f}")
    table.add("all", "", f"{sum(one.seconds for one in times):.1f}")
    console.print(table)
    scoring = [step for step in recipe.steps if hasattr(step, "misaligned")]
    if not scoring:
        return
    if rows is None:
        console.print(
            "What this adds to a fine-tuning run: give --fine-tuning-rows, and --runs that use the selection."
        )
        return
    _show_overhead(len(scoring[0].misaligned), times, rows, runs)


def _show_overhead(misaligned: int, times: list[Any], rows: int, runs: int) -> None:
    from ringfence.select.cost import TRAINING_TO_INFERENCE, overhead

    candidates = next(one.rows for one in times if one.name == "perplexity_gap")
    added = overhead(misaligned, max(candidates, 1), rows, runs)
    a_run = sum(one.seconds for one in times) / runs
    console.print(
        f"Scoring {candidates} candidates with {misaligned} misaligned models adds {100 * added:.2g}% to {runs} "
        f"fine-tuning run(s) of {rows} rows (equation 10 of Kaczer et al., its two counts put right; training on a "
        f"row counts as {TRAINING_TO_INFERENCE:g} forward passes). The whole selection adds about {a_run:.1f} s a run.",
        markup=False,
        highlight=False,
    )
