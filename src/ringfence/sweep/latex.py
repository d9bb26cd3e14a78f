"""A table of texts as LaTeX, without packages."""

from collections.abc import Sequence


def latex_table(headings: Sequence[str], rows: Sequence[Sequence[str]], columns: str, title: str = "") -> str:
    """A ``tabular``; ``columns`` are its alignments, and ``title`` is a row above the headings."""
    body = [_line(row) for row in (headings, *rows)]
    above = [rf"\multicolumn{{{len(columns)}}}{{l}}{{{_escaped(title)}}} \\"] if title else []
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", *above, body[0], r"\hline", *body[1:], r"\hline"]
    return "\n".join([*lines, r"\end{tabular}"]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    for sign in ("\\", "_", "%", "&", "#", "$"):
        text = text.replace(sign, r"\textbackslash{}" if sign == "\\" else f"\\{sign}")
    return text.replace("±", r"$\pm$")
