"""What the commands do: train a recipe into a run folder, and evaluate what is there.

A run folder holds ``run.json`` (recipe, versions, seeds, input hashes), the journals and checkpoints of training,
``adapter/`` (or ``model/`` after full fine-tuning), ``result.json`` (written last: its presence means done),
``stages/`` with the same for every later stage, and ``evaluation/``. Everything is written atomically; running the same
command again goes on where it stopped.
"""

import gc
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ringfence.core.errors import RingfenceError, under
from ringfence.core.files import atomic, sha256, write_json
from ringfence.core.rundir import RUN_FILE, alone_in, provenance, read_about, require_ours, write_about
from ringfence.data.system import describe
from ringfence.evaluate import evaluate as evaluate_suites
from ringfence.evaluate import save
from ringfence.evaluate.responses import fingerprint
from ringfence.inputs import Inputs
from ringfence.recipe import Recipe, parse_recipe
from ringfence.stages import RESULT_FILE, Stage, load_model, stages_of, tuned_model, weights_of
from ringfence.train import newest_checkpoint
from ringfence.trainers import new_trainer, notes, protocol_of

logger = logging.getLogger(__name__)


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Train ``recipe`` into the folder ``out``, stage by stage, or go on with it.

    Returns the first stage's ``result.json`` and, as ``stages``, those of the later ones with their ``name``.
    Raises :class:`RingfenceError` before anything is written if the recipe cannot run, and if ``out`` holds another
    recipe's run or another process is training there.
    """
    inputs, stages = Inputs(recipe), stages_of(recipe, out)
    if not _main_process():
        return _train(stages, inputs)
    about = _claim(recipe, inputs, out)
    with alone_in(out):
        return _train(stages, inputs, about)


def evaluate(run: Path, on_batch: Any = None) -> dict[str, Any]:
    """Evaluate the run in folder ``run`` (a base run: the untuned model) on its recipe's suites; return the summary.

    It is the last stage's model that answers. Suites that were answered before by the same weights under the same
    protocol are not answered again. Raises :class:`RingfenceError` if there is no run, one that is not finished, or one
    whose inputs have changed since.
    """
    recipe, base = read_recipe(run), read_about(run)["base"]
    stages = [] if base else stages_of(recipe, run)
    if not base and weights_of(stages) is None:
        raise RingfenceError(f"{run}: training is not finished; run `ringfence train` with this folder again")
    inputs = Inputs(recipe)
    _claim(recipe, inputs, run, base, "put it back, or train anew")
    _require_evaluable(recipe, inputs)
    parts = _parts(run, recipe, inputs, stages)
    if missing := [name for name, path in parts.items() if not path.is_file()]:
        with under("model"):
            loaded = load_model(recipe.model)
        logger.info(describe(recipe.no_system, loaded.tokenizer))
        model = tuned_model(loaded.model, stages) if stages else loaded.model
        for name in missing:
            suite = {name: inputs.suites[name]}
            frame = evaluate_suites(model, loaded.tokenizer, suite, protocol_of(recipe), on_batch)
            with atomic(parts[name]) as path:
                frame.to_parquet(path, index=False)
    return save(pd.concat([pd.read_parquet(path) for path in parts.values()]), run / "evaluation")


def is_done(recipe: Recipe, out: Path, base: bool = False) -> bool:
    """Whether ``out`` holds this recipe's run, trained and evaluated. Raises if it holds another."""
    inputs, stages = Inputs(recipe), [] if base else stages_of(recipe, out)
    _claim(recipe, inputs, out, base)
    if not (base or weights_of(stages)) or not (out / "evaluation" / "summary.json").is_file():
        return False
    return all(path.is_file() for path in _parts(out, recipe, inputs, stages).values())


def answers_asked(run: Path) -> int:
    """How many answers :func:`evaluate` asks of the run in folder ``run``, at the most."""
    recipe = read_recipe(run)
    return sum(len(prompts) for prompts in Inputs(recipe).suites.values()) * recipe.evaluation.samples


def claim_base(recipe: Recipe, out: Path) -> None:
    """Make ``out`` the run folder of the untuned base model of ``recipe``, for :func:`evaluate`."""
    inputs = Inputs(recipe)
    _require_evaluable(recipe, inputs)
    write_about(out, _claim(recipe, inputs, out, base=True))


def read_recipe(run: Path) -> Recipe:
    """The recipe that a run folder was made from. Raises :class:`RingfenceError` if it is not a run folder."""
    return parse_recipe(read_about(run)["recipe"], str(run / RUN_FILE))


def _train(stages: Sequence[Stage], inputs: Inputs, about: dict[str, Any] | None = None) -> dict[str, Any]:
    results = []
    for stage in stages:
        result = stage.result
        if result is None:
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
        for line in notes(stages, stage.number, inputs, trainer.processing_class):
            logger.info(line)
    newest = newest_checkpoint(stage.folder)
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    result = trainer.result()
    if trainer.is_world_process_zero():
        if not stage.weights.exists():
            with atomic(stage.weights) as folder:
                trainer.model.save_pretrained(folder)
                trainer.processing_class.save_pretrained(folder)
        write_json(stage.folder / RESULT_FILE, result)
    trainer.accelerator.wait_for_everyone()  # the next stage reads what rank 0 has written
    trainer.accelerator.free_memory()
    return result


def _claim(
    recipe: Recipe, inputs: Inputs, out: Path, base: bool = False, remedy: str = "choose another --out"
) -> dict[str, Any]:
    """What ``run.json`` is to say. Raises :class:`RingfenceError` if ``out`` holds anything else than this run."""
    about = provenance(recipe.resolved(), inputs.digests, base)
    require_ours(out, about, remedy)
    return about


def _require_evaluable(recipe: Recipe, inputs: Inputs) -> None:
    """Raise without a judge or without suites."""
    protocol_of(recipe)
    if not inputs.suites:
        raise RingfenceError("evaluation.suites: the recipe names none; give at least one")


def _parts(run: Path, recipe: Recipe, inputs: Inputs, stages: Sequence[Stage]) -> dict[str, Path]:
    """Suite -> the file of its answers, named by everything that could change them."""
    digests = [sha256(folder) for folder in weights_of(stages) or []] if stages else []
    digests = digests or [inputs.digests.get(recipe.model.name, recipe.model.name)]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()
    protocol, folder = protocol_of(recipe), run / "evaluation" / "parts"
    return {
        suite: folder / f"{suite}-{fingerprint(digest, prompts, protocol)}.parquet"
        for suite, prompts in inputs.suites.items()
    }


def _main_process() -> bool:
    return int(os.environ.get("RANK", "0")) == 0
