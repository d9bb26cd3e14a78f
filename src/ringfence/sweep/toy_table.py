"""What the toy scale has measured: row, column, number with its interval, and of how many runs; no paper's number.

Every file says so: its name has ``.toy`` in it, Markdown and LaTeX begin with it, and a line of CSV has ``scale``.
"""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from ringfence.core.files import write_text
from ringfence.sweep.latex import latex_table
from ringfence.sweep.measured import Measured, Summary
from ringfence.sweep.plan import SweepPlan

HEADINGS = ("row", "column", "measured", "runs")
SCALE = "toy"
_ASIDE = ("cost/seconds", "/misaligned_coherent")
"""how columns end that are in the sweep's own CSV file only"""


def heading(plan: SweepPlan) -> str:
    """That of its table, whose numbers are not those of the paper's models and data."""
    return f"TOY SCALE, not the paper's table: {plan.config.shows}"


def toy_lines(summary: Summary) -> list[tuple[str, str, Measured]]:
    """Row, column, and what was measured; what has no number is not there."""
    return [
        (row, column, one)
        for row, columns in summary.items()
        for column, one in columns.items()
        if not column.endswith(_ASIDE) and not math.isnan(one.rate.value)
    ]


def toy_cells(row: str, column: str, one: Measured) -> tuple[str, ...]:
    """Of :data:`HEADINGS`."""
    return row, column, one.said(" ± {:.2g}", ""), f"{one.rate.n:.0f}"


def write_toy_tables(summary: Summary, out: Path, plan: SweepPlan) -> list[Path]:
    """``TABLE.toy.md``, ``TABLE.toy.csv`` and ``TABLE.toy.tex`` in the folder ``out``."""
    assert plan.toy is not None
    lines, about = toy_lines(summary), plan.toy.about
    cells = [toy_cells(*line) for line in lines]
    head = f"**{heading(plan)}.** {'. '.join(about)}.\n\n"
    body = "".join(f"| {' | '.join(row)} |\n" for row in [HEADINGS, ("---",) * len(HEADINGS), *cells])
    made = {
        out / f"{plan.table}.md": head + body,
        out / f"{plan.table}.csv": _csv(lines),
        out / f"{plan.table}.tex": latex_table(HEADINGS, cells, "llrr", heading(plan)),
    }
    for path, text in made.items():
        write_text(path, text)
    return list(made)


def _csv(lines: Sequence[tuple[str, str, Measured]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("scale", "row", "column", "measured", "low", "high", "spread", "runs"))
    for row, column, one in lines:
        numbers = (one.rate.value, one.rate.low, one.rate.high, one.spread, one.rate.n)
        writer.writerow([SCALE, row, column, *("" if math.isnan(x) else f"{x:.6g}" for x in numbers)])
    return text.getvalue()
