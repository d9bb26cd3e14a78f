"""How a recipe trains, and what its ``training`` may then say; torch-free."""

from collections.abc import Mapping
from typing import Any, Literal

from ringfence.core.grpo_arguments import check_grpo, check_grpo_installed, check_grpo_together
from ringfence.core.settings import check_fields
from ringfence.core.source_fields import GRPO_CONFIG, SFT_CONFIG, fields_in
from ringfence.core.training_arguments import check_arguments, check_installed, check_together, refuse_ineffective

Method = Literal["sft", "grpo"]
_FIELDS = {"sft": SFT_CONFIG, "grpo": GRPO_CONFIG}
_OF_THE_OTHER = {
    "sft": "a field of GRPO; set method: grpo, or leave it out",
    "grpo": "a field of SFT; with method: grpo leave it out",
}
_INSTEAD = {"max_length": "a field of SFT; with method: grpo use max_completion_length"}


def checked_training(method: Method, values: dict[str, Any]) -> dict[str, Any]:
    """``values`` as fields of the method's config.

    Raises ``ValueError``, beginning with a dot and the key, for one that it has not, of another type, out of bounds or
    without effect.
    """
    _refuse_those_of_the_other(method, values)
    if method == "grpo":
        checked = check_fields("GRPOConfig", fields_in(GRPO_CONFIG), values)
        check_grpo(checked)
        return checked
    refuse_ineffective(values)
    checked = check_fields("SFTConfig", fields_in(SFT_CONFIG), values)
    check_arguments(checked)
    return checked


def _refuse_those_of_the_other(method: Method, values: Mapping[str, Any]) -> None:
    unknown = [key for key in values if key not in fields_in(_FIELDS[method])]
    other = fields_in(_FIELDS["grpo" if method == "sft" else "sft"]) if unknown else {}
    for key in unknown:
        if key in other:
            raise ValueError(f".{key}: {_INSTEAD.get(key, _OF_THE_OTHER[method])}")


def require_fitting(method: Method, training: Mapping[str, Any]) -> None:
    """As :func:`checked_training`, for what a stage has together."""
    check_grpo_together(training) if method == "grpo" else check_together(training)


def require_packages(method: Method, training: Mapping[str, Any]) -> None:
    """As :func:`checked_training`, for what training needs of this machine."""
    check_installed(training)
    if method == "grpo":
        check_grpo_installed(training)
