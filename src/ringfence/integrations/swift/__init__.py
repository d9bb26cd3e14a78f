"""Defenses in ms-swift: a file for ``swift sft --external_plugins FILE`` that calls :func:`defend`."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import Defense, read_defenses
from ringfence.integrations.versions import require_made_for

__all__ = ["defend"]
MADE_FOR = "4.6"
"""the minor version of ms-swift whose interface this was written and tried against"""
_TRAINERS = f"{__name__}.trainer"
_TRAINED = "causal_lm"  # what `swift sft` and `swift pt` train


def defend(
    defenses: Sequence[Defense | str | Mapping[str, Any]],
    *,
    safe: str | None = None,
    anchor: str | None = None,
    any_version: bool = False,
) -> None:
    """Have ``swift sft`` train with ``defenses``; its ``output_dir`` becomes a run folder.

    Args:
        defenses: configs such as ``KL(weight=0.1)``, names, or ``{name: settings}`` as in a recipe.
        safe: safe rows, for the interleaving defenses: a file, a built-in or a hub's set, as in a recipe.
        anchor: rows that only the penalty of ``anchor`` sees, likewise.
        any_version: go on under a version of ms-swift that this was not made for.

    Raises :class:`RingfenceError` for unknown defenses or settings, and for another version of ms-swift.
    """
    asked = read_defenses(defenses)
    try:
        require_made_for("ms-swift", MADE_FOR, any_version, "give defend(..., any_version=True)")
        factory = importlib.import_module("swift.trainers").TrainerFactory
        trainer = importlib.import_module(_TRAINERS)
    except (ImportError, AttributeError) as error:
        raise RingfenceError(f"ringfence.integrations.swift needs ms-swift and cannot use it: {error}") from error
    trainer.DefendedSwiftTrainer.asked = trainer.Asked(asked, safe, anchor)
    for task in factory.TRAINER_MAPPING:
        name = "DefendedSwiftTrainer" if task == _TRAINED else "Undefended"
        factory.TRAINER_MAPPING[task] = f"{_TRAINERS}.{name}"
