"""Check a recipe's ``lora``: which fields of LoraConfig it may set, and to what. No field is taken without effect.

What a field means by itself, and whether it fits the model, is left to PEFT. Plain Python, as in
:mod:`ringfence.core.training_arguments`: a mistake is told without importing torch.
"""

from collections.abc import Mapping
from typing import Any

from ringfence.core.training_arguments import SHARE, Bound, Refusal, whole

BOUNDS: dict[str, Bound] = {"r": whole(1), "lora_alpha": whole(1), "lora_dropout": SHARE}
_OBJECT = "an object of PEFT's, which a recipe cannot hold; leave it out"
REFUSALS: dict[str, Refusal] = {
    "peft_type": Refusal("`lora` is a LoRA adapter and no other; leave it out", (None, "LORA")),
    "task_type": Refusal("a chat model is a causal language model; leave it out", (None, "CAUSAL_LM")),
    "base_model_name_or_path": Refusal("the model is named by `model.name`; leave it out", (None,)),
    "revision": Refusal("set by `model.revision`; leave it out", (None,)),
    "inference_mode": Refusal("training begins with an adapter that can be trained; leave it out", (None, False)),
    "auto_mapping": Refusal("PEFT writes it itself; leave it out", (None,)),
    "peft_version": Refusal("PEFT writes it itself; leave it out", (None,)),
    **dict.fromkeys(
        ("eva_config", "corda_config", "lora_ga_config", "kasa_config", "arrow_config", "use_bdlora", "runtime_config"),
        Refusal(_OBJECT, (None,)),
    ),
}


def check_lora(values: Mapping[str, Any]) -> None:
    """Raise ``ValueError``, beginning with a dot and the key, for what is refused or out of bounds; types are right."""
    for key, value in values.items():
        if (refusal := REFUSALS.get(key)) is not None and value not in refusal.anyway:
            raise ValueError(f".{key}: {refusal.why}")
        if (bound := BOUNDS.get(key)) is not None and not bound.fits(value):
            raise ValueError(f".{key}: {bound.must}, got {value!r}")
