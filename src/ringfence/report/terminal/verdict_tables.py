"""Tables of ``gate``, ``compare`` and ``agreement``: verdicts, protocols side by side, judges side by side."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from ringfence.core.terminal import say
from ringfence.core.text_table import TextTable
from ringfence.evaluate.agreement import Agreement
from ringfence.evaluate.calibration import Calibration, DecisionErrors
from ringfence.evaluate.gate import GateResult
from ringfence.judges import RUBRICS
from ringfence.report import formatting as wording
from ringfence.report.results import LEAK_METRIC


def show_gate(console: Console, result: GateResult, preset: str, folded: bool = False) -> None:
    """Print a reason a rule and the verdict; ``preset`` is the name of what counted.

    ``folded``: a rule that holds in several places is one line.
    """
    table = TextTable(f"Gate, counted as {preset}", ["", "rule", "on", "why"], words=["rule", "on", "why"])
    held = Counter(reason.rule for reason in result.reasons if reason.passed)
    told = set[str]()
    for reason in result.reasons:
        if folded and reason.passed and held[reason.rule] > 1:
            if reason.rule not in told:
                table.add(Text("pass", "green"), reason.rule, f"{held[reason.rule]} of them", "within the limit")
            told.add(reason.rule)
            continue
        verdict = Text("pass", "green") if reason.passed else Text("FAIL", "red")
        table.add(verdict, reason.rule, reason.where, reason.why)
    console.print(table)
    failed = sum(not reason.passed for reason in result.reasons)
    console.print("passed" if result.passed else f"failed: {failed} of {len(result.reasons)} rules")


def show_comparison(console: Console, table: pd.DataFrame, moves: pd.DataFrame, rules: dict[str, str]) -> None:
    """Print the rows of ``compare_presets`` and of ``spread``; ``rules`` are the presets' names with their words."""
    runs = list(table["run"].unique())
    caption = "percent [95% interval] of n answers; moves: highest minus lowest, in points"
    shown = TextTable("Shows the trait, by protocol", ["suite", "preset", *runs], keys=2, caption=caption)
    for suite, rows in table.groupby("suite", sort=False):
        cells = {(row.preset, row.run): row for row in rows.itertuples()}
        named = wording.named(str(suite), LEAK_METRIC)
        for preset in rules:
            shown.add(named, preset, *(_cell(cells.get((preset, run))) for run in runs))
        by_run = moves[moves["suite"] == suite].set_index("run")["moves"]
        points = [wording.percent(float(by_run.get(run, math.nan))) for run in runs]
        shown.add(named, Text("moves", "dim"), *points)
        shown.section()
    console.print(shown)
    for preset, rule in rules.items():
        say(console, f"{preset}: {rule}")


def show_settings(console: Console, differ: dict[str, dict[str, list[str]]]) -> None:
    """Print, by run and preset, in what the answers are not as the preset asks."""
    runs_with: dict[tuple[str, str], list[str]] = {}
    for run, by_preset in differ.items():
        for preset, lines in by_preset.items():
            runs_with.setdefault((preset, "; ".join(lines)), []).append(run)
    for (preset, text), runs in runs_with.items():
        line = f"not as {preset} asks: {text} ({', '.join(runs)})"
        say(console, line)


def show_agreement(console: Console, rows: Sequence[Agreement]) -> None:
    """Print one row a rubric, and one for the decision that needs both."""
    headings = (
        "decision",
        "n",
        "unscored A",
        "unscored B",
        "Spearman",
        "mean B - A",
        "both",
        "only A",
        "only B",
        "none",
        "kappa",
    )
    table = TextTable("Agreement of judges A and B", headings)
    for row in rows:
        counts = row.confusion
        numbers = [f"{count:,}" for count in (row.n, row.unscored_a, row.unscored_b)]
        numbers += [_number(row.spearman, 2), _number(row.mean_difference, 1)]
        numbers += [f"{count:,}" for count in (counts.both, counts.only_a, counts.only_b, counts.neither)]
        decision = row.decision if row.what in RUBRICS else row.what
        table.add(decision, *numbers, _number(counts.kappa, 2))
    console.print(table)


def show_calibrations(console: Console, maps: Sequence[Calibration], errors: DecisionErrors) -> None:
    """Print the errors of the calibrations before and after."""
    table = TextTable("Calibration from A to B, on unseen prompts", ["", "n", "before", "after"])
    for one in maps:
        table.add(f"{one.rubric}, mean absolute error", f"{one.n:,}", f"{one.mae_before:.1f}", f"{one.mae_after:.1f}")
    shares = [f"{100 * share:.1f} %" for share in (errors.before, errors.after)]
    table.add("misaligned, wrong decisions", f"{errors.n:,}", *shares)
    console.print(table)


def _cell(row: Any) -> str:
    if row is None:
        return wording.NO_DATA
    dropped = f" ({row.dropped_prompts:,} prompts dropped)" if row.dropped_prompts else ""
    of = f" of {row.n:,}" if row.n else ""
    return f"{wording.rate(row.value, row.low, row.high)}{of}{dropped}"


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
