"""Group runs that differ only in their seed into variants, whose rates have a spread over seeds."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.seeds import seed_interval, seed_spread
from ringfence.core.statistics import NO_INTERVAL, Interval, clustered_interval
from ringfence.evaluate.conditional import PLAIN
from ringfence.report.counts import ByPrompt, hits_and_samples, parts, same_prompts
from ringfence.report.results import BASELINE, RunResult

RATE_COLUMNS = ("suite", "variant", "value", "low", "high", "sd", "seeds", "n")
_SAME = ("base", "inputs", "adapter", "server")  # of run.json, beside the recipe: what was trained, and on what
_ANY = ("name", "seed")  # of the recipe: what the seeds of a variant may differ in
_LISTED = 3  # prompts named in an error


@dataclass(frozen=True, eq=False)
class Variant:
    """One way to train, with a run a seed."""

    name: str
    runs: tuple[RunResult, ...]
    """at least one"""

    @property
    def untrained(self) -> bool:
        """Whether it is the untuned model, whose seed is that of its answers alone."""
        return bool(self.runs[0].metadata.get("base"))

    @property
    def seeds(self) -> list[int | None]:
        """The recipes' seeds, in the order of ``runs``."""
        return [_recipe(run).get("seed") for run in self.runs]

    @property
    def counts(self) -> list[dict[str, ByPrompt]]:
        """Of each run, suite -> its answers counted by prompt."""
        return [run.by_prompt for run in self.runs]

    def tables(self, suite: str) -> list[ByPrompt]:
        """The counts of every run on ``suite``; empty if one of them has no answers there."""
        found = [counts[suite] for counts in self.counts if suite in counts]
        return found if len(found) == len(self.runs) else []


def variants(runs: Sequence[RunResult]) -> list[Variant]:
    """``runs`` grouped by recipe, its ``name`` and ``seed`` aside, in order of appearance.

    Inputs that changed under the same names, and another adapter or server, make another variant. A run without a
    recipe is one of its own. Raises :class:`RingfenceError` if two runs of a variant have one seed.
    """
    groups: dict[str, list[RunResult]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    for group in groups.values():
        by_seed: dict[Any, RunResult] = {}
        for run in group:
            before = by_seed.setdefault(_recipe(run).get("seed"), run)
            if before is not run:
                raise RingfenceError(
                    f"{before.folder} and {run.folder}: both are seed {_recipe(run).get('seed')} of one recipe, so "
                    "they are no two seeds; leave one out"
                )
    names = [_name(group) for group in groups.values()]
    return [
        Variant(name if names.count(name) == 1 else " + ".join(run.name for run in group), tuple(group))
        for name, group in zip(names, groups.values(), strict=True)
    ]


def baseline_variant(found: Sequence[Variant], name: str | None) -> Variant:
    """The one called ``name`` or with a run of that name; without one that of "none", else the first."""
    given = [(str(run.metadata["name"]), one) for one in found for run in one.runs]
    by_name = {own: one for own, one in given if all(other is one for name_, other in given if name_ == own)}
    by_name |= {run.name: one for one in found for run in one.runs} | {one.name: one for one in found}
    if name is None:
        return by_name.get(BASELINE, found[0])
    if name not in by_name:
        raise RingfenceError(f'baseline "{name}" is none of the runs.{did_you_mean(name, by_name)}')
    return by_name[name]


def suites_of(found: Sequence[Variant], wanted: Sequence[str] | None = None) -> list[str]:
    """The suites of all runs as they first appear, or those ``wanted``; raises on one that no run has.

    The plain cell of conditional prompts is left out unless it is wanted: it has the answers of the suite that is
    dressed, which would be compared twice and counted twice among the p-values.
    """
    known = list(dict.fromkeys(suite for one in found for counts in one.counts for suite in counts))
    for suite in wanted or []:
        if suite not in known:
            raise RingfenceError(f"--suite: no run has answers on {suite!r}.{did_you_mean(suite, known)}")
    return list(dict.fromkeys(wanted)) if wanted else [suite for suite in known if suite != PLAIN]


def require_same_prompts(suite: str, sides: Sequence[Variant]) -> None:
    """Raise :class:`RingfenceError` unless all runs of ``sides`` were asked the same prompts in ``suite``."""
    runs = [(run, counts[suite]) for one in sides for run, counts in zip(one.runs, one.counts, strict=True)]
    first, reference = runs[0]
    for run, table in runs[1:]:
        if same_prompts([reference, table]):
            continue
        only = {first.name: reference.index.difference(table.index), run.name: table.index.difference(reference.index)}
        told = [f"{len(missing)} only in {name} ({_listed(missing)})" for name, missing in only.items() if len(missing)]
        raise RingfenceError(
            f"{suite}: {first.name} and {run.name} were not asked the same prompts: {', '.join(told)}; evaluate them "
            "on the same suite, or choose others with --suite"
        )


def variant_rates(found: Sequence[Variant], suites: Sequence[str], metric: str) -> pd.DataFrame:
    """One row a suite and variant: :data:`RATE_COLUMNS`; rates are fractions, NaN without data.

    Over several seeds ``value`` is the mean of the seeds' rates, ``sd`` their sample standard deviation and the
    interval :func:`~ringfence.core.seeds.seed_interval`. Of one seed the interval is over prompts, and ``sd`` NaN.
    ``n`` counts answers in the denominator.
    """
    rows = [_rate(one, suite, metric) for suite in suites for one in found]
    return pd.DataFrame(rows, columns=list(RATE_COLUMNS))


def _rate(one: Variant, suite: str, metric: str) -> tuple[Any, ...]:
    tables, (hits, samples) = one.tables(suite), parts(metric)
    if len(tables) > 1:
        require_same_prompts(suite, [one])
    totals = [(table[hits].sum(), table[samples].sum()) for table in tables]
    spread = seed_spread([found / asked if asked else math.nan for found, asked in totals])
    interval = _interval(tables, metric) if not math.isnan(spread.mean) else NO_INTERVAL
    n = int(sum(asked for _, asked in totals))
    return suite, one.name, spread.mean, interval.low, interval.high, spread.sd, len(one.runs), n


def _interval(tables: Sequence[ByPrompt], metric: str) -> Interval:
    found, asked, _ = hits_and_samples(tables, metric)
    return seed_interval(found, asked) if len(tables) > 1 else clustered_interval(found[0], asked[0])


def _recipe(run: RunResult) -> dict[str, Any]:
    return run.metadata.get("recipe") or {}


def _identity(run: RunResult) -> str:
    recipe = {key: value for key, value in _recipe(run).items() if key not in _ANY}
    if not recipe:
        return str(run.folder)
    return json.dumps([recipe, *(run.metadata.get(key) for key in _SAME)], sort_keys=True)


def _name(group: Sequence[RunResult]) -> str:
    """A run's own name; of several runs the name that they share, the seed's number at its end aside."""
    if len(group) == 1:
        return group[0].name
    names = [str(run.metadata["name"]) for run in group]
    shared = {re.sub(r"[\W_]*(?:seed|(?<![^\W_])s)?[\W_]*\d+$", "", name) for name in names}
    if len(set(names)) == 1:
        return names[0]
    return shared.pop() if len(shared) == 1 and shared != {""} else " + ".join(names)


def _listed(prompts: pd.Index) -> str:
    shown = [str(prompt[0]) for prompt in prompts[:_LISTED]]
    return ", ".join(shown + ["..."] * (len(prompts) > _LISTED))
