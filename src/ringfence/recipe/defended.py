"""What has defenses of its own: a recipe, and each of its later stages."""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, Defense
from ringfence.defenses.together import require_together
from ringfence.recipe.methods import checked_training
from ringfence.recipe.sections import Section, StageData


def _parse_defenses(value: Any) -> tuple[Defense, ...]:
    found = DEFENSES.parse_list(value)
    try:
        require_together(found)
    except RingfenceError as error:
        raise ValueError(str(error).removeprefix("defenses: ")) from None
    return found


Training = Annotated[dict[str, Any], AfterValidator(partial(checked_training, "sft"))]


class Defended(Section):
    """Base of what has ``defenses``, its last field but ``stages``: a defense may need torch, so that it comes last."""

    @field_validator("defenses", mode="before", check_fields=False)
    @classmethod
    def _after_the_rest(cls, value: Any, info: ValidationInfo) -> tuple[Defense, ...]:
        names = list(cls.model_fields)
        earlier = names[: names.index("defenses")]
        return _parse_defenses(value) if all(name in info.data for name in earlier) else ()


class StageConfig(Defended):
    """A later stage, e.g. fine-tuning on benign data after the target (Dubinski et al. 2026)."""

    name: str = Field(pattern=r"^\w[\w.+-]*$")
    """part of its folder's name"""
    data: StageData
    """what this stage trains on; ``safe`` is not taken over from the recipe"""
    training: Training = Field(default_factory=dict)
    """changes to the recipe's ``training``"""
    adapter: Literal["continue", "new"] = "continue"
    """``continue`` to train the stage before's adapter (or all weights), or merge it and train a ``new`` one"""
    defenses: tuple[Defense, ...] = ()
    """of this stage; none are taken over from the recipe"""
