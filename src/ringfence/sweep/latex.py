"""A table of texts as LaTeX, without packages."""

from collections.abc import Sequence

_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "_%&#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
)


def latex_table(headings: Sequence[str], rows: Sequence[Sequence[str]], columns: str, title: str = "") -> str:
    """A ``tabular``; ``columns`` are its alignments, and ``title`` is a row above the headings."""
    body = [_line(row) for row in (headings, *rows)]
    above = [rf"\multicolumn{{{len(columns)}}}{{l}}{{{_escaped(title)}}} \\"] if title else []
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", *above, body[0], r"\hline", *body[1:], r"\hline"]
    return "\n".join([*lines, r"\end{tabular}"]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    return text.translate(_SIGNS)
