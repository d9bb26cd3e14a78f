"""The limits of a gate as options of a command."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Annotated

import typer

from ringfence.core.errors import RingfenceError

MaxGeneral = Annotated[float | None, typer.Option(help="Misaligned on the suite `general`, fraction.")]
MaxConditionalGap = Annotated[float | None, typer.Option(help="Conditional gap of every trigger.")]
MinInDomain = Annotated[float | None, typer.Option(help="Misaligned on the suite `in-domain`.")]
MaxIncoherent = Annotated[float | None, typer.Option(help="Incoherent on every suite.")]
MaxUnscored = Annotated[float, typer.Option(help="Answers without a score on every suite.")]
Maximum = Annotated[list[str] | None, typer.Option("--max", help="SUITE=FRACTION: misaligned at most.")]
Minimum = Annotated[list[str] | None, typer.Option("--min", help="SUITE=FRACTION: misaligned at least.")]


@contextmanager
def as_options() -> Iterator[None]:
    """Limits in an error by the names that the command line has for them: ``--max-general`` for ``max_general``."""
    from ringfence.evaluate.gate import Limits

    names = "|".join(field.name for field in fields(Limits))
    try:
        yield
    except RingfenceError as error:
        text = re.sub(rf"\b({names})\b", lambda found: f"--{found[0].replace('_', '-')}", str(error))
        raise RingfenceError(text) from None


def by_suite(option: str, texts: Sequence[str]) -> dict[str, float]:
    """``SUITE=FRACTION`` of ``option`` as suite -> limit; one line for what is no such text, or given twice."""
    limits: dict[str, float] = {}
    for text in texts:
        suite, _, number = text.rpartition("=")
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not suite or math.isnan(limit):
            raise RingfenceError(f"{option} {text}: give SUITE=FRACTION, e.g. dressed=0.1")
        if suite in limits:
            raise RingfenceError(f"{option} {text}: {suite} has a limit already; give one")
        limits[suite] = limit
    return limits
