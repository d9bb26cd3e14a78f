"""``ringfence direction``: fit and plot. Heavy imports are inside the commands."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.plain import read_json
from ringfence.core.progress import advancing, watched

if TYPE_CHECKING:
    from ringfence.directions.axis import Direction
    from ringfence.directions.representations import OnRows
    from ringfence.directions.sets import DatasetGroup, Representations
    from ringfence.models import Loaded


_SET = "A data set: a `.jsonl`, `.json` or `.parquet` file, `builtin:NAME`, `task:NAME?...`, or a hub id."
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


@examples(
    "ringfence direction fit protective.jsonl other.jsonl --out v.safetensors",
    "ringfence direction fit builtin:glitter/safe builtin:glitter/target --layers 10,15,20 --out v.safetensors",
    "ringfence direction fit a.jsonl b.jsonl --anchor c.jsonl --model Qwen/Qwen2.5-7B-Instruct --dtype bfloat16 "
    "--out v.safetensors",
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
    from ringfence.directions.axis import save_direction
    from ringfence.directions.fitting import Fitting, fit_direction
    from ringfence.directions.sets import read_sets
    from ringfence.report.terminal.direction_tables import worth_tables

    _require_new(out, ".safetensors")
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
    say(f"direction: {out}")


@examples(
    "ringfence direction plot v.safetensors a.jsonl b.jsonl --mark builtin:general --out map.html",
    "ringfence direction plot v.safetensors a.jsonl b.jsonl --em a=0.03 --em b=0.21 --out map.html",
    "ringfence direction plot v.safetensors a.jsonl b.jsonl --em em.json --out map.html --json map.json",
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
    json: Annotated[
        Path | None, typer.Option("--json", help="File to write what is drawn to, for `ringfence figure latent`.")
    ] = None,
    trust_remote_code: Trust = False,
) -> None:
    """Map sets by t-SNE, coloured by projection, by measured misalignment and by length, as one HTML page."""
    from ringfence.directions.axis import project
    from ringfence.directions.sets import read_marks, read_sets
    from ringfence.report.direction_map import Drawing, write_map
    from ringfence.report.terminal.direction_tables import means_table

    _require_new(out, ".html")
    if json is not None:
        _require_new(json, ".json")
    sets = read_sets(files)
    rates, marks = _rates(em or [], files, sets.names), read_marks(mark or [])
    axis, points = _located(direction, sets, model, dtype, batch_tokens, trust_remote_code, marks)
    values = project(axis, points.layers[axis.layer])
    drawing = Drawing(direction, files, rates, mark or [], marks, rows, seed, json)
    with console.status("mapping"):
        write_map(out, axis, sets, points, values, drawing)
    console.print(means_table(sets, points, values))
    say(f"page: {out}")
    if json is not None:
        say(f"numbers: {json}")


def _located(
    path: Path,
    sets: "DatasetGroup",
    model: str | None,
    dtype: str | None,
    batch_tokens: int,
    trust_remote_code: bool,
    marks: Sequence[dict[str, Any]] = (),
) -> tuple["Direction", "Representations"]:
    """The direction, and where the rows of ``sets``, and then ``marks``, are in its layer."""
    from ringfence.directions.axis import load_direction, require_fits
    from ringfence.directions.sets import locate

    axis = load_direction(path)
    try:
        loaded = _load(model or axis.model, dtype or axis.metadata.get("dtype", "float32"), trust_remote_code)
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


def _require_new(out: Path, suffix: str) -> None:
    """Raise :class:`RingfenceError` unless ``out`` can be written with such a suffix, and over nothing."""
    if out.suffix != suffix:
        raise RingfenceError(f"{out}: name a {suffix} file")
    if out.exists():
        raise RingfenceError(f"{out}: exists; choose another --out")


def _rates(given: Sequence[str], specs: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """Set name -> rate, of ``NAME=RATE`` and ``.json`` files, with sets named as on the page or as they are given.

    Raises :class:`RingfenceError` for an unknown set, for one that is given twice, and for what is no rate.
    """
    known = dict(zip(specs, names, strict=True)) | {name: name for name in names}
    rates: dict[str, float] = {}
    for item in given:
        pairs = _em_file(item) if item.endswith(".json") else dict([_em_pair(item)])
        for key, value in pairs.items():
            if key not in known:
                raise RingfenceError(f"--em: no set is called {key!r}.{did_you_mean(key, known)}")
            if known[key] in rates:
                raise RingfenceError(f"--em: {key} is given twice; leave one out")
            rates[known[key]] = _rate(key, value)
    return rates


def _em_pair(item: str) -> tuple[str, Any]:
    name, separator, rate = item.rpartition("=")
    if not separator:
        raise RingfenceError(f"--em {item}: give NAME=RATE, e.g. {item}=0.12, or a .json file with such pairs")
    try:
        return name, float(rate)
    except ValueError:
        return name, rate


def _em_file(name: str) -> dict[str, Any]:
    path = Path(name).expanduser()
    try:
        pairs = read_json(path)
    except RingfenceError as error:
        raise RingfenceError(f"--em {error}") from None
    if not isinstance(pairs, dict):
        raise RingfenceError(f'--em {path}: must be one JSON object, set -> rate, e.g. {{"a": 0.12}}')
    return pairs


def _rate(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or not 0 <= value <= 1:
        raise RingfenceError(f"--em: {key} is {value!r}; give a rate from 0 to 1")
    return float(value)
