"""One self-contained HTML page about one or more runs: verdicts, tables, charts, every response, provenance.

It works from ``file://`` without a network (a content security policy in the page forbids any). Tables are in the HTML;
charts and the response browser are drawn by the page's scripts from data that are embedded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from markupsafe import Markup

from ringfence.core.files import write_text
from ringfence.core.run_folder import OWN
from ringfence.evaluate.benign import main_metrics
from ringfence.evaluate.gate import Limits
from ringfence.report import formatting as wording
from ringfence.report.folding import folded
from ringfence.report.gates import Gated, gated
from ringfence.report.html.links import inspect_logs
from ringfence.report.html.packing import packed
from ringfence.report.html.payload import (
    response_payload,
    response_texts,
    script_json,
    standing_payload,
    training_payload,
)
from ringfence.report.html.template import render_template
from ringfence.report.keeping import ALLOWED
from ringfence.report.learning import LEARNED, undefended_of
from ringfence.report.loading import load_runs
from ringfence.report.places import places
from ringfence.report.results import RunResult, baseline_of
from ringfence.report.rewards import LAST
from ringfence.report.standing import leak_suite, standings
from ringfence.report.summary import summarize_runs
from ringfence.report.tables import bucket_counts, comparison, conditional, consumption, endings, learning, records
from ringfence.report.worst import worst_prompts

SCRIPTS = (
    *("common.js", "charts.js", "panels.js", "standing.js", "canaries.js"),
    *("texts.js", "responses.js", "compare.js", "links.js", "export.js", "page.js"),
)


@dataclass(frozen=True)
class MetricBlock:
    """One metric's table: ``cells[run][suite]`` is a row of :func:`~ringfence.report.tables.comparison`.

    ``sentence`` says what the whole table comes to, if it is nothing but zeros or another one again.
    """

    metric: str
    sentence: str
    suites: list[str]
    cells: dict[str, dict[str, Any]]


def write_page(
    runs: Sequence[Path],
    out: Path,
    title: str = "Fine-tuning with a ringfence",
    baseline: str | None = None,
    evaluation: str = OWN,
    limits: Limits | None = None,
) -> Path:
    """Read the run folders ``runs`` and write the page to ``out``, atomically; returns ``out``.

    ``evaluation`` names the one of each run's evaluations that is shown, ``baseline`` the run that gaps are measured
    from (default: "none", else the first). With ``limits`` the page opens with the gate's answer to each trained run.
    Raises :class:`~ringfence.core.errors.RingfenceError` for a folder that is not a run, and for an unknown evaluation
    or baseline.
    """
    found = load_runs(runs, evaluation)
    return write_report(found, out, title, baseline, gated(found, limits, baseline, evaluation) if limits else [])


def write_report(
    runs: Sequence[RunResult],
    out: Path,
    title: str,
    baseline: str | None = None,
    gates: Sequence[Gated] = (),
    notes: Sequence[str] = (),
) -> Path:
    """As :func:`write_page`, of runs that have been read and judged; ``notes`` are further cautions."""
    out = Path(out)
    write_text(out, render_page(runs, title, baseline, out.parent, gates, notes))
    return out


def render_page(
    runs: Sequence[RunResult],
    title: str,
    baseline: str | None = None,
    beside: Path = Path(),
    gates: Sequence[Gated] = (),
    notes: Sequence[str] = (),
) -> str:
    """The page's HTML; links in it are from the folder ``beside``."""
    reference = baseline_of(runs, baseline)
    frame, stands = comparison(runs, reference.name), standings(runs, reference.name)
    consumed = consumption(runs)
    values = dict(
        title=title,
        runs=runs,
        order=places([run.name for run in runs]),
        number={run.name: place for place, run in enumerate(runs)},
        baseline=reference.name,
        gates=gates,
        summary=summarize_runs(runs, reference.name),
        notes=list(notes),
        worst=worst_prompts(runs),
        lost={one.run.name: one.task for one in stands if one.lost},
        allowed=f"{100 * ALLOWED:.0f}",
        leak_suite=leak_suite(runs),
        placed=any(one.leak.value == one.leak.value and one.task is not None for one in stands),
        blocks=_metric_blocks(frame),
        learning=learning(runs, reference.name),
        undefended=undefended_of(runs, reference.name),
        asked=f"{100 * LEARNED:.0f}",
        conditional=conditional(runs),
        consumption=list(records(consumed)),
        has_tokens=bool(consumed["safe_token_fraction"].notna().any()),  # not of completions
        anchored=bool((consumed["anchor_tokens"] > 0).any()),
        rewarded=any(len(run.rewards) for run in runs),
        penalised=any(len(run.penalties) for run in runs),
        endings=endings(runs),
        last_rewards=LAST,
        counts=bucket_counts(runs),
        curves=_curve_choices(runs),
        differences=recipe_differences(runs),
        words=wording,
        training=Markup(script_json(training_payload(runs) | {"standings": standing_payload(stands)})),
        responses=Markup(script_json(response_payload(runs))),
        texts=map(Markup, packed(response_texts(runs))),
        inspect_logs=inspect_logs(runs, beside),
        total_responses=sum(len(run.responses) for run in runs),
        benign_answers=sum(_benign_answers(run) for run in runs),
        only_benign=all(not run.rates and run.responses.empty for run in runs) and any(run.benign for run in runs),
    )
    return render_template("page.html.j2", SCRIPTS, values, {"yaml": _yaml}, colours=len(runs))


def _benign_answers(run: RunResult) -> int:
    return sum(int(run.benign[where]["samples"].sum()) for where in main_metrics(run.benign).items())


def recipe_differences(runs: Sequence[RunResult]) -> pd.DataFrame:
    """Dotted recipe keys whose values differ between runs: one row a key, one column a run, "" if a run lacks it."""
    flat = {run.name: _flatten(run.metadata.get("recipe") or {}) for run in runs}
    keys = dict.fromkeys(key for recipe in flat.values() for key in recipe)
    rows = {key: [recipe.get(key, "") for recipe in flat.values()] for key in keys}
    differing = {key: values for key, values in rows.items() if len(set(values)) > 1}
    return pd.DataFrame.from_dict(differing, orient="index", columns=list(flat))


def _flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings and lists as dotted key -> YAML text of the leaf."""
    if isinstance(value, dict) and value:
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = list(enumerate(value))
    else:
        return {prefix: _yaml(value)} if prefix else {}
    flat: dict[str, str] = {}
    for key, item in items:
        flat |= _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _metric_blocks(frame: pd.DataFrame) -> list[MetricBlock]:
    blocks, sentences = [], folded(frame)
    for metric, block in frame.groupby("metric", sort=False):
        cells: dict[str, dict[str, Any]] = {}
        for row in records(block):
            cells.setdefault(row.run, {})[row.suite] = row
        blocks.append(MetricBlock(str(metric), sentences.get(str(metric), ""), list(block["suite"].unique()), cells))
    return blocks


def _curve_choices(runs: Sequence[RunResult]) -> list[tuple[str, str]]:
    """The (suite, metric) pairs measured during training; the leak first."""
    pairs = dict.fromkeys(
        (suite, metric) for run in runs for suite, metric in zip(run.curve["suite"], run.curve["metric"], strict=True)
    )
    return sorted(pairs, key=lambda pair: pair != ("general", "misaligned_all"))


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return text.removesuffix("\n").removesuffix("\n...")
