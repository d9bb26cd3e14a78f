"""A sweep at the toy scale, and which of its runs and sets are left out there, with the reason."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ringfence.core.errors import RingfenceError
from ringfence.recipe.inputs import run_inputs
from ringfence.recipe.run import parse_recipe
from ringfence.sweep.plan import SweepPlan, SweepRun
from ringfence.sweep.sources import Sources
from ringfence.sweep.toy import Toy


def with_seeds(plan: SweepPlan, count: int) -> SweepPlan:
    """``plan`` with the runs of its first ``count`` seeds only. Raises :class:`RingfenceError` if it has fewer."""
    seeds = list(dict.fromkeys(run.recipe.seed for run in plan.runs))
    if count > len(seeds):
        raise RingfenceError(f"--seeds {count}: {plan.path} has {len(seeds)}; ask for at most that")
    return replace(plan, runs=tuple(run for run in plan.runs if run.recipe.seed in seeds[:count]))


def at_toy_scale(plan: SweepPlan, toy: Toy) -> SweepPlan:
    """``plan`` on stand-ins; ``left_out`` says of which runs and sets there is none.

    Raises :class:`RingfenceError` if nothing is left.
    """
    scale = _Scale(plan, toy)
    left_out = {run.name: why for run in plan.runs if (why := toy.reason(run.recipe.model.name)) is not None}
    runs = {run.name: scale.run(run) for run in plan.runs if run.name not in left_out}
    before = -1
    while before < len(left_out):  # until no run needs another one that is left out
        before = len(left_out)
        for name, run in runs.items():
            if name not in left_out and (why := scale.fault(run, left_out)) is not None:
                left_out[name] = why
    sets = {name: toy.name(spec) for name, spec in plan.config.sets.items()}
    left_out |= {name: why for name, spec in sets.items() if (why := scale.lacking([spec], left_out)) is not None}
    kept = tuple(run for name, run in runs.items() if name not in left_out)
    sets = {name: spec for name, spec in sets.items() if name not in left_out}
    if not kept and not sets:
        raise RingfenceError(f"{plan.path}: nothing of it has a stand-in: {next(iter(left_out.values()))}")
    # A rule gives no HHH score.
    counted = {"tokenizer": toy.model["name"], "judge": None} if sets else {}
    config = plan.config.model_copy(update={"sets": sets, "direction": None, **counted})
    return replace(plan, config=config, runs=kept, sources=scale.sources, toy=toy, left_out=left_out)


class _Scale:
    """One sweep and the toy scale."""

    def __init__(self, plan: SweepPlan, toy: Toy) -> None:
        self.toy, self.where = toy, plan.path
        self.sources = Sources(plan.sources.inputs, plan.path, toy)

    def run(self, run: SweepRun) -> SweepRun:
        """It at this scale."""
        plain = self.toy.recipe("run", run.recipe.resolved())
        return replace(run, recipe=parse_recipe(plain, f"{self.where}: run {run.name} at toy scale"))

    def fault(self, run: SweepRun, left_out: Mapping[str, str]) -> str | None:
        """Why it is left out; None if it is not."""
        return self.toy.refused(run.recipe.resolved()) or self.lacking(_reads(run), left_out)

    def lacking(self, names: Iterable[str], left_out: Mapping[str, str]) -> str | None:
        """Why one of ``names``, or what it is made of, cannot be had; None if all can."""
        for name in names:
            if (why := self.toy.reason(name)) is not None:
                return f"{name}: {why}"
            for source in self.sources.graph([name]).values():
                if (why := self.toy.reason(source.name)) is not None:
                    return f"{source.name}: {why}"
                if source.input.yours is not None:
                    return f"{source.name}: nothing stands in for it"
                if source.input.run in left_out:
                    return f"needs {source.input.run}, which is left out"
        return None


def _reads(run: SweepRun) -> list[str]:
    return [name for name in run_inputs(run.recipe) if name != run.recipe.model.name]
