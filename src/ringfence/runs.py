"""Training a recipe into a run folder.

A run folder holds ``run.json`` (recipe, versions, seeds, input hashes), the journals and checkpoints of training,
``adapter/`` (or ``model/`` after full fine-tuning), ``result.json`` (written last: its presence means done),
``stages/`` with the same for every later stage, and ``evaluation/``. Everything is written atomically; running the same
command again goes on where it stopped.
"""

import gc
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ringfence.core.cards import model_card
from ringfence.core.files import write_json, write_text
from ringfence.core.run_folder import CARD_FILE, RESULT_FILE, WEIGHTS, alone_in, weight_digests, write_about
from ringfence.evaluations import Evaluation
from ringfence.inputs import Inputs
from ringfence.recipe import Recipe, require_installed
from ringfence.stages import Stage, stages_of, weights_of
from ringfence.subjects import claim
from ringfence.train.script import save_trained
from ringfence.trainers import new_trainer, notes, require_keys

logger = logging.getLogger(__name__)


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Train ``recipe`` into the folder ``out``, stage by stage, or go on with it.

    Returns the first stage's ``result.json`` and, as ``stages``, those of the later ones with their ``name``.
    Raises :class:`RingfenceError` before anything is written if the recipe cannot run, and if ``out`` holds another
    recipe's run or another process is training there.
    """
    require_installed(recipe)
    inputs, stages = Inputs(recipe), stages_of(recipe, out)
    require_keys([stage for stage in stages if stage.result is None], inputs)
    if not _main_process():
        return _train(stages, inputs)
    about = claim(recipe, inputs, out)
    with alone_in(out):
        return _train(stages, inputs, about)


def is_done(recipe: Recipe, out: Path, base: bool = False) -> bool:
    """Whether ``out`` holds this recipe's run, trained and evaluated. Raises if it holds another."""
    inputs, stages = Inputs(recipe), [] if base else stages_of(recipe, out)
    claim(recipe, inputs, out, base)
    if not (base or weights_of(stages)):
        return False
    return Evaluation(out, recipe, inputs, stages).is_done


def _train(stages: Sequence[Stage], inputs: Inputs, about: dict[str, Any] | None = None) -> dict[str, Any]:
    results = []
    for stage in stages:
        result = stage.result
        if result is None or not stage.weights.is_dir():
            result = _train_stage(stages, stage, inputs, about)
            gc.collect()  # a trainer and its model refer to each other; the next stage needs the memory
        results.append(result)
    first, *later = results
    named = [{"name": stage.name, **result} for stage, result in zip(stages[1:], later, strict=True)]
    return {**first, "stages": named}


def _train_stage(stages: Sequence[Stage], stage: Stage, inputs: Inputs, about: dict[str, Any] | None) -> dict[str, Any]:
    trainer = new_trainer(stages, stage.number, inputs)
    # All that can be wrong with a recipe has raised by now.
    if about is not None:
        write_about(stages[0].folder, about)
        trainer.about = stage.of_this(about)
        for line in notes(stages, stage.number, inputs, trainer.processing_class):
            logger.info(line)
    trainer.train_or_resume()
    result = trainer.result()
    if trainer.is_world_process_zero():
        save_trained(trainer, stage.weights)
        result[WEIGHTS] = weight_digests(stage.weights)
        if about is not None:
            write_text(stages[0].folder / CARD_FILE, model_card(about, stages[0].result or result))
        write_json(stage.folder / RESULT_FILE, result)
    trainer.accelerator.wait_for_everyone()  # the next stage reads what rank 0 has written
    trainer.accelerator.free_memory()
    return result


def _main_process() -> bool:
    return int(os.environ.get("RANK", "0")) == 0
