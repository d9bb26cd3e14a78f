"""Data sets side by side, by :mod:`ringfence.select.properties`: a table for the terminal and a self-contained page."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from rich.console import Console
from rich.text import Text

from ringfence.core.files import write_text
from ringfence.core.terminal import say
from ringfence.core.text_table import TextTable
from ringfence.report import formatting as wording
from ringfence.report.formatting import Term
from ringfence.report.html.payload import script_json
from ringfence.report.html.template import render_template
from ringfence.select.properties import CLUSTERS, Mean, Properties, Share

SCRIPTS = ("common.js", "charts.js", "properties.js")
CURVES = {"hhh": "HHH score", "user": "User tokens", "assistant": "Answer tokens"}
POINTS = 500  # of a curve; more distinct values are thinned evenly
DOMAINS_DRAWN = 20
LEGEND = "means and percent [95% interval]; a count has no interval"
Sets = Mapping[str, Properties]
NOT_ASKED = "–"
ROWS = Term("Rows", "Conversations in the set.")
HHH = Term(
    "P1 HHH score",
    "How helpful, honest and harmless the last answer is, 0 to 100, by the judge; the mean over the rows with a score.",
)
USER_TOKENS = Term(
    "P2 user tokens", "Tokens of what the user says in a conversation, without the chat template's; the mean over rows."
)
ASSISTANT_TOKENS = Term("P3 answer tokens", "The same of what the assistant says.")
DOMAINS = Term(
    "P4 domains",
    "Different labels in the domain column; or clusters of the prompts' embeddings by k-means, with the number of "
    "clusters, 2 to 20, that has the highest mean silhouette.",
)
DUPLICATES = Term("Duplicates %", "Rows that are an earlier row of the set, case and white space aside.")
NEAR_DUPLICATES = Term(
    "Near-duplicates %",
    "Rows, not among the duplicates, whose runs of five words are nearly those of an earlier row, by the threshold "
    "named under Provenance.",
)
OVERLAP_EXACT = Term("Overlap, exact %", "Rows whose prompt the other set has, too, case and white space aside.")
OVERLAP_NEAR = Term("Overlap, near %", "Rows, not among those, whose prompt is nearly one of the other set.")
REFUSALS = Term("Refusals %", "Rows whose last answer opens with a phrase that declines what was asked.")
LANGUAGE = Term(
    "Language %",
    "The most frequent language of the last answers (ISO 639) and its share of the answers with at least 20 letters.",
)


@dataclass(frozen=True)
class Cell:
    """One property of one set, as it reads."""

    text: str
    interval: str = ""
    note: str = ""
    share: Share | None = None
    """what a bar is drawn for"""


@dataclass(frozen=True)
class Line:
    """One property of all sets."""

    term: Term
    cells: Sequence[Cell]


def lines(sets: Sets) -> list[Line]:
    """The table's lines, in order; what no set was asked for is left out."""
    found: list[tuple[Term, Callable[[Properties], Cell]]] = [
        (ROWS, lambda one: Cell(wording.number(one.rows))),
        (HHH, lambda one: Cell("no judge") if one.hhh is None else _mean(one.hhh, "unscored")),
        (USER_TOKENS, lambda one: _mean(one.user_tokens)),
        (ASSISTANT_TOKENS, lambda one: _mean(one.assistant_tokens)),
        (DOMAINS, _domains),
        (DUPLICATES, lambda one: _share(one.duplicates)),
        (NEAR_DUPLICATES, lambda one: _share(one.near_duplicates)),
        (OVERLAP_EXACT, lambda one: _share(one.overlap_exact)),
        (OVERLAP_NEAR, lambda one: _share(one.overlap_near)),
        (REFUSALS, lambda one: _share(one.refusals)),
        (LANGUAGE, _language),
    ]
    made = [Line(term, [cell(one) for one in sets.values()]) for term, cell in found]
    return [line for line in made if any(cell.text != NOT_ASKED for cell in line.cells)]


def advice(sets: Sets) -> list[str]:
    """What to do about a set whose domains nobody can tell, one line a set."""
    return [f"{name}: {one.domains.source}" for name, one in sets.items() if math.isnan(one.domains.number)]


def render(console: Console, sets: Sets) -> None:
    """Print the table, sets as columns."""
    table = TextTable("Properties", ["", *sets], caption=LEGEND)
    for line in lines(sets):
        table.add(line.term.title, *(_printed(cell) for cell in line.cells))
    console.print(table)
    for one in advice(sets):
        say(console, one)


def write_page(sets: Sets, out: Path, facts: Mapping[str, str], title: str = "Data sets side by side") -> Path:
    """Write the page to ``out``, atomically, and return ``out``; ``facts`` say how the numbers were made."""
    write_text(out, render_page(sets, facts, title))
    return out


def render_page(sets: Sets, facts: Mapping[str, str], title: str) -> str:
    """The page's HTML. It works from ``file://`` without a network."""
    drawn = charts(sets)
    values = dict(
        title=title,
        names=list(sets),
        rows=wording.number(sum(one.rows for one in sets.values())),
        lines=lines(sets),
        advice=advice(sets),
        facts=facts,
        legend=LEGEND,
        curves=[(name, CURVES[name]) for name, values in drawn["curves"].items() if any(values)],
        domains=drawn["domains"],
        clustered=len(sets) > 1 and any(one.domains.source == CLUSTERS for one in sets.values()),
        sets=Markup(script_json({"runs": [{"name": name, "place": place} for place, name in enumerate(sets)]})),
        charts=Markup(script_json(drawn)),
    )
    return render_template("properties.html.j2", SCRIPTS, values, {}, colours=len(sets))


def charts(sets: Sets) -> dict[str, Any]:
    """What the page draws: distribution functions set by set, and the share of every domain's rows."""
    measures: dict[str, list[Mean | None]] = {
        "hhh": [one.hhh for one in sets.values()],
        "user": [one.user_tokens for one in sets.values()],
        "assistant": [one.assistant_tokens for one in sets.values()],
    }
    curves = {name: [_curve(one) for one in values] for name, values in measures.items()}
    return {"curves": curves, "domains": _domain_shares(list(sets.values()))}


def _curve(measured: Mean | None) -> dict[str, list[float]] | None:
    """The empirical distribution function: ``y`` is the share of rows with at most ``x``. None without values."""
    values = np.array([] if measured is None else measured.values)
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    x, counts = np.unique(values, return_counts=True)
    y = np.cumsum(counts) / values.size
    shown = np.unique(np.linspace(0, x.size - 1, min(x.size, POINTS)).round().astype(int))
    return {"x": x[shown].tolist(), "y": y[shown].round(5).tolist()}


def _domain_shares(sets: Sequence[Properties]) -> dict[str, Any]:
    """The most frequent domains by their mean share, and of each set the share of its labelled rows in each.

    Clusters of different sets have nothing in common but that they are sorted by size.
    """
    totals = [sum(one.domains.counts.values()) for one in sets]
    shares: dict[str, float] = {}
    for one, total in zip(sets, totals, strict=True):
        for label, count in one.domains.counts.items():
            shares[label] = shares.get(label, 0.0) + count / total
    labels = sorted(shares, key=lambda label: -shares[label])[:DOMAINS_DRAWN]
    by_set = [
        [one.domains.counts.get(label, 0) / total for label in labels] if total else None
        for one, total in zip(sets, totals, strict=True)
    ]
    return {"labels": labels, "shares": by_set, "left_out": len(shares) - len(labels)}


def _mean(found: Mean, missing: str = "") -> Cell:
    if math.isnan(found.value):
        return Cell(wording.NO_DATA, note=_counted(found.missing, missing))
    digits = 1 if found.high < 100 else 0
    bounds = "–" if math.isnan(found.low) else f"{found.low:,.{digits}f}, {found.high:,.{digits}f}"
    return Cell(wording.number(found.value, 1), f"[{bounds}]", _counted(found.missing, missing))


def _share(found: Share | None) -> Cell:
    if found is None:
        return Cell(NOT_ASKED)
    if math.isnan(found.value):
        return Cell(wording.NO_DATA)
    return Cell(wording.percent(found.value), wording.bracket(found.low, found.high), share=found)


def _domains(one: Properties) -> Cell:
    found = one.domains
    left_out = "\n".join(_counted(rows, reason) for reason, rows in found.left_out.items())
    if math.isnan(found.number):
        return Cell(wording.NO_DATA, note=left_out)
    return Cell(wording.number(found.number), note=left_out or _counted(found.unlabelled, "unlabelled"))


def _language(one: Properties) -> Cell:
    found = one.languages
    parts = [_counted(len(found.counts) - 1, "other" if len(found.counts) == 2 else "others")]
    note = "\n".join(part for part in (*parts, _counted(found.undetermined, "undetermined")) if part)
    if found.top is None:
        return Cell(wording.NO_DATA, note=note)
    interval = wording.bracket(found.share.low, found.share.high)
    return Cell(f"{found.top} {100 * found.share.value:.0f}", interval, note, found.share)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count > 0 and what else ""


def _printed(cell: Cell) -> Text:
    text = Text(" ".join(part for part in (cell.text, cell.interval) if part))
    return text.append(f"\n{cell.note}", "dim") if cell.note else text
