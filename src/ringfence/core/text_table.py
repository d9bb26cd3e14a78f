"""Tables that can be read in a narrow terminal.

No word is broken: long names fold behind a hyphen or slash, and columns that do not fit go below, in a table of their
own that repeats the first columns. Only a word that is wider than the terminal is cut.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

GAP = 2  # characters between columns
# Where a line may end: behind white space, behind a sign that joins words, and behind a dot that no digit follows.
BREAK = re.compile(r"(?<=\s)(?=\S)|(?<=\w[-_/=+])(?=\w)|(?<=\w[.:,])(?=[^\W\d])")
WORDS, NUMBERS = "words", "numbers"


class TextTable:
    """Rows of text, printed by ``console.print(table)``. A cell is plain text, or a styled :class:`rich.text.Text`."""

    def __init__(
        self, title: str, headings: Sequence[str], keys: int = 1, words: Sequence[str] = (), caption: str = ""
    ) -> None:
        """The first ``keys`` columns say what a row is about. Of the others, those headed by one of ``words`` hold text

        that may fold; the rest are numbers, whose cells stay on one line each.
        """
        self.title, self.caption, self.keys = title, caption, keys
        self.headings = [Text(heading, style="bold") for heading in headings]
        self.kinds = [WORDS if i < keys or heading in words else NUMBERS for i, heading in enumerate(headings)]
        self.rows: list[list[Text]] = []
        self.sections: set[int] = set()  # rows that a line follows
        self.groups: dict[int, str] = {}  # row -> what stands above it and the rows that follow

    def add(self, *cells: str | Text) -> None:
        """Add a row; columns for which there is no cell are empty."""
        row = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
        self.rows.append(row + [Text()] * (len(self.headings) - len(row)))

    def group(self, title: str) -> None:
        """Put ``title`` on a line of its own above the rows that follow, and above those of every table below.

        A table has titles from its first row on, or none.
        """
        self.groups[len(self.rows)] = title

    def section(self) -> None:
        """Draw a line below the last row."""
        self.sections.add(len(self.rows) - 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = options.max_width
        if self.title:
            yield _folded(Text(self.title, style="italic"), width)
        for number, group in enumerate(self._groups(width)):
            if number:
                yield ""
            yield from self._tables(group, width)
        if self.caption:
            yield _folded(Text(self.caption, style="dim italic"), width)

    def _groups(self, width: int) -> list[list[int]]:
        """The columns of each table: all in one, else the keys and as many of the others as fit, evenly spread."""
        keys, rest = list(range(self.keys)), list(range(self.keys, len(self.headings)))
        # A name that is folded into many pieces is no name: better another table below.
        names = [min(self._natural(key), max(self._least(key), width // 4)) for key in keys]
        if _total([*names, *map(self._least, rest)]) <= width:
            return [keys + rest]
        room = width - _total(names)
        groups: list[list[int]] = []
        for column in rest:
            if groups and _total(map(self._least, [*groups[-1], column])) + GAP <= room:
                groups[-1].append(column)
            else:
                groups.append([column])
        size = math.ceil(len(rest) / max(1, len(groups)))
        even = [rest[start : start + size] for start in range(0, len(rest), max(1, size))]
        if all(_total(map(self._least, group)) + GAP <= room for group in even):
            groups = even
        return [keys + group for group in groups] or [keys]

    def _tables(self, group: Sequence[int], width: int) -> Iterator[RenderableType]:
        """All rows below their headings; with titles the headings alone, then each title and its rows."""
        widths, starts = self._widths(group, width), [*self.groups, len(self.rows)]
        yield self._table(group, widths, range(starts[0] if self.groups else len(self.rows)))
        for start, end in pairwise(starts):
            if start:
                yield ""
            yield _folded(Text(self.groups[start], style="bold"), width)
            yield self._table(group, widths, range(start, end), headed=False)

    def _table(self, group: Sequence[int], widths: Sequence[int], rows: range, headed: bool = True) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD, show_header=headed, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0)
        )
        for column, wide in zip(group, widths, strict=True):
            right = self.kinds[column] == NUMBERS
            heading = _folded(self.headings[column], wide)
            table.add_column(heading, justify="right" if right else "left", width=wide, no_wrap=True, vertical="top")
        for number in rows:
            cells = [_folded(self.rows[number][column], wide) for column, wide in zip(group, widths, strict=True)]
            table.add_row(*cells, end_section=number in self.sections)
        return table

    def _widths(self, group: Sequence[int], width: int) -> list[int]:
        """Every column has its longest word; what is left goes to the narrowest of those that lack some."""
        widths, natural = ([measure(column) for column in group] for measure in (self._least, self._natural))
        spare = width - _total(widths)
        while spare < 0 and max(widths) > 1:  # a word wider than the terminal
            widths[widths.index(max(widths))] -= 1
            spare += 1
        while spare > 0 and widths != natural:
            lacking = [at for at in range(len(widths)) if widths[at] < natural[at]]
            widths[min(lacking, key=widths.__getitem__)] += 1
            spare -= 1
        return widths

    def _natural(self, column: int) -> int:
        """The longest line."""
        return max(_longest(text) for text in self._texts(column))

    def _least(self, column: int) -> int:
        """The longest part that is not to be broken."""
        heading, *cells = self._texts(column)
        if self.kinds[column] == NUMBERS:
            return max(_longest_word(heading), *(_longest(cell) for cell in cells), 1)
        return max(_longest_word(text) for text in (heading, *cells))

    def _texts(self, column: int) -> list[Text]:
        return [self.headings[column], *(row[column] for row in self.rows)]


def _total(widths: Iterable[int]) -> int:
    """The width of a table with columns of ``widths``."""
    known = list(widths)
    return sum(known) + GAP * (len(known) - 1)


def _longest(text: Text) -> int:
    return max(map(cell_len, text.plain.split("\n")))


def _longest_word(text: Text) -> int:
    return max(cell_len(part.rstrip()) for part in BREAK.split(text.plain))


def _folded(text: Text, width: int) -> Text:
    """``text`` with line ends where it may break, so that no line is wider than ``width`` if words allow."""
    lines = [part for line in text.split("\n", allow_blank=True) for part in _fold(line, width)]
    return Text("\n").join(lines)


def _fold(line: Text, width: int) -> list[Text]:
    plain, start, last, cuts = line.plain, 0, 0, list[int]()
    for at in (*(found.start() for found in BREAK.finditer(plain)), len(plain)):
        if cell_len(plain[start:at].rstrip()) > width and last > start:
            cuts.append(last)
            start = last
        while cell_len(plain[start:at].rstrip()) > width:  # a word wider than the column
            start += max(1, _fitting(plain[start:at], width))
            cuts.append(start)
        last = at
    parts = list(line.divide(cuts)) if cuts else [line]
    for part in parts:
        part.rstrip()
    return parts


def _fitting(text: str, width: int) -> int:
    """How many characters of ``text`` are at most ``width`` wide."""
    return next((at - 1 for at in range(1, len(text) + 1) if cell_len(text[:at]) > width), len(text))
