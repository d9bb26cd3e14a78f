"""What FSDP2 cannot split or save is refused before training, with what to do; ``test_ranks.py`` has more."""

from types import SimpleNamespace
from typing import Any

import pytest
from peft import get_peft_model

import examples
from ringfence.core.errors import RingfenceError
from ringfence.train.splitting import require_splittable
from training import lora


def accelerator(kind: str = "SHARDED_STATE_DICT", mixed_precision: str = "no") -> Any:
    plugin = SimpleNamespace(state_dict_type=SimpleNamespace(name=kind))
    return SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin), mixed_precision=mixed_precision)


def test_trained_weights_of_two_types_are_refused_unless_accelerate_makes_them_one() -> None:
    mixed = get_peft_model(examples.model().bfloat16(), lora())  # PEFT keeps adapters in float32
    require_splittable(mixed, accelerator())
    mixed.get_base_model().model.layers[1].mlp.up_proj.lora_B.default.bfloat16()
    said = r"^layer 2: .*lora_A.default.weight in float32 and .*lora_B.default.weight in bfloat16 .* set training.bf16"
    with pytest.raises(RingfenceError, match=said):
        require_splittable(mixed, accelerator())
    require_splittable(mixed, accelerator(mixed_precision="bf16"))
    whole = examples.model().bfloat16()
    whole.model.norm.float()
    with pytest.raises(
        RingfenceError, match=r"^outside of the layers: model.embed_tokens.weight in bfloat16 and model.norm"
    ):
        require_splittable(whole, accelerator())


def test_checkpoints_in_one_piece_and_quantised_weights_are_refused() -> None:
    model = examples.model()
    with pytest.raises(
        RingfenceError, match=r"^fsdp_state_dict_type: FULL_STATE_DICT has lost parts .* SHARDED_STATE_DICT"
    ):
        require_splittable(model, accelerator("FULL_STATE_DICT"))
    model.quantization_method = "bitsandbytes"
    with pytest.raises(
        RingfenceError, match=r"^model.bits: quantised weights are not split under FSDP2; use plain data"
    ):
        require_splittable(model, accelerator())
