"""Defenses in ms-swift: a file for ``swift sft --external_plugins FILE`` that calls :func:`defend`."""

import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import Defense, read_defenses

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
        require_version(importlib.metadata.version("ms-swift"), any_version)
        factory = importlib.import_module("swift.trainers").TrainerFactory
        trainer = importlib.import_module(_TRAINERS)
    except (ImportError, AttributeError) as error:
        raise RingfenceError(f"ringfence.integrations.swift needs ms-swift and cannot use it: {error}") from error
    trainer.DefendedSwiftTrainer.asked = trainer.Asked(asked, safe, anchor)
    for task in factory.TRAINER_MAPPING:
        name = "DefendedSwiftTrainer" if task == _TRAINED else "Undefended"
        factory.TRAINER_MAPPING[task] = f"{_TRAINERS}.{name}"


def require_version(found: str, any_version: bool) -> None:
    """Raise :class:`RingfenceError` unless ``found`` is what this was made for, or any will do."""
    if any_version or ".".join(found.split(".")[:2]) == MADE_FOR:
        return
    raise RingfenceError(
        f"ms-swift {found}: ringfence was made for {MADE_FOR}, and another version may train without a defense; "
        f'pip install "ms-swift=={MADE_FOR}.*", or give defend(..., any_version=True) and look at safe_rows in '
        "result.json"
    )
