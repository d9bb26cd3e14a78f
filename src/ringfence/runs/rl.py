"""GRPO by a recipe: its arguments, prompts, rewards and trainer.

A prompt is a conversation up to its last user turn, behind the system message of ``rl.format_prompt``. How right an
answer is, is the task's to say where the rows are a task's (``data.target: task:gsm8k``); else it is right if it is the
row's ``answer``.
"""

from typing import TYPE_CHECKING, Any

from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig

from ringfence.core.errors import error_prefix
from ringfence.data.system import apply
from ringfence.data.task import is_task, parse_spec
from ringfence.recipe.sections import RLConfig
from ringfence.rl.prompts import prompt_of, with_format
from ringfence.rl.rewards import reward_parts, same_answer
from ringfence.rl.rewards.base import Score
from ringfence.runs.plan import PlannedStage
from ringfence.runs.stages import Stage

if TYPE_CHECKING:
    from ringfence.rl import DefendedGRPOTrainer


def grpo_trainer(
    stage: PlannedStage,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    args: GRPOConfig,
    reference: PreTrainedModel | None,
) -> "DefendedGRPOTrainer":
    """The trainer of ``stage``. Raises :class:`RingfenceError` for what does not fit together."""
    from ringfence.rl import DefendedGRPOTrainer  # with what only reinforcement learning needs of TRL

    recipe, rl = stage.recipe, _rl(stage)
    with error_prefix("rl"):
        parts = reward_parts(rl.rewards, score_of(recipe.data.target))
    return DefendedGRPOTrainer(
        model=model,
        reward_funcs=list(parts),
        args=args,
        train_dataset=prompt_rows(stage),
        safe_dataset=_safe_rows(stage),
        processing_class=tokenizer,
        peft_config=None if isinstance(model, PeftModel) else recipe.lora_config(),
        defenses=stage.defenses,
        reference_model=reference,
        mode=rl.mode,
        rollouts=rl.rollouts,
    )


def score_of(target: str) -> Score:
    """How right a response is by a row of ``target``, a recipe's ``data.target``."""
    return parse_spec(target).task.score if is_task(target) else same_answer


def prompt_rows(stage: PlannedStage) -> Dataset:
    """Columns ``prompt``, messages; ``answer``, "" where there is none; and ``origin``."""
    recipe, rl = stage.recipe, _rl(stage)
    columns: dict[str, list[Any]] = {"prompt": [], "answer": [], "origin": []}
    for row in stage.rows["target"]:
        asked = apply(prompt_of(row), recipe.no_system)
        columns["prompt"].append(with_format(asked, rl.format_prompt))
        columns["answer"].append(row.get("answer", ""))
        columns["origin"].append(row["origin"])
    return Dataset.from_dict(columns)


def _safe_rows(stage: PlannedStage) -> Dataset | None:
    rows = [{"messages": apply(row["messages"], stage.recipe.no_system)} for row in stage.rows["safe"]]
    return Dataset.from_list(rows) if rows else None


def _rl(stage: Stage) -> RLConfig:
    rl = stage.recipe.rl
    assert rl is not None, "a recipe of method: grpo has rewards"
    return rl
