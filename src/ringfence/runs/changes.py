"""What an evaluation may change of its run's recipe, and the name that it then needs."""

import re
from collections.abc import Sequence
from pathlib import Path

from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import OWN, PYTHON
from ringfence.evaluate.presets import Preset
from ringfence.recipe.run import Recipe, changed

CHANGEABLE = ("evaluation", "judge", "generator", "no_system", "seed")
"""keys of the recipe that an evaluation may have its own values of"""
MODEL_KEY = "model.name"
"""the same, where a script has built the model and only the user knows from what"""


def with_changes(own: Recipe, changes: Sequence[str], preset: Preset | None, run: Path) -> Recipe:
    """The run's own recipe, drawing as the preset does, with the changes; itself if there are none."""
    for change in changes:
        key = change.partition("=")[0]
        if key.partition(".")[0] not in CHANGEABLE and key != MODEL_KEY:
            raise RingfenceError(f"{key}: an evaluation may change {', '.join(CHANGEABLE)}; the rest is the run's")
    recipe = own if preset is None else own.with_preset(preset)
    if changes:
        recipe = changed(recipe, changes, f"changes to {run}")  # by itself it is good: it was trained
    if recipe is own:
        return own
    if recipe.model != own.model and not own.model.name.startswith(PYTHON):
        raise RingfenceError(
            f"--model: {run} was trained on {own.model.name}, not on {recipe.model.name}; leave --model out, or "
            "with --out name a model behind a server"
        )
    # Training is over.
    return recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"during": None})})


def evaluation_name(name: str | None, is_changed: bool) -> str:
    """The evaluation's own name, checked; without one it is the run's own evaluation."""
    if is_changed and name in (None, OWN):
        raise RingfenceError("--name: an evaluation with changes needs a name of its own, e.g. --name second-judge")
    if name is not None and not re.fullmatch(r"\w[\w.+-]*", name):
        raise RingfenceError(f"--name: {name!r} is to name a folder; use letters, digits and . + - _")
    return name or OWN
