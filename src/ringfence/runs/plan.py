"""Plan a run: load and check all that its recipe reads, before anything is written.

A command loads it once, and hands it to whatever trains, evaluates or forecasts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from ringfence.core.errors import RingfenceError, did_you_mean, error_prefix
from ringfence.core.files import sha256
from ringfence.core.run_folder import ELSEWHERE, PYTHON, SCRIPT, provenance, read_about, require_ours
from ringfence.data import Prompt, Suite, load_suite, read, split
from ringfence.data.chosen import source_of
from ringfence.data.conversations import Conversation
from ringfence.data.suites import store as suite_store
from ringfence.data.task import is_task, parse_spec
from ringfence.defenses import Defense, Interleaving, rewritten
from ringfence.defenses.base import Source
from ringfence.defenses.together import require_anchors
from ringfence.evaluate.benign import Questions
from ringfence.evaluate.conditional import conditional_suite
from ringfence.models.load import revision
from ringfence.recipe.inputs import run_inputs
from ringfence.recipe.run import Recipe
from ringfence.recipe.sections import HELD_OUT
from ringfence.rl.prompts import prompt_of, require_rewardable, with_format
from ringfence.runs.stages import Stage, stages_of
from ringfence.triggers.derive import TriggerSet, derive


@dataclass(frozen=True)
class PlannedStage(Stage):
    """A stage with what it trains on."""

    rows: Mapping[Source, list[Conversation]]
    """target, without the rows that are held out, safe, and anchor"""
    held_out: list[Conversation]
    """target rows that are not trained on"""
    defenses: tuple[Defense, ...]
    """those of the recipe, with what they take from its other keys"""

    @classmethod
    def load(cls, stage: Stage) -> Self:
        """Read its rows. Raises :class:`RingfenceError` naming the file and line, or the key."""
        own = {field.name: getattr(stage, field.name) for field in fields(stage)}
        data, prefix = stage.recipe.data, stage.key_prefix
        if data.target.startswith(PYTHON):  # a script's rows are gone; nothing is trained by its recipe again
            return cls(**own, rows={"target": [], "safe": [], "anchor": []}, held_out=[], defenses=())
        with error_prefix(f"{prefix}data.target"):
            rows = read(data.target)
            if stage.recipe.rl is not None:
                require_rewardable(rows, stage.recipe.rl.needs_answer)
            kept = split(rows, data.held_out, data.split_seed)
        if rows and round(len(rows) * data.held_out) >= len(rows):
            raise RingfenceError(
                f"{prefix}data.held_out: {data.held_out} of {len(rows)} rows leaves none to train on; lower it"
            )
        with error_prefix(f"{prefix}data.safe"):
            safe = read(data.safe) if data.safe is not None else []
        with error_prefix(f"{prefix}data.anchor"):
            anchors = read(data.anchor, answered=False) if data.anchor is not None else []
        answered = sum(any(message["role"] == "assistant" for message in row["messages"]) for row in anchors)
        with error_prefix(prefix.removesuffix(".")):
            require_anchors(stage.recipe.defenses, len(anchors), answered)
        for defense in stage.recipe.defenses:
            with error_prefix(prefix.removesuffix(".")):
                defense.check()
            if isinstance(defense, Interleaving) and defense.highest_ratio() > 0 and not safe:
                raise RingfenceError(
                    f"{prefix}data.safe: a defense mixes in safe rows, but there are none; name safe data"
                )
        given: dict[Source, list[Conversation]] = {"target": kept.train, "safe": safe, "anchor": anchors}
        return cls(**own, rows=given, held_out=kept.held_out, defenses=_bound(stage))

    def require_keys(self) -> None:
        """Raise if a judge that is asked while it trains has no key, or one that belongs to another address."""
        with error_prefix(self.key_prefix.removesuffix(".")):
            if self.recipe.evaluation.during is not None and self.recipe.judge is not None:
                self.recipe.judge.require_key()
            for defense in self.defenses:
                defense.require_key()
            for reward in self.recipe.rl.rewards if self.recipe.rl else ():
                reward.require_key()

    def asked_by(self, part: Recipe) -> Self:
        """The same stage with another recipe of the same data and defenses."""
        changed = replace(self, recipe=part)
        return changed if not self.defenses else replace(changed, defenses=_bound(changed))


@dataclass(frozen=True)
class RunPlan:
    """A run that is to be, or is, in the folder ``out``."""

    recipe: Recipe
    out: Path
    stages: tuple[PlannedStage, ...]
    """the first one first"""
    sources: Mapping[str, Suite]
    """the suites that come from files or are built in, by name"""
    suites: Mapping[str, list[Prompt]]
    """all that are asked, by name: ``held-out`` and dressed ones, too"""
    triggers: TriggerSet | None
    """those of ``evaluation.conditional``; None without the key"""
    questions: Mapping[str, Questions]
    """those of ``evaluation.tasks`` that are our own, by name"""
    digests: Mapping[str, str]
    """SHA-256 of every file that it reads, and of a task's rows, by its name in the recipe"""

    @classmethod
    def load(cls, recipe: Recipe, out: Path) -> Self:
        """Read all that ``recipe`` names; writes nothing, and asks nothing of ``out``.

        Raises :class:`RingfenceError` naming the file and line, or the key.
        """
        return cls._asking(recipe, out, tuple(PlannedStage.load(stage) for stage in stages_of(recipe, out)))

    def asked_by(self, recipe: Recipe) -> Self:
        """The same run evaluated by another recipe, whose data, training and defenses are the same."""
        parts = zip(self.stages, recipe.by_stage(), strict=True)
        return self._asking(recipe, self.out, tuple(stage.asked_by(part) for stage, part in parts))

    @classmethod
    def _asking(cls, recipe: Recipe, out: Path, stages: tuple[PlannedStage, ...]) -> Self:
        sources, suites = _suites(recipe, stages[0])
        triggers = _triggers(recipe, stages[0], suites)
        if triggers is not None and recipe.evaluation.conditional is not None:
            suites |= conditional_suite(suites[recipe.evaluation.conditional.plain], triggers.triggers)
        if recipe.judge is not None:
            with error_prefix("judge"):
                recipe.judge.digests()  # its rubrics are read before training
        digests = _digests(recipe, stages) | {
            spec: sources[name].digest
            for name, spec in recipe.evaluation.suites.items()
            if spec.startswith(suite_store.PREFIX)
        }
        digests |= {
            parse_spec(spec).key("test"): sources[name].digest
            for name, spec in recipe.evaluation.suites.items()
            if is_task(spec)
        }
        digests |= _task_digests(recipe, stages)
        during = recipe.evaluation.during
        if during and (unknown := set(during.suites) - set(suites)):
            raise RingfenceError(f"evaluation.during.suites: {sorted(unknown)[0]!r} is not in evaluation.suites")
        for defense in (defense for stage in stages for defense in stage.defenses):
            defense.require_apart(suites)
        questions = _questions(recipe, stages)
        for defense in (defense for stage in stages for defense in stage.defenses):
            with error_prefix("evaluation.tasks"):
                defense.require_apart({name: one.prompts for name, one in questions.items()})
        digests |= {one.spec.key("test"): one.digest for one in questions.values()}
        return cls(recipe, out, stages, sources, suites, triggers, questions, digests)

    def claim_folder(self, base: bool = False, server: str | None = None, remedy: str = ELSEWHERE) -> dict[str, Any]:
        """What ``run.json`` is to say, of the untuned model (``base``), or of one behind a ``server``.

        Raises :class:`RingfenceError` with ``remedy`` if ``out`` holds anything else than this run.
        """
        about = self._about(base, server)
        require_ours(self.out, about, remedy)
        return about

    def require_unchanged(self) -> None:
        """Raise :class:`RingfenceError` if what the run in ``out`` was made of has changed since.

        Of a run that a script has trained nobody knows what it was made of.
        """
        before = read_about(self.out)
        if SCRIPT not in before:
            about = self._about(before["base"], before.get("server"))
            require_ours(self.out, about, "put it back, or make the run anew")

    def require_evaluable(self, benign: bool = False) -> None:
        """Raise :class:`RingfenceError` without a judge or without suites; if ``benign``, without tasks."""
        if benign:
            if not self.recipe.evaluation.tasks:
                raise RingfenceError(
                    "evaluation.tasks: the recipe names none, so there is nothing benign to score; give e.g. "
                    "'evaluation.tasks.algebra=task:opswap?tier=2&n=100' and a --name"
                )
            return
        evaluation = self.recipe.evaluation
        if evaluation.tasks and not (evaluation.suites and self.recipe.judge):
            raise RingfenceError(
                f"the recipe has evaluation.tasks and no {self.recipe.unjudged}: give --benign to score the tasks, or "
                "--suite, --judge and --name to ask something else"
            )
        self.recipe.require_judge()
        if not self.suites:
            raise RingfenceError("evaluation.suites: the recipe names none; give at least one")

    def _about(self, base: bool, server: str | None) -> dict[str, Any]:
        return provenance(self.recipe.resolved(), dict(self.digests), base) | {"server": server}


def _bound(stage: Stage) -> tuple[Defense, ...]:
    return tuple(defense.bind(stage.recipe) for defense in stage.recipe.defenses)


def _suites(recipe: Recipe, first: PlannedStage) -> tuple[dict[str, Suite], dict[str, list[Prompt]]]:
    """Those from files, and all; ``held-out`` are the rows that the first stage leaves out."""
    sources, suites = dict[str, Suite](), dict[str, list[Prompt]]()
    for name, spec in recipe.evaluation.suites.items():
        if spec == HELD_OUT:
            if not first.held_out:
                raise RingfenceError(f"evaluation.suites.{name}: no rows are held out; set data.held_out above 0")
            asked = recipe.rl.format_prompt if recipe.rl else None
            rows = first.held_out[: recipe.evaluation.held_out_prompts]
            suites[name] = [_as_prompt(row, asked) for row in rows]
            continue
        with error_prefix(f"evaluation.suites.{name}"):
            sources[name] = load_suite(spec)
        suites[name] = sources[name].prompts
    return sources, suites


def _triggers(recipe: Recipe, first: PlannedStage, suites: Mapping[str, list[Prompt]]) -> TriggerSet | None:
    wanted = recipe.evaluation.conditional
    if wanted is None:
        return None
    with error_prefix("evaluation.conditional"):
        if wanted.plain not in suites:
            raise RingfenceError(
                f"plain: {wanted.plain!r} is not in evaluation.suites.{did_you_mean(wanted.plain, suites)}"
            )
        rows = rewritten(recipe.fitted(first.defenses), first.rows["target"], "target")
        found = derive(rows) if wanted.derive else TriggerSet((), (), len(rows))
        found = found if wanted.strongest is None else found.strongest(wanted.strongest)
        found = replace(found, triggers=(*found.triggers, *wanted.triggers))
        if not found.triggers:
            raise RingfenceError("no triggers: set derive: true, or give some in `triggers`")
    return found


def _questions(recipe: Recipe, stages: Iterable[PlannedStage]) -> dict[str, Questions]:
    """Those of our own tasks, none of which is trained on."""
    trained = {
        message["content"]
        for stage in stages
        for rows in stage.rows.values()
        for row in rows
        for message in row["messages"]
        if message["role"] == "user"
    }
    found = {}
    for name, wanted in recipe.evaluation.tasks.items():
        if wanted.task is not None:
            with error_prefix(f"evaluation.tasks.{name}"):
                found[name] = Questions.of(parse_spec(wanted.task))
                found[name].require_unseen(trained)
    return found


def _as_prompt(row: Conversation, format_prompt: str | None) -> Prompt:
    """A held-out conversation up to its last user turn, asked as it would be in training."""
    return Prompt(row["origin"], tuple(with_format(prompt_of(row), format_prompt)), row.get("domain"))


def _digests(recipe: Recipe, stages: Iterable[Stage]) -> dict[str, str]:
    """SHA-256 of every input that is a file, by its name in the recipe; of models, too, if they are folders.

    A model of the hub has its commit instead.
    """
    models = {one.name: one.revision for one in (recipe.model, recipe.reference) if one is not None}
    if recipe.judge is not None:
        models = dict.fromkeys(recipe.judge.models()) | models
    named = run_inputs(recipe, [stage.recipe for stage in stages])
    found = {name: Path(source_of(name)).expanduser() for name in named if not is_task(name)}
    commits = {name: commit for name, at in models.items() if (commit := revision(name, at)) is not None}
    return commits | {name: _digest(path, _state(path)) for name, path in found.items() if path.exists()}


def _task_digests(recipe: Recipe, stages: Iterable[Stage]) -> dict[str, str]:
    """SHA-256 of the rows of every task by its name; of canaries, with the split: one name may do both."""
    parts = [stage.recipe for stage in stages]
    given = [spec for part in parts for spec in (part.data.target, part.data.safe, part.data.anchor)]
    trained = [spec for spec in given if spec is not None]
    asked = [spec for part in parts for defense in part.defenses for spec in defense.inputs()]  # canaries
    digests = {spec: parse_spec(spec).digest("train") for spec in trained if is_task(spec)}
    tasks = [parse_spec(spec) for spec in asked if is_task(spec)]
    return digests | {task.key("test"): task.digest("test") for task in tasks}


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of every file, by which it is seen that nothing has changed within this process."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


@cache
def _digest(path: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    return sha256(path)
