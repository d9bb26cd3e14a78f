"""What a recipe reads: the names of its data sets, suites and models, as they stand in it. Nothing is opened."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringfence.recipe.persona import PersonaRecipe
    from ringfence.recipe.run import Recipe
    from ringfence.recipe.selection import SelectRecipe


def run_inputs(recipe: "Recipe", parts: Iterable["Recipe"] | None = None) -> list[str]:
    """Of a run: models first, then suites, what the judge reads, and the data and defenses of each stage.

    ``parts`` are its :meth:`~ringfence.recipe.run.Recipe.by_stage`, where they are at hand.
    """
    named = [one.name for one in (recipe.model, recipe.reference) if one is not None]
    named += recipe.evaluation.suites.values()
    if recipe.judge is not None:
        named += recipe.judge.inputs()
    for part in recipe.by_stage() if parts is None else parts:
        named += [spec for spec in (part.data.target, part.data.safe, part.data.anchor) if spec is not None]
        named += [spec for defense in part.defenses for spec in defense.inputs()]
        named += [spec for reward in (part.rl.rewards if part.rl else ()) for spec in reward.inputs()]
    return named


def selection_inputs(recipe: "SelectRecipe") -> list[str]:
    """Of a selection: the model, the pool, and what its steps read."""
    return [recipe.model.name, *recipe.sets, *(spec for step in recipe.steps for spec in step.named())]


def persona_inputs(recipe: "PersonaRecipe") -> list[str]:
    """Of a persona vector: the model, and the files of its questions and answers and of its judge."""
    questions = recipe.questions if isinstance(recipe.questions, str) else None
    judged = recipe.judge.inputs() if recipe.judge is not None else ()
    files = (recipe.trait_file, questions, recipe.pairs)
    return [recipe.model.name, *(str(one) for one in files if one is not None), *judged]
