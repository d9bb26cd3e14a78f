"""Tables of ``ringfence differences``: rates by variant, differences to the baseline, and influential prompts."""

import math

import pandas as pd
from rich.console import Console

from ringfence.core.terminal import say
from ringfence.core.text_table import TextTable
from ringfence.report import formatting as wording
from ringfence.report.differences import OVER_SEEDS, DifferenceRow, Differences
from ringfence.report.tables import records

_PROMPT_SHOWN = 60  # characters
_LEAST_P = 0.001
_DASH = "–"


def show_differences(console: Console, found: Differences) -> None:
    """Print all tables of ``found`` and, below them, what the numbers do not say."""
    title = wording.metric_title(found.metric)
    console.print(_rates_table(found.rates, found.metric))
    console.print()
    if found.rows:
        console.print(_differences_table(found, title))
        console.print()
    else:
        say(console, f"only {found.baseline}: give another run to compare it with")
    if not found.influence.empty:
        console.print(_influence_table(found.influence, title))
        console.print()
    for line in _notes(found):
        say(console, line)


def _notes(found: Differences) -> list[str]:
    lines = [f"{row.suite}, {row.variant}: no data, {row.why}" for row in found.rows if row.why]
    told = dict.fromkeys((row.variant, row.task) for row in found.rows if row.kept is False)
    lines += [f"{variant} {wording.LOST} {task}: a low leak of it is no success" for variant, task in told]
    if found.one_seed:
        lines.append(f"one seed of {', '.join(found.one_seed)}: nothing is known over seeds")
    if any(row.over == OVER_SEEDS for row in found.rows):
        lines.append(
            "over seeds: 3 seeds that differ leave hardly more than 2 degrees of freedom, hence the width; seeds are "
            "taken for near normal"
        )
    return lines


def _rates_table(rates: pd.DataFrame, metric: str) -> TextTable:
    caption = "percent [95% interval], over several seeds the mean of theirs; sd in points"
    title = wording.metric_title(metric)
    table = TextTable(title, ["suite", "run", "rate", "sd of seeds", "seeds", "answers"], keys=2, caption=caption)
    for row in records(rates):
        sd = _DASH if math.isnan(row.sd) else wording.percent(row.sd)
        rate = wording.rate(row.value, row.low, row.high)
        table.add(wording.named(row.suite, metric), row.variant, rate, sd, f"{row.seeds}", f"{row.n:,}")
    return table


def _differences_table(found: Differences, title: str) -> TextTable:
    tests = sum(not math.isnan(row.p) for row in found.rows)
    caption = (
        f"points [95% interval] on the same prompts; p of equal rates, by Holm for all {tests} rows; detectable: the "
        f"rise over {found.baseline} that runs of this size find 4 times in 5, as if on prompts of their own"
    )
    headings = ["suite", "run", "difference", "over", "p", "p, Holm", "prompts", "detectable"]
    table = TextTable(f"{title}: difference to {found.baseline}", headings, keys=2, words=["over"], caption=caption)
    for row in found.rows:
        table.add(wording.named(row.suite, found.metric), _marked(row), *_cells(row))
    return table


def _marked(row: DifferenceRow) -> str:
    """The variant's name, with the mark of one that lost its task."""
    return f"{row.variant} {wording.LOST}" if row.kept is False else row.variant


def _cells(row: DifferenceRow) -> tuple[str, ...]:
    prompts = f"{row.n:,}" + (f" ({row.dropped:,} dropped)" if row.dropped else "")
    if math.isnan(row.value):
        return wording.NO_DATA, _DASH, _DASH, _DASH, prompts, _DASH
    detectable = _DASH if math.isnan(row.detectable) else f"{wording.signed(row.detectable)}"
    difference = wording.difference(row.value, row.low, row.high)
    return difference, row.over, _p(row.p), _p(row.p_holm), prompts, detectable


def _influence_table(influence: pd.DataFrame, title: str) -> TextTable:
    caption = "percent of the run on the suite, with all prompts and without this one"
    headings = ["suite", "run", "prompt", "rate", "without"]
    table = TextTable(f"{title}: prompts that move the rate most", headings, 2, ["prompt"], caption)
    for row in records(influence):
        shown = _short(f"{row.prompt_id}: {row.prompt}")
        table.add(row.suite, row.run, shown, wording.percent(row.rate), wording.percent(row.without))
    return table


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _PROMPT_SHOWN else f"{one_line[: _PROMPT_SHOWN - 1]}…"


def _p(value: float) -> str:
    if math.isnan(value):
        return _DASH
    return f"<{_LEAST_P}" if value < _LEAST_P else f"{value:.3f}"
