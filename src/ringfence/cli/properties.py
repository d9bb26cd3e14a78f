"""``ringfence data properties``. Heavy imports are inside the command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ringfence.cli.console import console, examples, say
from ringfence.cli.options import judge_file
from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.progress import advancing, watched

if TYPE_CHECKING:
    from ringfence.data.conversations import Conversation
    from ringfence.select.base import Context
    from ringfence.select.embeddings import Embedding
    from ringfence.select.properties import Properties, Settings

PAGE = "properties.html"
NoSystem = Annotated[
    Literal["template_default", "empty", "none"],  # not imported: ringfence.data would take half a second of --help
    typer.Option(help="What a conversation without a system message is."),
]


@examples(
    "ringfence data properties safe.jsonl other.jsonl",
    "ringfence data properties mine=safe.jsonl theirs=safe-2.jsonl --out properties.html",
    "ringfence data properties safe.jsonl --judge judge.yaml --against suite:betley --json properties.json",
    "ringfence data properties safe.jsonl --clusters    (domains by the model's own hidden states)",
)
def properties(
    files: Annotated[list[str], typer.Argument(help="Data sets as `ringfence data check` takes them, or NAME=SET.")],
    model: Annotated[
        str, typer.Option(help="Its tokenizer and template count tokens; with --clusters its hidden states are used.")
    ] = "smollm2-135m",
    judge: Annotated[
        Path | None, typer.Option(help="YAML file with a judge, as in a recipe, for the HHH score.")
    ] = None,
    domain_column: Annotated[str, typer.Option(help="String column with the domain of a row.")] = "domain",
    clusters: Annotated[
        bool, typer.Option("--clusters", help="Count clusters of the prompts, and not labels.")
    ] = False,
    encoder: Annotated[
        str | None, typer.Option(help="With --clusters: embed by this sentence encoder, a folder or a hub id.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="With --clusters: of the model's weights, float32 (the default), bfloat16, float16."),
    ] = None,
    no_system: NoSystem = "template_default",
    against: Annotated[
        str | None, typer.Option(help="Another data set, or a suite of prompts: count the prompts that it has, too.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="An .html page to write, or a folder for the page and the numbers.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="File to write the numbers to.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals and of the clusters.")] = 0,
) -> None:
    """Compare data sets: HHH score, lengths, domains, duplicates, refusals, languages, overlap, with 95% intervals.

    Every set is read into memory.
    """
    from ringfence.data import read
    from ringfence.select.base import Context
    from ringfence.select.near_duplicates import THRESHOLD
    from ringfence.select.properties import Settings

    if encoder is not None and not clusters:
        raise RingfenceError("--encoder embeds the rows for --clusters: add it, or leave the encoder out")
    if dtype is not None and (encoder is not None or not clusters):
        raise RingfenceError("--dtype is of the --model whose hidden states --clusters takes: leave it out")
    if out is not None and out.suffix not in ("", ".html"):
        raise RingfenceError(f"--out: {out} is no page; name it .html, or give a folder")
    named = _named(files)
    settings = Settings(domain_column=domain_column, no_system=no_system, seed=seed)
    context = Context(model=model, dtype=dtype or "float32", no_system=no_system)
    wanted = _Wanted(context, _judge(judge), _embedding(context, encoder) if clusters else None, against, settings)
    found = wanted.look_at({name: read(spec) for name, spec in named.items()})
    facts = {
        **{f"set {name}": spec for name, spec in named.items()},
        "tokenizer": model,
        "HHH judge": "none" if judge is None else str(judge),
        "no system prompt": no_system,
        "domains": (encoder or f"{model} in {context.dtype}") if clusters else f"column {domain_column}",
        "other set": against or "none",
        "near-duplicates": f"Jaccard similarity of at least {THRESHOLD}",
        "seed": str(seed),
    }
    _show(found, facts, out, json)


class _Wanted:
    """What is asked of every set; made before anything slow, so that bad input is told first."""

    def __init__(
        self, context: "Context", judge: Any, embed: "Embedding | None", against: str | None, settings: "Settings"
    ) -> None:
        from ringfence.select.near_duplicates import prompt_texts
        from ringfence.select.steps.lengths import tokenizer_of

        self.judge, self.embed, self.settings = judge, embed, settings
        self.against = None if against is None else prompt_texts(against)
        self.tokenizer = tokenizer_of(context)

    def look_at(self, sets: dict[str, list["Conversation"]]) -> dict[str, "Properties"]:
        """Set by set, with a bar."""
        from ringfence.select.properties import properties as look

        passes = 1 + (self.judge is not None) + (self.embed is not None)
        found = {}
        with watched(console) as watch:
            for name, rows in sets.items():
                done = advancing(watch, name, passes * len(rows))
                found[name] = look(rows, self.tokenizer, self.judge, self.embed, self.against, self.settings, done)
        return found


def _embedding(context: "Context", encoder: str | None) -> "Embedding":
    from ringfence.models.load import DTYPES
    from ringfence.select.embeddings import Embedder, Embedding

    if context.dtype not in DTYPES:
        raise RingfenceError(f"--dtype {context.dtype!r} is unknown.{did_you_mean(context.dtype, DTYPES)}")
    return Embedding(Embedder(context, encoder))


def _show(found: dict[str, "Properties"], facts: dict[str, str], out: Path | None, json: Path | None) -> None:
    """The table; then the files that were asked for."""
    from ringfence.core.files import write_json
    from ringfence.report.properties import render, write_page
    from ringfence.select.properties import plain

    render(console, found)
    page = None if out is None else out if out.suffix == ".html" else out / PAGE
    numbers = [json] if json is not None else []
    if page is not None and page != out:
        numbers.append(page.with_suffix(".json"))
    for path in numbers:
        write_json(path, {"about": facts, "sets": {name: plain(one) for name, one in found.items()}})
        say(f"numbers: {path}")
    if page is not None:
        write_page(found, page, facts)
        say(f"page: {page}")


def _named(files: Sequence[str]) -> dict[str, str]:
    """Name -> data set; a set without a name has its file's, and where two would be alike, what was given."""
    pairs = [_pair(given) for given in files]
    stems = [name for name, _ in pairs]
    named: dict[str, str] = {}
    for name, spec in pairs:
        key = name if stems.count(name) == 1 else spec
        if key in named:
            raise RingfenceError(f"{key}: given twice; leave one out, or write NAME=SET to tell two sets apart")
        named[key] = spec
    return named


def _pair(given: str) -> tuple[str, str]:
    from ringfence.data.task import is_task

    if is_task(given):  # it has signs of equality, too
        return given, given
    name, equals, spec = given.partition("=")
    return (name, spec) if equals and name and not Path(given).exists() else (Path(given).stem, given)


def _judge(path: Path | None) -> Any:
    """The judge in a file, able to score by the rubric; what is wrong in the file is said of it."""
    from ringfence.select.properties import RUBRIC
    from ringfence.select.steps.judged import require_rubric

    if path is None:
        return None
    with judge_file(path) as (_, judge):
        require_rubric(judge, RUBRIC)
        judge.require_key()
    return judge
