"""The opening sentences about runs: leak, task, benign tasks and cost together, each against a fair comparison.

A run that lost the task cannot be the lowest, and neither can one that learned less of a benign task than a run without
a defense: its low leak comes with it.
"""

import math
from collections.abc import Sequence

from ringfence.core.rates import Rate
from ringfence.core.ratios import Ratio
from ringfence.report import formatting as wording
from ringfence.report.gaps import gap_between
from ringfence.report.keeping import TASK_METRIC, TASK_SUITE
from ringfence.report.learning import Learned
from ringfence.report.results import LEAK_METRIC, RunResult, baseline_of
from ringfence.report.standing import Standing, leak_suite, like_in_cost, standings

NO_BREAK = "\u00a0"  # keeps a rate and its interval on one line
CHANCE = "may be chance"
_UNKNOWN = (
    "Whether it learned well is not known: that takes scores on benign tasks, of it and of a run without a defense."
)
NOTHING = 0.0005  # a gap that is 0.0 points


def headline(runs: Sequence[RunResult], baseline: str | None = None) -> list[str]:
    """The sentences; none where nothing has been evaluated."""
    suite = leak_suite(runs)
    if suite is None:
        return []
    reference = baseline_of(runs, baseline)
    known = [one for one in standings(runs, baseline) if not math.isnan(one.leak.value)]
    if not known:
        return [f"No run has a scored answer on the {suite} prompts yet."]
    own = next((one for one in known if one.run is reference), None)
    others = [one for one in known if one.run is not reference]
    sentences = [] if own is None else [_of_the_baseline(own, suite)]
    sentences += [
        f"The untuned model {one.run.name} leaks {_stated(one.leak)}{_task(one)}{_learning(one)}."
        for one in others
        if one.run.status == "untuned"
    ]
    trained = [one for one in others if one.run.status != "untuned"]
    return [
        *sentences,
        *_of_the_trained(trained, reference, own, suite),
        *_of_the_lost(known),
        *_of_the_unlearned(known),
    ]


def _of_the_baseline(one: Standing, suite: str) -> str:
    untuned = "the untuned model " if one.run.status == "untuned" else ""
    said = f"On {suite} prompts, {untuned}{one.run.name} leaks {_stated(one.leak)} of scored answers{_task(one)}"
    return f"{said}{_learning(one)}{_cost(one)}."


def _of_the_trained(trained: Sequence[Standing], reference: RunResult, own: Standing | None, suite: str) -> list[str]:
    if not trained:
        return []
    kept = [one for one in trained if one.task is None or one.task.kept is True]
    if not kept:
        return [f"None of the other trained runs is known to have kept the task on {TASK_SUITE} prompts."]
    eligible = [one for one in kept if one.learned_well] or [one for one in kept if one.learned_well is None]
    if not eligible:
        return ["None of the other trained runs has learned its benign tasks as a run without a defense does."]
    best = min(eligible, key=lambda one: one.leak.value)
    leak = f"{_whose(best, trained, reference)} {_stated(best.leak)}"
    leak += _against(best, reference, own, suite, LEAK_METRIC)
    task = "Whether it kept the task is not known: no trained run has answers on in-domain prompts"
    if best.task is not None:
        task = f"Its task is at {_stated(best.task.rate)}"
        task += _against(best, reference, own, TASK_SUITE, TASK_METRIC)
    learned = [_UNKNOWN] if best.learned_well is None and any(one.learns for one in trained) else []
    like = _at_like_cost(best, eligible, own, suite)
    return [f"{leak}.", f"{task}{_learning(best)}{_cost(best)}.", *learned, *like]


def _whose(best: Standing, trained: Sequence[Standing], reference: RunResult) -> str:
    """How the leak of ``best`` is called; of one trained run beside the untuned model there is no lowest."""
    if len(trained) == 1 and reference.status == "untuned":
        return f"{best.run.name} leaks"
    did = [] if best.task is None else ["kept the task"]
    did += ["learned well"] if best.learned_well else []
    whom = "other trained runs" + (f" that {' and '.join(did)}" if did else "")
    return f"The lowest leak of the {whom} is that of {best.run.name}:"


def _against(one: Standing, reference: RunResult, own: Standing | None, suite: str, metric: str) -> str:
    """The gap to the baseline, with its interval."""
    gap = gap_between(one.run, reference, suite, metric)
    if own is None or math.isnan(gap.value):
        return f"; {reference.name} has no data to compare with"
    return f", {_points(gap)} {reference.name}{_by_chance(gap)}"


def _at_like_cost(best: Standing, eligible: Sequence[Standing], own: Standing | None, suite: str) -> list[str]:
    other = like_in_cost(best, [one for one in eligible if one is not best and one is not own])
    if other is None or other.run.outcome is None:
        return []
    gap = gap_between(best.run, other.run, suite, LEAK_METRIC)
    cost = f"{wording.percent(other.run.outcome.safe_fraction)}%"
    cost += "" if math.isnan(other.run.outcome.seconds) else f", {wording.duration(other.run.outcome.seconds)}"
    return [
        f"At about as many safe rows, {other.run.name} ({cost}) leaks {_stated(other.leak)}{_task(other)}"
        f"{_learning(other)}: the leak of {best.run.name} is {_points(gap)} that{_by_chance(gap)}."
    ]


def _of_the_lost(known: Sequence[Standing]) -> list[str]:
    sentences = []
    for one in known:
        if one.lost and one.task is not None:
            sentences.append(
                f"{one.run.name} leaks {_stated(one.leak)} but lost the task: {TASK_SUITE} {_stated(one.task.rate)} "
                f"against {_stated(one.learned)} of {one.task.reference}{_cost(one)}."
            )
    return sentences


def _of_the_unlearned(known: Sequence[Standing]) -> list[str]:
    return [
        f"{one.run.name} leaks {_stated(one.leak)}{_task(one)} but learned less: {_scores(one.unlearned)}{_cost(one)}."
        for one in known
        if one.unlearned
    ]


def _learning(one: Standing) -> str:
    main = [learned for learned in one.learns if learned.is_main]
    return f"; it learns {_scores(main)}" if main else ""


def _scores(learns: Sequence[Learned]) -> str:
    """``algebra to 52.0% [45, 59], 98.1% [91, 105] of none``, task by task."""
    told = []
    for one in learns:
        share = "" if math.isnan(one.kept.value) else f", {_stated(one.kept)} of {one.reference}"
        told.append(f"{one.task} to {_stated(one.rate)}{share}")
    return " and ".join(told)


def _task(one: Standing) -> str:
    if one.task is None or math.isnan(one.task.rate.value):
        return ""
    return f" and does the task on {_stated(one.task.rate)} of {TASK_SUITE} prompts"


def _cost(one: Standing) -> str:
    outcome = one.run.outcome
    if one.run.imported:
        return "; cost: not known"
    if outcome is None or math.isnan(outcome.seconds):
        return ""
    safe = "" if math.isnan(outcome.safe_fraction) else f"{wording.percent(outcome.safe_fraction)}% safe rows, "
    anchored = f"anchor rows of {wording.percent(outcome.anchor_token_fraction)}% of the target rows' tokens, "
    parts = f"{safe}{anchored if outcome.anchor_tokens else ''}".replace("% safe", f"%{NO_BREAK}safe")
    return f"; cost: {parts}{wording.duration(outcome.seconds)}"


def _points(gap: Rate) -> str:
    size = f"{abs(100 * gap.value):.1f} points {wording.bracket(gap.low, gap.high)}".replace(" ", NO_BREAK)
    side = "from" if abs(gap.value) < NOTHING else "below" if gap.value < 0 else "above"
    return f"{size} {side}"


def _by_chance(gap: Rate) -> str:
    return f", which {CHANCE}" if gap.low <= 0 <= gap.high and abs(gap.value) >= NOTHING else ""


def _stated(rate: Rate | Ratio) -> str:
    return f"{wording.percent(rate.value)}% {wording.bracket(rate.low, rate.high)}".replace(" ", NO_BREAK)
