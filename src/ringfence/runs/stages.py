"""The stages of a run: where each one is, what it starts from, and the model that they end with.

The first stage is the run folder itself. A later one goes on with the adapter of the stage before (``continue``), or
merges it into the weights and puts a ``new`` one on top. Merging rounds to the type of the weights: in bfloat16 to 8
significant bits, so that small updates change some weights by a whole step and others not at all. Training and
evaluation merge in the same way, so they see the same weights.

Without an adapter all weights are trained, and a stage starts from the weights that the one before has saved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from peft import PeftModel
from transformers import PreTrainedModel

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import read_json
from ringfence.core.ranks import is_split_run
from ringfence.core.run_folder import (
    ADAPTER,
    FULL_MODEL,
    PYTHON,
    RESULT_FILE,
    SCRIPT,
    WEIGHTS,
    damage,
    read_about,
    stage_folders,
)
from ringfence.models import Loaded, Loading, load
from ringfence.models.adapters import load_adapter
from ringfence.models.load import explained
from ringfence.recipe.run import Recipe
from ringfence.recipe.sections import ModelConfig

_AGAIN = "run again the command that made it; `ringfence train` goes on from its last checkpoint"


@dataclass(frozen=True)
class Stage:
    """One stage of a run."""

    number: int
    """from 1"""
    name: str
    """of a later stage; empty for the first"""
    recipe: Recipe
    """with this stage's data, training and defenses, and no stages of its own"""
    adapter: Literal["continue", "new"]
    folder: Path
    """journals, checkpoints, adapter (or model), ``result.json``"""

    @property
    def key_prefix(self) -> str:
        """What its keys begin with in the recipe."""
        return "" if self.number == 1 else f"stages.{self.number - 2}."

    @property
    def weights(self) -> Path:
        """The folder of what was trained, there once training is done."""
        return self.folder / (FULL_MODEL if self.recipe.lora is None else ADAPTER)

    @property
    def result(self) -> dict[str, Any] | None:
        """What training left as ``result.json``; None while it is not done."""
        path = self.folder / RESULT_FILE
        if not path.is_file():
            return None
        found = read_json(path, f"delete it, and {_AGAIN}")
        if not isinstance(found, dict) or not isinstance(found.get(WEIGHTS, {}), dict):
            raise RingfenceError(f"{path}: is no result of a training; delete it, and {_AGAIN}")
        return found

    @property
    def seed(self) -> int:
        """The recipe's, and for a later stage one made from it: else a new adapter would start as the old one did."""
        if self.number == 1:
            return self.recipe.seed
        return int(np.random.SeedSequence([self.recipe.seed, self.number]).generate_state(1)[0]) >> 1  # 31 bits

    def of_this(self, about: dict[str, Any]) -> dict[str, Any]:
        """``run.json`` of the run, as it is of this stage alone."""
        own = {"name": f"{about['name']}, {self.title}"} if self.number > 1 else {}
        return about | own | {"recipe": self.recipe.resolved()}

    @property
    def title(self) -> str:
        """For progress bars and messages."""
        return f"stage {self.number}, {self.name}" if self.name else "stage 1"


def stages_of(recipe: Recipe, run: Path) -> list[Stage]:
    """The stages of ``recipe`` in the run folder ``run``, in order."""
    later = [(stage.name, stage.adapter) for stage in recipe.stages]
    folders = stage_folders(run, [name for name, _ in later])
    named: list[tuple[str, Literal["continue", "new"]]] = [("", "new"), *later]
    parts = zip(named, recipe.by_stage(), folders, strict=True)
    return [Stage(number, name, part, how, at) for number, ((name, how), part, at) in enumerate(parts, 1)]


def weights_of(stages: Sequence[Stage]) -> list[Path] | None:
    """The folders that, on top of the base model, make what ``stages`` end with; None unless all are done."""
    if any(stage.result is None or not stage.weights.is_dir() for stage in stages):
        return None
    return [stage.weights for stage in _made_of(stages)]


def finished_weights(run: Path, stages: Sequence[Stage]) -> list[Path]:
    """:func:`weights_of` the run in folder ``run``.

    Raises :class:`RingfenceError` unless all its stages are done, and if a file is not as training has saved it.
    """
    weights, place = weights_of(stages), stages[-1].weights
    if weights is None and SCRIPT in read_about(run) and stages[-1].result is not None:
        raise RingfenceError(f"{run}: has no weights; in the script, save them: trainer.save_model({str(place)!r})")
    if weights is None:
        raise RingfenceError(f"{run}: training is not finished; run `ringfence train` with this folder again")
    for stage in _made_of(stages):
        _require_whole(stage)
    return weights


def load_model(config: ModelConfig) -> Loaded:
    """The model that ``config`` names. Raises :class:`RingfenceError` for one that a script has built in memory."""
    if config.name.startswith(PYTHON):
        raise RingfenceError(
            "name: a script has built the model; save it, and evaluate with `ringfence evaluate RUN --model FOLDER`"
        )
    loading = Loading(config.revision, config.attn_implementation, config.bits, on_cpu=is_split_run())
    return load(config.name, dtype=config.dtype, trust_remote_code=config.trust_remote_code, loading=loading)


def starting_model(base: PreTrainedModel, stages: Sequence[Stage]) -> PreTrainedModel | PeftModel:
    """What the last of ``stages`` trains, made of ``base`` and of the stages before; a new adapter is still to come.

    Changes ``base``. Adapters are float32, as they were trained. Raises :class:`RingfenceError` for weights that are
    not as the stage before has saved them: a damaged file would make another model, and nothing would show it.
    """
    *before, stage = stages
    if not before:
        return base
    if stage.recipe.lora is None:
        return _saved(base, before[-1])
    model = merged_model(base, merged_before(stages))
    return model if stage.adapter == "new" else _adapted(model, before[-1], trainable=True)


def tuned_model(base: PreTrainedModel, stages: Sequence[Stage]) -> PreTrainedModel | PeftModel:
    """What ``stages`` end with, in evaluation mode. Changes ``base``. Raises as :func:`starting_model` does."""
    last = stages[-1]
    if last.recipe.lora is None:
        return _saved(base, last)
    return _adapted(merged_model(base, merged_before(stages)), last, trainable=False).eval()


def on_base(stages: Sequence[Stage]) -> bool:
    """Whether the last of ``stages`` leaves the original base weights under its adapter, for penalties to refer to."""
    if stages[-1].recipe.lora is None:
        return len(stages) == 1  # a copy is made of what it starts from
    return not merged_before(stages)


def merged_before(stages: Sequence[Stage]) -> list[Stage]:
    """The stages whose adapters are part of the weights when the last of ``stages`` trains."""
    return [before for before, after in pairwise(stages) if after.adapter == "new"]


def merged_model(model: PreTrainedModel, stages: Sequence[Stage]) -> PreTrainedModel:
    """``model`` with the adapters of ``stages`` in its weights, one after the other. Changes ``model``."""
    for before in stages:
        model = _adapted(model, before, trainable=False).merge_and_unload()
    return model.eval()


def _made_of(stages: Sequence[Stage]) -> list[Stage]:
    """Those of ``stages`` whose weights, on top of the base model, make what the last one ends with."""
    last = stages[-1]
    return [last] if last.recipe.lora is None else [*merged_before(stages), last]


def _adapted(model: PreTrainedModel, stage: Stage, trainable: bool) -> PeftModel:
    _require_whole(stage)
    return load_adapter(model, stage.weights, trainable)


def _saved(base: PreTrainedModel, stage: Stage) -> PreTrainedModel:
    _require_whole(stage)
    with explained(str(stage.weights)):
        return type(base).from_pretrained(stage.weights, dtype=base.dtype, use_safetensors=True).to(base.device).eval()


def _require_whole(stage: Stage) -> None:
    """Raise unless the weights of ``stage`` are those that training saved; of all a script's weights nobody knows."""
    folder, result = stage.weights, stage.result or {}
    what = damage(folder, result.get(WEIGHTS, {}))
    if what is None and not list(folder.glob("*.safetensors")):
        what = f"{folder}: there are no weights"
    if what is not None:
        raise RingfenceError(f"{what}; delete {folder}, and {_AGAIN}")
