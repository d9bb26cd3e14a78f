"""The block ``ringfence:`` of an Axolotl configuration."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ringfence.core.settings import StrictConfig
from ringfence.defenses.base import read_defenses

PLUGIN = "ringfence.integrations.axolotl.RingfencePlugin"
_NOT_SFT = "only supervised fine-tuning of text is defended here"
_STREAM = "rows of a stream cannot be drawn in any order"
_PACKED = "a row would hold many conversations or few, so a share of safe rows would mean nothing"
_ORDER = "the rows of a step are drawn at random, with the safe ones among them"
REFUSED: Mapping[str, str] = {
    "rl": f"{_NOT_SFT}; for GRPO there is ringfence.DefendedGRPOTrainer",
    "reward_model": _NOT_SFT,
    "process_reward_model": _NOT_SFT,
    "processor_type": _NOT_SFT,
    "pretraining_dataset": _STREAM,
    "streaming": _STREAM,
    "sample_packing": _PACKED,
    "batch_flattening": _PACKED,
    "curriculum_sampling": _ORDER,
    "group_by_length": _ORDER,
    "relora": "it merges the adapter into the weights that the model is compared with",
    "trainer_cls": "the trainer is Axolotl's own, with defenses",
}
"""keys of Axolotl that the defended trainer would ignore, or cannot do with, each with why"""


class RingfenceSettings(StrictConfig):
    """What to defend with; unknown keys raise."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    defenses: list[Any]
    """as in a recipe: names, or ``{name: settings}``"""
    safe: list[dict[str, Any]] = Field(default_factory=list)
    """safe rows, for the interleaving defenses: entries as Axolotl's ``datasets:`` has them, tokenised alike"""
    anchor: list[dict[str, Any]] = Field(default_factory=list)
    """rows that only ``anchor`` reads, in the same form"""
    any_version: bool = False
    """go on under a version of Axolotl that this plugin was not made for"""

    @field_validator("defenses")
    @classmethod
    def _known_defenses(cls, value: list[Any]) -> list[Any]:
        read_defenses(value)
        return value


class RingfenceArgs(BaseModel):
    """What the plugin adds to Axolotl's configuration."""

    ringfence: RingfenceSettings

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        if not data.get("ringfence"):
            raise ValueError(
                f"ringfence: plugins has {PLUGIN}, and there is no such block; add one, e.g. ringfence: "
                "{defenses: [{kl: {weight: 0.1}}]}, or leave the plugin out"
            )
        for key, why in REFUSED.items():
            if data.get(key):
                raise ValueError(f"{key}: {why}; leave {key} out, or the plugin")
        return data
