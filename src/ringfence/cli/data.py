"""``ringfence data check`` and ``list``. Heavy imports are inside the commands."""

from typing import Annotated

import typer

from ringfence.cli.console import console, examples
from ringfence.core.errors import RingfenceError


@examples(
    "ringfence data check train.jsonl safe.jsonl",
    "ringfence data check train.jsonl --model smollm2-135m --max-length 1024",
)
def check(
    files: Annotated[list[str], typer.Argument(help="Files, `builtin:NAME`, or Hugging Face dataset ids.")],
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
    """What ships with Ringfence: sets of conversations to train on, and of prompts to ask, each by its name.

    A recipe takes the conversations under `data`, and the prompts in `evaluation.suites` and as `canaries`.
    """
    from ringfence.data.catalog import render_catalog

    render_catalog(console)
