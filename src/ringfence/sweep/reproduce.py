"""A paper's table beside one's own: published, measured with its interval, and the difference.

Tables are the sweeps in ``recipes/PAPER/``, which come with the package; they are found there, or in a folder
``recipes`` where one works, which comes first.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.files import write_text
from ringfence.sweep.config import is_sweep
from ringfence.sweep.latex import latex_table
from ringfence.sweep.measured import Measured, Summary
from ringfence.sweep.plan import SweepPlan
from ringfence.sweep.published import FILE, Published, load_published, require_counterparts
from ringfence.sweep.toy import FILE as TOY_FILE

_UNKNOWN = "not measured"
HEADINGS = ("row", "column", "published", "measured", "difference")


@dataclass(frozen=True)
class Line:
    """One number of the paper, and ours."""

    published: Published
    measured: Measured | None
    """None where it has not been measured"""

    @property
    def difference(self) -> float:
        """Ours less theirs; NaN where there is none of ours."""
        return math.nan if self.measured is None else self.measured.rate.value - self.published.value

    @property
    def cells(self) -> tuple[str, ...]:
        """Of :data:`HEADINGS`."""
        one = self.published
        theirs = f"{one.value:g}" + ("" if one.spread is None else f" ± {one.spread:g}")
        ours = _UNKNOWN if self.measured is None else self.measured.said(" ± {:.2g}", _UNKNOWN)
        return one.row, one.column, theirs, ours, _signed(self.difference)


def toy_file() -> Path:
    """What the toy scale is."""
    return next(path for folder in library() if (path := folder / TOY_FILE).is_file())


def library() -> Iterator[Path]:
    """The folders that hold ``PAPER/TABLE.yaml``: the one where one works, the package's, that of its sources."""
    packaged = Path(str(files("ringfence") / "recipes"))
    for folder in (Path("recipes"), packaged, Path(__file__).parents[3] / "recipes"):
        if folder.is_dir():
            yield folder


def tables() -> dict[str, Path]:
    """``PAPER/TABLE`` -> its sweep, of all papers with published numbers; of two of one name the first counts."""
    found: dict[str, Path] = {}
    for folder in library():
        for numbers in sorted(folder.glob(f"*/{FILE}")):
            for path in sorted(numbers.parent.glob("*.yaml")):
                if is_sweep(path.read_text(encoding="utf-8")):
                    found.setdefault(f"{numbers.parent.name}/{path.stem}", path)
    return found


def find_table(name: str) -> Path:
    """The sweep ``PAPER/TABLE``, also written without hyphens: ``kaczer2025/table2``. Raises for none such."""
    known = tables()
    plain = {key.replace("-", ""): path for key, path in known.items()}
    found = known.get(name) or plain.get(name.replace("-", ""))
    if found is None:
        raise RingfenceError(
            f"{name}: no such table; `ringfence reproduce --list` has them.{did_you_mean(name, known)}"
        )
    return found


def compared(plan: SweepPlan, summary: Summary) -> list[Line]:
    """Every published number of the table, with what was measured.

    Raises :class:`RingfenceError`, with file and line, for a number whose row the table does not have.
    """
    path = plan.path.parent / FILE
    published = [one for one in load_published(path) if one.table == plan.table]
    if not published:
        raise RingfenceError(f"{path}: has no numbers of {plan.table} to stand beside ours")
    require_counterparts(published, [plan], path)
    return [Line(one, summary.get(one.row, {}).get(one.column)) for one in published]


def unfilled(lines: Iterable[Line], summary: Summary, path: Path) -> list[str]:
    """A line for each published number of a row that is measured, in a column that nothing has filled."""
    return [
        f"{path}:{one.published.line}: row {one.published.row} is measured, and has no column {one.published.column}."
        f"{did_you_mean(one.published.column, summary[one.published.row])}"
        for one in lines
        if one.measured is None and one.published.row in summary
    ]


def write_tables(lines: Sequence[Line], out: Path, name: str) -> list[Path]:
    """``NAME.md``, ``NAME.csv`` and ``NAME.tex`` in the folder ``out``."""
    rows = [line.cells for line in lines]
    made = {"md": _markdown(rows), "csv": _csv(lines), "tex": latex_table(HEADINGS, rows, "llrrr")}
    for suffix, text in made.items():
        write_text(out / f"{name}.{suffix}", text)
    return [out / f"{name}.{suffix}" for suffix in made]


def _signed(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.3g}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _csv(lines: Sequence[Line]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measured = ("measured", "low", "high", "spread", "runs", "difference")
    writer.writerow(("row", "column", "published", "published_spread", *measured, "source"))
    for line in lines:
        one, ours = line.published, line.measured
        numbers = (math.nan,) * 5 if ours is None else (*_bounds(ours), ours.spread, ours.rate.n)
        theirs = (one.value, math.nan if one.spread is None else one.spread)
        cells = ["" if math.isnan(x) else f"{x:.6g}" for x in (*theirs, *numbers, line.difference)]
        writer.writerow([one.row, one.column, *cells, one.source])
    return text.getvalue()


def _bounds(one: Measured) -> tuple[float, float, float]:
    return one.rate.value, one.rate.low, one.rate.high
