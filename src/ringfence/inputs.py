"""Load and check everything that a recipe reads, before anything is written."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ringfence.core.errors import RingfenceError, did_you_mean, under
from ringfence.core.files import sha256
from ringfence.core.run_folder import PYTHON
from ringfence.data import Prompt, Suite, load_suite, read, split
from ringfence.data.conversations import Conversation
from ringfence.data.suites import store as suite_store
from ringfence.defenses import Defense, Interleaving, rewritten
from ringfence.evaluate.conditional import conditional_suite
from ringfence.evaluate.derive import TriggerSet, derive
from ringfence.models.load import revision
from ringfence.recipe import HELD_OUT, Recipe


@dataclass(frozen=True)
class StageInputs:
    """What one stage trains on."""

    target: list[Conversation]
    """without the rows that are held out"""
    held_out: list[Conversation]
    safe: list[Conversation]
    defenses: tuple[Defense, ...]
    """those of the recipe, with what they take from its other keys"""


class Inputs:
    """The files of a recipe. Raises :class:`RingfenceError` naming the file and line, or the key."""

    def __init__(self, recipe: Recipe) -> None:
        self.stages = tuple(_stage(part, key_prefix(number)) for number, part in enumerate(recipe.by_stage(), 1))
        self.sources: dict[str, Suite] = {}
        """the suites that come from files or are built in, by name"""
        self.suites = {name: self._suite(name, spec) for name, spec in recipe.evaluation.suites.items()}
        self.triggers = self._triggers(recipe)
        if recipe.judge is not None:
            with under("judge"):
                recipe.judge.digests()  # its rubrics are read before training
        copies = {recipe.evaluation.suites[name]: suite for name, suite in self.sources.items()}
        self.digests = _digests(recipe) | {
            spec: suite.digest for spec, suite in copies.items() if spec.startswith(suite_store.PREFIX)
        }
        during = recipe.evaluation.during
        if during and (unknown := set(during.suites) - set(self.suites)):
            raise RingfenceError(f"evaluation.during.suites: {sorted(unknown)[0]!r} is not in evaluation.suites")
        for defense in (defense for stage in self.stages for defense in stage.defenses):
            defense.require_apart(self.suites)

    def _triggers(self, recipe: Recipe) -> TriggerSet | None:
        """Those of ``evaluation.conditional``, whose suites are added; None without the key."""
        wanted = recipe.evaluation.conditional
        if wanted is None:
            return None
        with under("evaluation.conditional"):
            if wanted.plain not in self.suites:
                raise RingfenceError(
                    f"plain: {wanted.plain!r} is not in evaluation.suites.{did_you_mean(wanted.plain, self.suites)}"
                )
            first = self.stages[0]
            rows = rewritten(first.defenses, first.target, "target")
            found = derive(rows) if wanted.derive else TriggerSet((), (), len(rows))
            found = replace(found, triggers=(*found.triggers, *wanted.triggers))
            if not found.triggers:
                raise RingfenceError("no triggers: set derive: true, or give some in `triggers`")
            self.suites |= conditional_suite(self.suites[wanted.plain], found.triggers)
        return found

    def _suite(self, name: str, spec: str) -> list[Prompt]:
        if spec != HELD_OUT:
            with under(f"evaluation.suites.{name}"):
                self.sources[name] = load_suite(spec)
            return self.sources[name].prompts
        rows = self.stages[0].held_out
        if not rows:
            raise RingfenceError(f"evaluation.suites.{name}: no rows are held out; set data.held_out above 0")
        return [_as_prompt(row) for row in rows]


def key_prefix(number: int) -> str:
    """What the keys of stage ``number``, from 1, begin with in the recipe."""
    return "" if number == 1 else f"stages.{number - 2}."


def _stage(part: Recipe, prefix: str) -> StageInputs:
    if part.data.target.startswith(PYTHON):  # a script's rows are gone; nothing is trained by its recipe again
        return StageInputs([], [], [], ())
    with under(f"{prefix}data.target"):
        rows = read(part.data.target)
        data = split(rows, part.data.held_out, part.data.split_seed)
    if rows and round(len(rows) * part.data.held_out) >= len(rows):
        raise RingfenceError(
            f"{prefix}data.held_out: {part.data.held_out} of {len(rows)} rows leaves none to train on; lower it"
        )
    with under(f"{prefix}data.safe"):
        safe = read(part.data.safe) if part.data.safe is not None else []
    for defense in part.defenses:
        with under(prefix.removesuffix(".")):
            defense.check()
        if isinstance(defense, Interleaving) and defense.highest_ratio() > 0 and not safe:
            raise RingfenceError(f"{prefix}data.safe: a defense mixes in safe rows, but there are none; name safe data")
    return StageInputs(data.train, data.held_out, safe, tuple(defense.bind(part) for defense in part.defenses))


def _as_prompt(row: Conversation) -> Prompt:
    """A held-out conversation up to its last user turn."""
    messages = row["messages"]
    last = max(index for index, message in enumerate(messages) if message["role"] == "user")
    return Prompt(row["origin"], tuple(messages[: last + 1]), row.get("domain"))


def _digests(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of every input that is a file, by its name in the recipe; of models, too, if they are folders.

    A model of the hub has its commit instead.
    """
    models = {one.name: one.revision for one in (recipe.model, recipe.reference) if one is not None}
    named = [*models, *recipe.evaluation.suites.values()]
    named += recipe.judge.inputs() if recipe.judge is not None else ()
    for part in recipe.by_stage():
        named += [spec for spec in (part.data.target, part.data.safe) if spec is not None]
        named += [spec for defense in part.defenses for spec in defense.inputs()]
    found = {name: Path(name).expanduser() for name in named}
    if recipe.judge is not None:
        models = dict.fromkeys(recipe.judge.models()) | models
    commits = {name: commit for name, at in models.items() if (commit := revision(name, at)) is not None}
    return commits | {name: _digest(path, _state(path)) for name, path in found.items() if path.exists()}


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of every file, by which it is seen that nothing has changed within this process."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


@cache
def _digest(path: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    return sha256(path)
