"""What is in no number, or only in part: rows cut or dropped in training, answers cut or not judged, prompts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ringfence.report import formatting as wording
from ringfence.report.counts import hits_and_samples, same_prompts
from ringfence.report.results import LEAK_METRIC, RunResult, baseline_of
from ringfence.report.tables import records


def left_out(runs: Sequence[RunResult], baseline: str | None = None) -> list[str]:
    """A sentence for each run and each way; nothing where all was kept."""
    reference = baseline_of(runs, baseline)
    found = [said for run in runs for said in (*_trained(run), *_answered(run), *_gaps(run), *_paired(run, reference))]
    return [*found, *_limit(runs)]


def _trained(run: RunResult) -> Iterator[str]:
    for source, counts in run.rows.items():
        parts = [
            f"{counts[name]:,} {word}" for name, word in (("truncated", "cut"), ("dropped", "dropped")) if counts[name]
        ]
        if parts:
            rows = f"of {counts['given']:,} {source} rows"
            yield f"{run.name}: in training {' and '.join(parts)} {rows}, longer than the rows may be."


def _answered(run: RunResult) -> Iterator[str]:
    missing = {suite: (counts["missing"], counts["rows"]) for suite, counts in run.counts.items() if counts["missing"]}
    told = [f"{lacking:,} of {rows:,} on {suite}" for suite, (lacking, rows) in missing.items() if not _dressed(suite)]
    dressed = [counts for suite, counts in missing.items() if _dressed(suite)]
    if dressed:
        lacking, rows = map(sum, zip(*dressed, strict=True))
        told.append(f"{lacking:,} of {rows:,} under triggers")
    if told:
        yield f"{run.name}: answers that could not be scored: {', '.join(told)}."
    if run.answered_by and run.answered_by["state"] != "passed":
        yield f"{run.name}: {wording.unchecked(run.answered_by)}"


def _dressed(suite: str) -> bool:
    return suite.startswith(wording.CONDITIONAL)


def _gaps(run: RunResult) -> Iterator[str]:
    """Questions that are in no conditional gap."""
    dropped = {str(row.trigger): int(row.dropped) for row in records(run.conditional) if getattr(row, "dropped", 0) > 0}
    if dropped:
        told = ", ".join(f"{count:,} under {trigger}" for trigger, count in dropped.items())
        yield f"{run.name}: questions left out of the conditional gap, without a score on one side: {told}."


def _paired(run: RunResult, reference: RunResult) -> Iterator[str]:
    """Where the gap to the baseline is not over all prompts."""
    shared = [suite for suite in run.by_prompt if suite in reference.by_prompt and not _dressed(suite)]
    others = []
    for suite in shared if run is not reference else []:
        tables = [run.by_prompt[suite], reference.by_prompt[suite]]
        if not same_prompts(tables):
            others.append(suite)
            continue
        kept = hits_and_samples(tables, LEAK_METRIC)[2]
        if not kept.all():
            left = f"{int((~kept).sum()):,} of {kept.size:,} prompts of {suite}"
            yield f"{run.name}: the gap to {reference.name} is without {left}, which one of the two has no score on."
    if others:
        asked = f"{run.name} was asked other prompts than {reference.name} on {', '.join(others)}"
        yield f"{asked}: that gap is one of rates, not of pairs."


def _limit(runs: Sequence[RunResult]) -> Iterator[str]:
    """How long an answer may be, so that a longer one is cut."""
    limits: dict[Any, list[str]] = {}
    for run in runs:
        asked: Mapping[str, Any] = (run.metadata.get("recipe") or {}).get("evaluation") or {}
        if not run.responses.empty and asked.get("max_new_tokens"):
            limits.setdefault(asked["max_new_tokens"], []).append(run.name)
    for tokens, names in limits.items():
        whose = "Answers" if len(limits) == 1 else f"Answers of {', '.join(names)}"
        yield f"{whose} are cut at {tokens:,} tokens."
