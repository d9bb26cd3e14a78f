"""Training a recipe into a run folder.

A run folder holds ``run.json`` (recipe, versions, seeds, input hashes), the journals and checkpoints of training,
``adapter/`` (or ``model/`` after full fine-tuning), ``result.json`` (written last: its presence means done),
``stages/`` with the same for every later stage, and ``evaluation/``. Everything is written atomically; running the same
command again goes on where it stopped.
"""

import gc
import logging
from typing import Any

from transformers import TrainingArguments

from ringfence.core.cards import model_card
from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json, write_text
from ringfence.core.ranks import is_main_process, is_split_run
from ringfence.core.run_folder import CARD_FILE, RESULT_FILE, WEIGHTS, alone_in, weight_digests, write_about
from ringfence.core.trackers import require_logged_in
from ringfence.recipe.run import require_installed
from ringfence.runs.evaluation import Evaluation
from ringfence.runs.gpu_cards import Cards, card_here
from ringfence.runs.on_paper import refuse_too_small
from ringfence.runs.plan import PlannedStage, RunPlan
from ringfence.runs.seen import require_unseen
from ringfence.runs.stages import weights_of
from ringfence.runs.trainer import new_trainer, notes
from ringfence.train.lost_ranks import explained
from ringfence.train.script import save_trained

logger = logging.getLogger(__name__)


def train(plan: RunPlan, cards: Cards | None = None) -> dict[str, Any]:
    """Train ``plan`` in its folder, stage by stage, or go on with it.

    ``cards``: what it is to fit; None is this machine's GPU, if there is one

    Returns the first stage's ``result.json`` and, as ``stages``, those of the later ones with their ``name``.
    Raises :class:`RingfenceError` before anything is written if the recipe cannot run, and if the folder holds another
    recipe's run or another process is training there, and if the weights are more than a GPU holds.
    """
    require_installed(plan.recipe)
    require_unseen(plan)
    for stage in plan.stages:
        if stage.result is None:
            stage.require_keys()
            _require_trackers(stage)
    here = card_here() if cards is None else None
    cards = Cards(here) if here is not None else cards
    if cards is not None and not is_split_run():  # what is looked at is a card with all weights
        refuse_too_small(plan, cards)
    # Ranks find each other when the arguments of the first stage are made.
    with explained(plan.recipe.training.get("ddp_timeout") or TrainingArguments.ddp_timeout):
        if not is_main_process():
            return _train(plan)
        about = plan.claim_folder()
        with alone_in(plan.out):
            return _train(plan, about)


def is_done(plan: RunPlan, base: bool = False) -> bool:
    """Whether the folder of ``plan`` holds this run, trained and evaluated. Raises if it holds another.

    ``base``: the run of the untuned model.
    """
    plan.claim_folder(base)
    if not (base or weights_of(plan.stages)):
        return False
    return Evaluation(plan, plan, is_base=base).is_done


def _require_trackers(stage: PlannedStage) -> None:
    """Raise if a tracker does not know who writes; it is the main process that does."""
    if is_main_process():
        try:
            require_logged_in(stage.recipe.training)
        except ValueError as error:
            raise RingfenceError(f"{stage.key_prefix}training{error}") from None


def _train(plan: RunPlan, about: dict[str, Any] | None = None) -> dict[str, Any]:
    results = []
    for stage in plan.stages:
        result = stage.result
        if result is None or not stage.weights.is_dir():
            result = _train_stage(plan, stage, about)
            gc.collect()  # a trainer and its model refer to each other; the next stage needs the memory
        results.append({"name": stage.name, **result} if stage.number > 1 else result)
    first, *later = results
    return {**first, "stages": later}


def _train_stage(plan: RunPlan, stage: PlannedStage, about: dict[str, Any] | None) -> dict[str, Any]:
    trainer = new_trainer(plan, stage)
    # All that can be wrong with a recipe has raised by now.
    if about is not None:
        write_about(plan.out, about)
        own = {"name": f"{about['name']}, {stage.title}"} if stage.number > 1 else {}
        trainer.metadata = about | own | {"recipe": stage.recipe.resolved()}
        for line in notes(plan, stage, trainer.processing_class):
            logger.info(line)
    trainer.train_or_resume()
    result = trainer.result()
    save_trained(trainer, stage.weights)
    if trainer.is_world_process_zero():
        result[WEIGHTS] = weight_digests(stage.weights)
        if about is not None:
            write_text(plan.out / CARD_FILE, model_card(about, plan.stages[0].result or result))
        write_json(stage.folder / RESULT_FILE, result)
    trainer.accelerator.wait_for_everyone()  # the next stage reads what rank 0 has written
    trainer.accelerator.free_memory()
    return result
