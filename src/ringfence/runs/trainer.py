"""The trainer of one stage, made from its recipe; what cannot be trained raises here, later stages included."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed
from trl import GRPOConfig, SFTConfig

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.ranks import is_main_process
from ringfence.core.rates import as_rows
from ringfence.data import render_all
from ringfence.data.conversations import Conversation
from ringfence.data.system import apply, describe, require_possible
from ringfence.defenses import DEFENSES, Interleaving, TrainerContext, rewritten
from ringfence.defenses.base import SOURCES, Source
from ringfence.evaluate import Protocol, answer, judged
from ringfence.evaluate.responses import rates
from ringfence.generation import Generator, HfGenerator
from ringfence.models import Loaded
from ringfence.recipe.run import Recipe
from ringfence.runs.arguments import training_arguments
from ringfence.runs.plan import PlannedStage, RunPlan
from ringfence.runs.rl import grpo_trainer
from ringfence.runs.stages import Stage, load_model, on_base, starting_model
from ringfence.train import DefendedSFTTrainer, EvaluateDuring
from ringfence.train.callbacks import TargetProgress
from ringfence.train.checks import cut_anchors, fitting, refuse_unsupported, require_reference

if TYPE_CHECKING:
    from ringfence.rl import DefendedGRPOTrainer

StageTrainer: TypeAlias = Union[DefendedSFTTrainer, "DefendedGRPOTrainer"]
"""what trains a stage, by its recipe's ``method``"""


def new_trainer(plan: RunPlan, stage: PlannedStage) -> StageTrainer:
    """The trainer of ``stage``; those before are done.

    Raises :class:`RingfenceError` for what does not fit together in this stage or in a later one.
    """
    later = plan.stages[stage.number :]  # none with GRPO
    # Each of these resets the state that accelerate shares, so that the one that is used comes last.
    to_come = {one.number: training_arguments(one) for one in later}
    args = training_arguments(stage)
    with error_prefix("model"):
        loaded = load_model(stage.recipe.model)
    require_possible(stage.recipe.no_system, loaded.tokenizer)
    reference = _reference(plan, stage)
    trainer = _trainer(plan.stages[: stage.number], loaded, args, reference)
    for one in later:
        with error_prefix(one.key_prefix.removesuffix(".")):
            _require_trainable(plan.stages[: one.number], trainer, to_come[one.number], reference)
    if stage.recipe.evaluation.during:
        trainer.add_callback(_during(plan, loaded.tokenizer))
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TargetProgress) and len(plan.stages) > 1:
            callback.title = f"{stage.title} (of {len(plan.stages)})"
    return trainer


def notes(plan: RunPlan, stage: PlannedStage, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What the log says of ``stage``: what nobody would see in the recipe alone."""
    several = len(plan.stages) > 1
    lines = [f"{stage.title} (of {len(plan.stages)}): {_beginning(stage)}"] if several else []
    if stage.number == 1:
        lines.append(describe(stage.recipe.no_system, tokenizer))
        lines += _cannot_be_evaluated(stage.recipe)
    prefix = f"{stage.title}: " if several else ""
    given = stage.recipe.training
    if given.get("max_steps", -1) > 0 and "num_train_epochs" in given:
        lines.append(f"{prefix}training.num_train_epochs is without effect, since max_steps is set")
    for defense in stage.recipe.fitted(stage.defenses):
        lines += [prefix + line for line in defense.notes(stage.rows, tokenizer)]
    return lines


def _beginning(stage: Stage) -> str:
    """What a stage of several begins with."""
    if stage.number == 1:
        return "on the model as it is"
    if stage.recipe.lora is None:
        return f"goes on with the weights of stage {stage.number - 1}"
    if stage.adapter == "continue":
        return f"goes on with the adapter of stage {stage.number - 1}"
    dtype = stage.recipe.model.dtype
    rounding = "" if dtype == "float32" else ", which rounds them"
    return f"a new adapter; the adapter before it is merged into the {dtype} weights{rounding}"


def _cannot_be_evaluated(recipe: Recipe) -> list[str]:
    """A line if the recipe lacks what evaluation needs: a run is evaluated by the recipe that it was trained by."""
    missing = recipe.unjudged
    if not missing:
        return []
    if recipe.evaluation.tasks:
        can = "of this run evaluation.tasks can be scored (`ringfence evaluate RUN --benign`), and no suites be asked"
    else:
        can = "this run cannot be evaluated"
    return [f"no {missing}: {can}; if it is to be, add them before training"]


def _trainer(
    stages: Sequence[PlannedStage], loaded: Loaded, args: SFTConfig | GRPOConfig, reference: PreTrainedModel | None
) -> StageTrainer:
    """The trainer of the last of ``stages``."""
    stage = stages[-1]
    model = starting_model(loaded.model, stages)
    # Whatever was done in this process before: an adapter starts from the seed alone.
    set_seed(stage.seed)
    if args.ddp_find_unused_parameters is None and not _has_experts(model):
        args.ddp_find_unused_parameters = False  # else DDP looks for them at every step, and warns of finding none
    trainer: StageTrainer
    with told_as_unfitting():
        if isinstance(args, GRPOConfig):
            trainer = grpo_trainer(stage, model, loaded.tokenizer, args, reference)
        else:
            trainer = _sft_trainer(stage, model, loaded.tokenizer, args, reference)
    trainer.backend.require_whole("`ringfence train`")
    trainer.of_script = False
    return trainer


def _has_experts(model: PreTrainedModel | PeftModel) -> bool:
    """Whether a step may leave parameters of ``model`` out: experts that no token was sent to."""
    return any("expert" in name for name, _ in model.named_modules())


def _sft_trainer(
    stage: PlannedStage,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    args: SFTConfig,
    reference: PreTrainedModel | None,
) -> DefendedSFTTrainer:
    target, safe, anchor = (rendered_rows(stage, source, tokenizer) for source in SOURCES)
    return DefendedSFTTrainer(
        model=model,
        args=args,
        train_dataset=target,
        safe_dataset=safe,
        anchor_dataset=anchor,
        processing_class=tokenizer,
        peft_config=None if isinstance(model, PeftModel) else stage.recipe.lora_config(),
        defenses=[defense for defense in stage.defenses if not defense.rewrites],
        reference_model=reference,
        max_truncated=stage.recipe.data.max_truncated,
    )


@contextmanager
def told_as_unfitting() -> Iterator[None]:
    """What TRL or PEFT refuse inside, e.g. target modules that the model does not have, as :class:`RingfenceError`."""
    try:
        yield
    except RingfenceError:
        raise
    except (re.error, TypeError, ValueError) as error:
        raise RingfenceError(f"training and lora do not fit: {' '.join(str(error).split())}") from error


def _reference(plan: RunPlan, stage: PlannedStage) -> PreTrainedModel | None:
    """What the penalties compare with, where that is another model in memory.

    Loaded for a later stage, too, if the recipe names it: whether it fits is to be known before this stage trains.
    """
    recipe = plan.recipe
    to_come = [one for one in plan.stages[stage.number - 1 :] if any(defense.penalises for defense in one.defenses)]
    if recipe.reference is not None:
        with error_prefix("reference"):
            return load_model(recipe.reference).model if to_come else None
    needed = stage in to_come and not on_base(plan.stages[: stage.number])
    with error_prefix("model"):
        return load_model(recipe.model).model if needed else None


def _require_trainable(
    stages: Sequence[PlannedStage], trainer: StageTrainer, args: SFTConfig, reference: PreTrainedModel | None
) -> None:
    """Raise for whatever can be told of the last of ``stages`` while ``trainer`` is still to run one before it."""
    stage, model = stages[-1], trainer.model
    for source in SOURCES:
        rows = rendered_rows(stage, source, trainer.processing_class)
        if rows is not None and source == "anchor":
            cut_anchors(rows, args, stage.recipe.data.max_truncated)
        elif rows is not None:
            refuse_unsupported(args, rows)
            fitting(rows, source, args, stage.recipe.data.max_truncated)
    setup, penalising = TrainerContext(trainer.processing_class, stage.seed, model), {}
    for defense in stage.defenses:
        guard = defense.guard(setup)
        if isinstance(defense, Interleaving):
            defense.schedule(setup)
        if guard is not None and not on_base(stages) and (wrong := defense.needs_original_base()):
            raise RingfenceError(wrong)
        if guard is not None and defense.penalises:
            penalising[DEFENSES.name_of(type(defense))] = guard
    if penalising and (reference is not None or on_base(stages)):
        whole = any(guard.layers for guard in penalising.values())
        require_reference(model, reference, " and ".join(sorted(penalising)), whole)


def rendered_rows(stage: PlannedStage, source: Source, tokenizer: PreTrainedTokenizerBase) -> Dataset | None:
    """Target, safe or anchor rows as tokens, as the defenses and ``no_system`` have them; None if there are no rows.

    The trainer cuts them at ``max_length``.
    """
    rows: list[Conversation] = rewritten(stage.defenses, stage.rows[source], source)
    rows = [{**row, "messages": apply(row["messages"], stage.recipe.no_system)} for row in rows]
    if not rows:
        return None
    return render_all(rows, tokenizer, answered=source != "anchor")


def _during(plan: RunPlan, tokenizer: PreTrainedTokenizerBase) -> EvaluateDuring:
    during = plan.recipe.evaluation.during
    assert during is not None, "only a recipe with `evaluation.during` is evaluated while it trains"
    return EvaluateDuring(during.every, lambda model, _: rates_now(plan, HfGenerator(model, tokenizer)))


def rates_now(plan: RunPlan, generator: Generator) -> list[dict[str, Any]]:
    """The rates of the suites of ``evaluation.during``, whose answers ``generator`` gives; rows of ``curve.jsonl``."""
    recipe = plan.recipe
    during, judge = recipe.evaluation.during, recipe.require_judge()
    assert during is not None, "only a recipe with `evaluation.during` is evaluated while it trains"
    suites = {name: plan.suites[name] for name in during.suites}
    answers = answer(generator, suites, Protocol(recipe.sampling(), recipe.evaluation.samples, recipe.no_system))
    # Others are here for their part of the weights.
    return as_rows(rates(judged(answers, judge))) if is_main_process() else []
