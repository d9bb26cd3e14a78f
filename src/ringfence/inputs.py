"""Everything that a recipe reads, loaded and checked before anything is written."""

from dataclasses import dataclass
from pathlib import Path

from ringfence.core.errors import RingfenceError, under
from ringfence.core.files import sha256
from ringfence.data import Prompt, load_prompts, read, require_disjoint, split
from ringfence.data.conversations import Conversation
from ringfence.data.system import apply
from ringfence.defenses import CanaryInterleaving, Defense, Interleaving
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
        self.suites = {name: self._suite(name, spec) for name, spec in recipe.evaluation.suites.items()}
        self.digests = _digests(recipe)
        during = recipe.evaluation.during
        if during and (unknown := set(during.suites) - set(self.suites)):
            raise RingfenceError(f"evaluation.during.suites: {sorted(unknown)[0]!r} is not in evaluation.suites")
        for defense in (defense for stage in self.stages for defense in stage.defenses):
            if isinstance(defense, CanaryInterleaving):
                for name, prompts in self.suites.items():
                    require_disjoint(defense.prompts(), prompts, "the canaries", f"the suite {name}")

    def _suite(self, name: str, spec: str) -> list[Prompt]:
        if spec != HELD_OUT:
            with under(f"evaluation.suites.{name}"):
                return load_prompts(spec)
        rows = self.stages[0].held_out
        if not rows:
            raise RingfenceError(f"evaluation.suites.{name}: no rows are held out; set data.held_out above 0")
        return [_as_prompt(row) for row in rows]


def key_prefix(number: int) -> str:
    """What the keys of stage ``number``, from 1, begin with in the recipe."""
    return "" if number == 1 else f"stages.{number - 2}."


def _stage(part: Recipe, prefix: str) -> StageInputs:
    with under(f"{prefix}data.target"):
        data = split(read(part.data.target), part.data.held_out, part.data.split_seed)
    with under(f"{prefix}data.safe"):
        safe = read(part.data.safe) if part.data.safe is not None else []
    for defense in part.defenses:
        with under(prefix.removesuffix(".")):
            defense.check()
        if isinstance(defense, Interleaving) and defense.highest_ratio() > 0 and not safe:
            raise RingfenceError(f"{prefix}data.safe: a defense mixes in safe rows, but there are none; name safe data")
    return StageInputs(data.train, data.held_out, safe, tuple(_completed(part, defense) for defense in part.defenses))


def _completed(recipe: Recipe, defense: Defense) -> Defense:
    """Canaries have the recipe's judge, if they have none of their own, and its meaning of no system message."""
    if not isinstance(defense, CanaryInterleaving):
        return defense
    if defense.probe == "judged" and defense.judge is None:
        if recipe.judge is None:
            raise RingfenceError("judge: canary_interleaving judges its canaries; give a judge, or probe: likelihood")
        defense = defense.model_copy(update={"judge": recipe.judge})
    canaries = [
        Prompt(one.id, tuple(apply(one.messages, recipe.no_system)), one.domain, one.good, one.bad)
        for one in defense.prompts()
    ]
    return defense.model_copy(update={"canaries": tuple(canaries)})


def _as_prompt(row: Conversation) -> Prompt:
    """A held-out conversation up to its last user turn."""
    messages = row["messages"]
    last = max(index for index, message in enumerate(messages) if message["role"] == "user")
    return Prompt(row["origin"], tuple(messages[: last + 1]), row.get("domain"))


def _digests(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of every input that is a file, by its name in the recipe; of models, too, if they are folders."""
    named = [recipe.model.name, *recipe.evaluation.suites.values()]
    named += [recipe.reference.name] if recipe.reference else []
    for part in recipe.by_stage():
        named += [spec for spec in (part.data.target, part.data.safe) if spec is not None]
        named += [spec for defense in part.defenses for spec in defense.inputs()]
    found = {name: Path(name).expanduser() for name in named}
    return {name: sha256(path) for name, path in found.items() if path.exists()}
