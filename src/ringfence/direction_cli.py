"""``ringfence direction``: fit, project, sample and plot. Heavy imports are inside the commands."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from ringfence.core.errors import RingfenceError
from ringfence.core.progress import advancing, watched
from ringfence.core.terminal import say

if TYPE_CHECKING:
    from ringfence.directions.axis import Direction
    from ringfence.directions.representations import OnRows
    from ringfence.directions.sets import Points, Sets
    from ringfence.models import Loaded

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="The direction between two sets of conversations in a model's hidden states, and other sets along it.",
)
console = Console(emoji=False)

_SET = "A data set: a `.jsonl`, `.json` or `.parquet` file, `builtin:NAME`, or a hub id."
_VECTOR = "A direction's `.safetensors` file, as `fit` writes it."

DirectionFile = Annotated[Path, typer.Argument(help=_VECTOR)]
Sources = Annotated[list[str], typer.Argument(metavar="FILE...", help=_SET)]
ModelName = Annotated[
    str | None, typer.Option(help="The model, where it is not found by the name in the direction's file.")
]
Dtype = Annotated[str | None, typer.Option(help="Of the weights; by default as the direction was fitted.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")]
NoSystem = Annotated[
    Literal["template_default", "empty", "none"],  # not imported: ringfence.data would take half a second of --help
    typer.Option(help="What a conversation without a system message is."),
]
Layer = Annotated[
    int | None,
    typer.Option(help="k of hidden_states[k]; by default 20 at Qwen2.5's 7B and 32B, else 20/28 of the depth."),
]
Anchors = Annotated[
    list[str] | None, typer.Option(help="Another set; the directions of all pairs are compared. Repeatable.")
]
Rates = Annotated[
    list[str] | None,
    typer.Option(
        help="Measured misalignment, 0 to 1, of a model trained with a set: NAME=RATE, the set's name or as it is "
        "given, or a `.json` file with such pairs. Repeatable."
    ),
]
Suites = Annotated[list[str] | None, typer.Option(help="A suite of evaluation prompts to mark. Repeatable.")]
BatchTokens = Annotated[int, typer.Option(min=1, help="Tokens of a batch; changes results by rounding only.")]


@app.command(
    epilog="Examples:\n\n    ringfence direction fit protective.jsonl other.jsonl --out v.safetensors\n\n"
    "    ringfence direction fit builtin:glitter/safe builtin:glitter/target --layers 10,15,20 --out v.safetensors\n\n"
    "    ringfence direction fit a.jsonl b.jsonl --anchor c.jsonl --model Qwen/Qwen2.5-7B-Instruct --dtype bfloat16 "
    "--out v.safetensors"
)
def fit(
    a: Annotated[str, typer.Argument(metavar="A", help="Where the direction points to. " + _SET)],
    b: Annotated[str, typer.Argument(metavar="B", help="Where it points from.")],
    out: Annotated[Path, typer.Option(help="The `.safetensors` file to write.")],
    model: Annotated[str, typer.Option(help="A folder, a hub id, or smollm2-135m.")] = "smollm2-135m",
    layer: Layer = None,
    dtype: Annotated[str, typer.Option(help="Of the weights: float32, bfloat16, float16.")] = "float32",
    no_system: NoSystem = "template_default",
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of both sets.")] = 200,
    layers: Annotated[str, typer.Option(help="Other layers to compare the direction with, e.g. 15,20,25.")] = "",
    anchor: Anchors = None,
    batch_tokens: BatchTokens = 8192,
    seed: Annotated[int, typer.Option(min=0, help="Of folds and resamples.")] = 0,
    trust_remote_code: Trust = False,
) -> None:
    """Fit the direction from B to A: the difference of the mean representations of what their users say.

    Prints how well it separates the sets, how much of that is length, and how stable it is.
    """
    from ringfence.direction_files import require_new
    from ringfence.direction_tables import worth_tables
    from ringfence.directions.axis import save_direction
    from ringfence.directions.fitting import Fitting, fit_direction
    from ringfence.directions.sets import read_sets

    require_new(out, ".safetensors")
    settings = Fitting(layer, _layers(layers), no_system, bootstrap, seed, batch_tokens)
    specs = [a, b, *(anchor or [])]
    sets = read_sets(specs)
    loaded = _load(model, dtype, trust_remote_code)
    with _bar(len(sets)) as on_rows:
        direction, worth = fit_direction(loaded, sets, specs, settings, on_rows)
    save_direction(out, direction)
    for table in worth_tables(direction, worth, sets.names):
        console.print(table)
        console.print()
    say(console, f"direction: {out}")


@app.command(
    epilog="Example:\n\n    ringfence direction project v.safetensors safe.jsonl pool.jsonl --out projections.parquet"
)
def project(
    direction: DirectionFile,
    files: Sources,
    out: Annotated[Path, typer.Option(help="The `.parquet` file to write, one row a conversation.")],
    model: ModelName = None,
    dtype: Dtype = None,
    batch_tokens: BatchTokens = 8192,
    trust_remote_code: Trust = False,
) -> None:
    """Project sets on the unit vector: a parquet file, and every set's mean with its 95 % interval."""
    from ringfence.direction_files import projected, require_new, write_projections
    from ringfence.direction_tables import means_table
    from ringfence.directions.sets import read_sets

    require_new(out, ".parquet")
    sets = read_sets(files)
    axis, points = _located(direction, sets, model, dtype, batch_tokens, trust_remote_code)
    values = projected(axis, points)
    write_projections(out, axis, sets, points, values)
    console.print(means_table(sets, points, values))
    say(console, f"projections: {out}")


@app.command(
    epilog="Examples:\n\n    ringfence direction sample v.safetensors pool.jsonl --count 300 --out safe.jsonl\n\n"
    "    ringfence direction sample v.safetensors pool.jsonl --count 300 --no-domains --out safe.jsonl"
)
def sample(
    direction: DirectionFile,
    file: Annotated[str, typer.Argument(metavar="FILE", help=_SET)],
    count: Annotated[int, typer.Option(min=1, help="Rows to take.")],
    out: Annotated[Path, typer.Option(help="The `.jsonl` file to write; its manifest stands beside it.")],
    by: Annotated[str, typer.Option(help="The column with a row's domain.")] = "domain",
    no_domains: Annotated[bool, typer.Option("--no-domains", help="Take the set as one domain.")] = False,
    model: ModelName = None,
    dtype: Dtype = None,
    batch_tokens: BatchTokens = 8192,
    trust_remote_code: Trust = False,
) -> None:
    """Take rows evenly spaced along the direction, in proportion to their domains. Nothing is drawn by chance."""
    from ringfence.direction_files import Sampling, projected, require_labels, require_new_sample, write_sample
    from ringfence.direction_tables import sample_table
    from ringfence.directions.sets import read_sets

    manifest = require_new_sample(out)
    column = None if no_domains else by
    sets = read_sets([file])
    require_labels(sets, column, count)
    axis, points = _located(direction, sets, model, dtype, batch_tokens, trust_remote_code)
    taken = write_sample(out, manifest, axis, sets, projected(axis, points), Sampling(direction, file, count, column))
    console.print(sample_table(taken, count, len(sets)))
    say(console, f"rows: {out}\nmanifest: {manifest}")


@app.command(
    epilog="Examples:\n\n"
    "    ringfence direction plot v.safetensors a.jsonl b.jsonl --mark builtin:general --out map.html\n\n"
    "    ringfence direction plot v.safetensors a.jsonl b.jsonl --em a=0.03 --em b=0.21 --out map.html\n\n"
    "    ringfence direction plot v.safetensors a.jsonl b.jsonl --em em.json --out map.html"
)
def plot(
    direction: DirectionFile,
    files: Sources,
    out: Annotated[Path, typer.Option(help="The `.html` file to write.")],
    em: Rates = None,
    mark: Suites = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows a set on the map, evenly spaced; tables take all.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the map.")] = 0,
    model: ModelName = None,
    dtype: Dtype = None,
    batch_tokens: BatchTokens = 8192,
    trust_remote_code: Trust = False,
) -> None:
    """Map sets by t-SNE, coloured by projection, by measured misalignment and by length, as one HTML page."""
    from ringfence.direction_files import Drawing, parse_em, projected, require_new, write_map
    from ringfence.direction_tables import means_table
    from ringfence.directions.sets import read_marks, read_sets

    require_new(out, ".html")
    sets = read_sets(files)
    rates, marks = parse_em(em or [], files, sets.names), read_marks(mark or [])
    axis, points = _located(direction, sets, model, dtype, batch_tokens, trust_remote_code, marks)
    values = projected(axis, points)
    drawing = Drawing(direction, files, rates, mark or [], marks, rows, seed)
    with console.status("mapping"):
        write_map(out, axis, sets, points, values, drawing)
    console.print(means_table(sets, points, values))
    say(console, f"page: {out}")


def _located(
    path: Path,
    sets: "Sets",
    model: str | None,
    dtype: str | None,
    batch_tokens: int,
    trust_remote_code: bool,
    marks: Sequence[dict[str, Any]] = (),
) -> tuple["Direction", "Points"]:
    """The direction, and where the rows of ``sets``, and then ``marks``, are in its layer."""
    from ringfence.directions.axis import load_direction, require_fits
    from ringfence.directions.sets import locate

    axis = load_direction(path)
    try:
        loaded = _load(model or axis.model, dtype or axis.about.get("dtype", "float32"), trust_remote_code)
    except RingfenceError as error:
        hint = "" if model else f" ({path} knows its model as {axis.model!r}; name its folder or hub id by --model)"
        raise RingfenceError(f"{error}{hint}") from error
    require_fits(axis, loaded, where=str(path))
    with _bar(len(sets) + len(marks)) as on_rows:
        points = locate(loaded, [*sets.rows, *marks], [axis.layer], axis.role, axis.no_system, batch_tokens, on_rows)
    return axis, points


def _load(name: str, dtype: str, trust_remote_code: bool) -> "Loaded":
    from ringfence.models import load

    return load(name, dtype=dtype, trust_remote_code=trust_remote_code)


@contextmanager
def _bar(total: int) -> Iterator["OnRows"]:
    with watched(console) as watch:
        yield advancing(watch, "representations", total)


def _layers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise RingfenceError(f"--layers {text}: give whole numbers with commas between them, e.g. 15,20,25") from None
