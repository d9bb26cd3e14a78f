"""How a run has moved its model's activations: the directions that differ most from the untuned model's.

    d_i = mean over the answer's tokens of h_k(tuned) - h_k(base), of conversation i

and the principal components of all d_i, in each layer k. Departure from Casademunt et al. 2025, who take each token's
difference: here each conversation counts once, however long it is.

Source: Casademunt et al. 2025, https://arxiv.org/abs/2507.16795
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ringfence.core.errors import error_prefix
from ringfence.core.run_folder import read_about
from ringfence.data import read
from ringfence.directions import Subspaces, principal
from ringfence.directions.representations import representations
from ringfence.models.activations import decoder_layers
from ringfence.models.identity import identity
from ringfence.runs.imported import read_recipe
from ringfence.runs.stages import finished_weights, load_model, stages_of, tuned_model


def components(run: Path, spec: str, layers: Sequence[int], count: int) -> Subspaces:
    """Of the finished ``run``, on the conversations of ``spec``, in ``layers``, or in all.

    Raises :class:`RingfenceError` for a run that is not finished, and for fewer directions than ``count``.
    """
    recipe = read_recipe(run)
    stages = stages_of(recipe, run)
    finished_weights(run, stages)
    with error_prefix("--data"):
        conversations = read(spec)
    loaded = load_model(recipe.model)
    base, chosen = identity(loaded.model), list(layers) or list(range(1, len(decoder_layers(loaded.model)) + 1))
    asked = {"role": "assistant", "no_system": recipe.no_system, "cache": None}
    before = representations(loaded, conversations, chosen, **asked)  # type: ignore[arg-type]
    tuned = replace(loaded, model=tuned_model(loaded.model, stages))
    after = representations(tuned, conversations, chosen, **asked)  # type: ignore[arg-type]
    moved = {k: torch.from_numpy(after[k]) - torch.from_numpy(before[k]) for k in chosen}
    return principal(moved, count, {"base": base, "model": loaded.name, "run": read_about(run)["name"], "data": spec})
