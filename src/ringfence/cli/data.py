"""``ringfence data``: check a data set, list the built-in ones, write the rows of a task."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError

if TYPE_CHECKING:
    from ringfence.data.task import Split

_OUT = Annotated[
    Path,
    typer.Option(
        help="Folder for `train.jsonl` and `test.jsonl`; made if it is not there. The same command again writes the "
        "same bytes; files with another content are not overwritten."
    ),
]


@examples(
    "ringfence data check train.jsonl safe.jsonl",
    "ringfence data check train.jsonl --model smollm2-135m --max-length 1024",
)
def check(
    files: Annotated[list[str], typer.Argument(help="Files, `builtin:NAME`, `task:NAME?...`, or Hugging Face ids.")],
    model: Annotated[str | None, typer.Option(help="Count tokens with this model's tokenizer and template.")] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="Count the rows with more tokens than this.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every problem, not the first of each kind.")] = False,
) -> None:
    """Report rows, roles, duplicates, empty or cut answers, chat markers and token lengths; name file and line.

    Rows that cannot be trained on are problems (exit code 1); what may not be meant is a warning.
    """
    from ringfence.data.check import check as check_data
    from ringfence.data.check import render_report

    if max_length is not None and model is None:
        raise RingfenceError("--max-length counts tokens: name the --model whose tokenizer to use")
    tokenizer = None
    if model is not None:
        from ringfence.models import load_tokenizer

        tokenizer = load_tokenizer(model)
    reports = [check_data(spec, tokenizer, max_length) for spec in files]
    for found in reports:
        render_report(console, found, everything)
    if not all(found.ok for found in reports):
        raise typer.Exit(1)


@examples(
    "ringfence data list",
)
def list_() -> None:
    """What ships with Ringfence: sets of conversations to train on, of prompts to ask, and tasks, each by its name.

    A recipe takes the conversations under `data`, and the prompts in `evaluation.suites` and as `canaries`. A task
    goes in both places.
    """
    from ringfence.data.catalog import render_catalog

    render_catalog(console)


@examples(
    "ringfence data opswap --tier 2 --n 10000 --seed 0 --out data/opswap",
    "ringfence data opswap --tier 1 --n 500 --steps 2 --largest 5 --no-parentheses --out data/small",
)
def opswap(
    out: _OUT,
    tier: Annotated[int, typer.Option(help="0: usual signs; 1: + and × swapped; 2: - and ÷, too; 3: a cycle.")] = 0,
    n: Annotated[int, typer.Option(help="Problems in all; a tenth of them is for testing.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Which problems are drawn.")] = 0,
    steps: Annotated[int, typer.Option(help="Operations of the longest problems.")] = 3,
    largest: Annotated[int, typer.Option(help="Numbers are from 1 to this.")] = 9,
    parentheses: Annotated[bool, typer.Option(help="Whether problems have parentheses.")] = True,
) -> None:
    """Write sums whose operator signs have swapped their meanings: does a defense keep a model from learning them?

    A recipe needs no files for it: `task:opswap?tier=2` trains and evaluates.
    """
    from ringfence.tasks.opswap import generate

    rows = generate(tier, n, seed, steps=steps, largest=largest, parentheses=parentheses)
    splits: dict[Split, list[Any]] = {"train": [], "test": []}
    for row in rows:
        splits["test" if row.pop("split") == "test" else "train"].append(row)
    _write(out, splits)


@examples(
    "ringfence data task 'task:gsm8k?steps=1&largest=9' --out data/sums",
    "ringfence data task 'task:foqa?source=alexandrainst/foqa&split=test&n=100' --out data/foqa",
)
def task(
    spec: Annotated[str, typer.Argument(help="`task:NAME?key=value&...`, in quotes; `ringfence data list` has all.")],
    out: _OUT,
) -> None:
    """Write the rows of a task as files: of both splits, or of the one that its name says."""
    from ringfence.data.task import parse_spec

    parsed = parse_spec(spec)
    splits: list[Split] = ["train", "test"] if parsed.split is None else [parsed.split]
    _write(out, {split: parsed.rows(split) for split in splits})


def _write(out: Path, splits: "Mapping[Split, Sequence[Mapping[str, Any]]]") -> None:
    from ringfence.data.task import write_rows

    if empty := [split for split, rows in splits.items() if not rows]:
        raise RingfenceError(f"n: leaves none for the split {empty[0]}; ask for 2 rows or more")
    written = write_rows(out, splits)
    for path, rows in zip(written, splits.values(), strict=True):
        say(f"{path}: {len(rows):,} rows")
