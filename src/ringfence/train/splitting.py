"""What FSDP2 asks of a run: refused before training, where it would fail in the first step or lose weights."""

import torch
from accelerate import Accelerator
from accelerate.utils import fsdp2_prepare_model
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from ringfence.core.errors import RingfenceError
from ringfence.models.activations import Model, bare, decoder_layers

_SHARDED = "SHARDED_STATE_DICT"


def require_whole_weights(model: nn.Module) -> None:
    """Raise :class:`RingfenceError` for a model that somebody has split before the trainer does."""
    if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        raise RingfenceError(
            "model: its weights are split over ranks already (distributed_config, or fully_shard by hand); give it "
            "whole, and start with `accelerate launch --use_fsdp --fsdp_version 2`, which splits it"
        )


def require_splittable(model: Model, accelerator: Accelerator) -> None:
    """Raise :class:`RingfenceError` for what FSDP2 cannot split, or not save."""
    kind = accelerator.state.fsdp_plugin.state_dict_type
    if (name := getattr(kind, "name", kind)) != _SHARDED:
        raise RingfenceError(
            f"fsdp_state_dict_type: {name} has lost parts of adapters when training was resumed; set it to {_SHARDED} "
            "(the trained adapter is one file in any case)"
        )
    if getattr(bare(model), "quantization_method", None) is not None:
        raise RingfenceError(
            "model.bits: quantised weights are not split under FSDP2; use plain data parallelism (torchrun), where "
            "every GPU holds them, or load them in bfloat16"
        )
    if accelerator.mixed_precision == "no":  # else accelerate trains all of them in float32
        _require_one_type(model)


def split_reference(model: PreTrainedModel, accelerator: Accelerator) -> PreTrainedModel:
    """The frozen ``model`` with its weights split as those of the trained one will be."""
    made: PreTrainedModel = fsdp2_prepare_model(accelerator, model)
    return made


def _require_one_type(model: Model) -> None:
    """What is trained of one unit has one type; frozen weights may have another, and are gathered in it."""
    layers = decoder_layers(model)
    inside = {id(parameter) for parameter in layers.parameters()}
    rest = [(name, one) for name, one in model.named_parameters() if id(one) not in inside]
    units = {f"layer {number}": [*layer.named_parameters()] for number, layer in enumerate(layers, 1)}
    for where, parameters in {**units, "outside of the layers": rest}.items():
        found: dict[torch.dtype, str] = {}
        for name, parameter in parameters:
            if parameter.requires_grad:
                found.setdefault(parameter.dtype, name)
        if len(found) > 1:
            said = " and ".join(f"{name} in {str(dtype).removeprefix('torch.')}" for dtype, name in found.items())
            raise RingfenceError(
                f"{where}: {said} are trained, and FSDP2 needs one type; set training.bf16: true, load the model in "
                "float32, or keep all adapters in one type"
            )
