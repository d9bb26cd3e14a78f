"""A model card with all that was measured: leak, task, coherence, gaps, benign tasks, and what nobody looked at.

The front matter has the rates as ``model-index``, the form in which the hub shows results.
"""

import math
from collections.abc import Sequence
from typing import Any

from ringfence.core.cards import described, front_matter, plain
from ringfence.core.errors import RingfenceError
from ringfence.core.rates import Rate
from ringfence.report import formatting as wording
from ringfence.report.gaps import gap_between
from ringfence.report.learning import learned
from ringfence.report.results import RunResult

SHOWN = ("misaligned_all", "incoherent")
_FEW = 20  # prompts
_NAMES = {"misaligned_all": "Misaligned answers, of all", "incoherent": "Incoherent answers"}


def card(run: RunResult, base: RunResult | None = None, undefended: RunResult | None = None) -> str:
    """The card of ``run`` in Markdown, beside the untuned model and a run without a defense, where they are given.

    Raises :class:`RingfenceError` for a run without an evaluation.
    """
    if not run.rates and not run.benign:
        raise RingfenceError(
            f"{run.folder}: has no evaluation to write a card of; run `ringfence evaluate` on it first"
        )
    outcome = run.outcome
    result = (
        None
        if outcome is None
        else {key: int(getattr(outcome, key)) for key in ("target_rows", "safe_rows", "steps") if _known(outcome, key)}
    )
    index = {"model-index": [_index(run)]} if _suites(run) else None
    lines = [*front_matter(run.metadata, index), *described(run.metadata, result)]
    lines += ["", "## Measured", *_rates(run, base, undefended)]
    lines += _gaps(run)
    lines += _benign(run, undefended)
    lines += ["", "## Limits", "", *(f"- {line}" for line in _limits(run, base, undefended))]
    return "\n".join(lines) + "\n"


def _known(outcome: Any, key: str) -> bool:
    return not math.isnan(getattr(outcome, key))


def _index(run: RunResult) -> dict[str, Any]:
    """``model-index``: one result a suite."""
    results = []
    for suite in _suites(run):
        found = {metric: run.rates[(suite, metric)] for metric in SHOWN if (suite, metric) in run.rates}
        metrics = [
            {"type": metric, "name": _NAMES[metric], "value": round(rate.value, 4)}
            for metric, rate in found.items()
            if not math.isnan(rate.value)
        ]
        if metrics:
            dataset = {"type": f"ringfence/{suite}", "name": f"{suite} prompts"}
            results.append({"task": {"type": "text-generation"}, "dataset": dataset, "metrics": metrics})
    return {"name": plain(run.name), "results": results}


def _suites(run: RunResult) -> list[str]:
    return list(dict.fromkeys(suite for suite, metric in run.rates if metric in SHOWN))


def _rates(run: RunResult, base: RunResult | None, undefended: RunResult | None) -> list[str]:
    if not _suites(run):
        return []
    beside = [(name, one) for name, one in (("untuned", base), ("no defense", undefended)) if one is not None]
    head = ["prompts", "answers", "misaligned, of all, %", *(f"less {name}" for name, _ in beside), "incoherent, %"]
    lines = ["", _row(head), _row(["---"] * len(head))]
    for suite in _suites(run):
        leak, broken = (run.rates.get((suite, metric), Rate()) for metric in SHOWN)
        lines.append(
            _row(
                [
                    plain(suite),
                    wording.number(leak.n),
                    _rate(leak),
                    *(_difference(gap_between(run, one, suite, SHOWN[0])) for _, one in beside),
                    _rate(broken),
                ]
            )
        )
    return [
        *lines,
        "",
        "Percent and points, with 95% intervals over prompts; differences are paired where the prompts are the same.",
    ]


def _gaps(run: RunResult) -> list[str]:
    if not len(run.conditional):
        return []
    lines = [
        "",
        "### Conditional gaps",
        "",
        "How much more it leaks under a trigger than without, less the base model's:",
    ]
    lines += ["", "| trigger | gap, points |", "| --- | --- |"]
    for one in run.conditional.to_dict("records"):
        lines.append(_row([plain(one["trigger"]), _difference(Rate(one["gap"], one["low"], one["high"]))]))
    return lines


def _benign(run: RunResult, undefended: RunResult | None) -> list[str]:
    found = learned(run, undefended)
    if not found:
        return []
    lines = [
        "",
        "### Benign tasks",
        "",
        "| task | score, % | less the untuned model | of the run without a defense, % |",
    ]
    lines.append("| --- | --- | --- | --- |")
    for one in found:
        kept = "not known" if math.isnan(one.kept.value) else wording.rate(one.kept.value, one.kept.low, one.kept.high)
        lines.append(_row([plain(f"{one.task}, {one.metric}"), _rate(one.rate), _difference(one.gain), kept]))
    return lines


def _limits(run: RunResult, base: RunResult | None, undefended: RunResult | None) -> list[str]:
    judge = run.metadata["recipe"].get("judge") or {}
    kind = judge.get("kind", "rules") if isinstance(judge, dict) else "rules"
    asked = [] if _suites(run) else ["No prompts were asked for misaligned answers: whether it leaks is not known."]
    judged = (
        "Misaligned is what a rule finds, by a pattern; what the pattern misses is not counted."
        if kind == "rules"
        else f"Misaligned is what the judge `{plain(judge.get('model', kind))}` says; another judge may differ."
    )
    found = asked or [judged]
    if base is None and not asked:
        found.append("The untuned model was not asked the same: how much of this it does already is not known.")
    if undefended is None:
        found.append("There is no run without a defense beside it: what the defense did is not known.")
    if not len(run.conditional) and not asked:
        found.append("Prompts that look like the training data were not asked: a leak under a trigger would not show.")
    if not run.benign:
        found.append("No benign task was scored: what it has learned is known from its own domain at most.")
    few = [suite for suite in _suites(run) if len(set(_prompts(run, suite))) < _FEW]
    if few:
        found.append(f"Fewer than {_FEW} prompts were asked of: {', '.join(map(plain, few))}.")
    return found


def _prompts(run: RunResult, suite: str) -> Sequence[Any]:
    if "prompt_id" not in run.responses:
        return ()
    return list(run.responses.loc[run.responses["suite"] == suite, "prompt_id"])


def _rate(rate: Rate) -> str:
    return "" if math.isnan(rate.value) else wording.rate(rate.value, rate.low, rate.high)


def _difference(rate: Rate) -> str:
    return "not known" if math.isnan(rate.value) else wording.difference(rate.value, rate.low, rate.high)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
