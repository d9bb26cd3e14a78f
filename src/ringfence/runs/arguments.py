"""The trainer's arguments of one stage: what the recipe says, and Ringfence's own defaults, as TRL has them."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from trl import GRPOConfig, SFTConfig

from ringfence.core.errors import RingfenceError
from ringfence.core.grpo_arguments import require_whole_groups
from ringfence.recipe.run import Method
from ringfence.runs.stages import Stage
from ringfence.train.checks import require_schedule

_CLASSES: dict[Method, Any] = {"sft": SFTConfig, "grpo": GRPOConfig}


def training_arguments(stage: Stage, forecast_gpu: bool = False) -> Any:
    """TRL's ``SFTConfig`` or ``GRPOConfig``. Raises :class:`RingfenceError` for what does not go together in it.

    ``forecast_gpu``: as they would be on a GPU, which this machine may not have.
    """
    # TRL's own defaults turn on bf16 and gradient checkpointing on a CPU as well, and report to whatever is installed.
    gpu, recipe = torch.cuda.is_available(), stage.recipe
    defaults = {
        "use_cpu": not gpu,
        "bf16": (gpu or forecast_gpu) and recipe.model.dtype != "float16",
        "gradient_checkpointing": gpu or forecast_gpu,
        "report_to": [],
    }
    given = {**defaults, **recipe.training, "output_dir": str(stage.folder), "seed": stage.seed}
    try:
        if recipe.method == "grpo":
            _require_whole_groups(given)
        made = _CLASSES[recipe.method](**given)
        require_schedule(made)
        return made
    except RingfenceError as error:
        raise RingfenceError(f"{stage.key_prefix}training.{error}") from error
    except (TypeError, ValueError) as error:
        raise RingfenceError(f"{stage.key_prefix}training: {' '.join(str(error).split())}") from error


def _require_whole_groups(given: Mapping[str, Any]) -> None:
    sizes = ("per_device_train_batch_size", "num_generations")
    names = ("generation_batch_size", "steps_per_generation", "gradient_accumulation_steps", *sizes)
    values = {name: given.get(name, getattr(GRPOConfig, name)) for name in names}
    require_whole_groups(values, int(os.environ.get("WORLD_SIZE", "1")))
