"""ms-swift's trainer of ``swift sft`` with the defenses that :func:`~ringfence.integrations.swift.defend` was told.

Three things of ms-swift do not go with rows that are drawn at the moment of consumption, and penalties at positions:
rows that are tokenised when they are read, labels that are cut down to those with a loss, and a loss that is not a
number for a micro-batch without labels. So rows are tokenised at once, by its own template; nothing is cut; and the
loss is its own ``cross_entropy``, a sum over labels divided by those of the whole step.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from datasets import Dataset
from swift.dataset import LazyLLMDataset
from swift.loss import loss_map
from swift.template import MaxLengthError
from swift.trainers import Seq2SeqTrainer

from ringfence.core.errors import RingfenceError
from ringfence.data import read
from ringfence.defenses import Defense
from ringfence.defenses.base import Source
from ringfence.train import DefendedTrainerMixin

logger = logging.getLogger(__name__)
_LOSS = "cross_entropy"
_TOKENS = {"input_ids", "labels"}
_LENGTHS = {"length", "lengths"}
_LOSS_OF_ITS_OWN = "the loss here is the cross-entropy of all labels"
REFUSED: Mapping[str, str] = {
    "enable_dft_loss": _LOSS_OF_ITS_OWN,
    "enable_channel_loss": _LOSS_OF_ITS_OWN,
    "predict_with_generate": "its evaluation takes rows that are not tokenised; evaluate the run by ringfence evaluate",
    "use_flash_ckpt": "checkpoints here are written by the trainer of transformers",
    "resume_only_model": "a run goes on with its optimizer and its rows, or begins anew",
}
"""arguments of ms-swift that the defended trainer would ignore, or cannot do with, each with why"""


@dataclass(frozen=True)
class Asked:
    """What to defend with, and where the rows for it are."""

    defenses: tuple[Defense, ...]
    safe: str | None
    anchor: str | None


class DefendedSwiftTrainer(DefendedTrainerMixin, Seq2SeqTrainer):
    """``Seq2SeqTrainer`` of ms-swift with defenses; it is given what that is given."""

    asked: ClassVar[Asked] = Asked((), None, None)
    undescribed = ("ms-swift: the rest of its arguments",)

    def __init__(self, *, args: Any, template: Any, train_dataset: Any, **given: Any) -> None:
        refuse(args, template)
        self._by = template
        self._too_long: dict[Source, int] = {}
        if args.loss_type is None:
            args.loss_type = _LOSS
        # Of ms-swift's own, which gives it to train(); other scripts that set it are told that nobody reads it.
        resumed, args.resume_from_checkpoint = args.resume_from_checkpoint, None
        asked = self.asked
        super().__init__(
            args=args,
            template=template,
            train_dataset=conversations(train_dataset),
            safe_dataset=None if asked.safe is None else Dataset.from_list(_messages(read(asked.safe))),
            anchor_dataset=None
            if asked.anchor is None
            else self._encoded(_messages(read(asked.anchor, answered=False)), "anchor"),
            defenses=asked.defenses,
            **given,
        )
        args.resume_from_checkpoint = resumed

    def _rewrite(self, dataset: Any, source: Source) -> Dataset:
        return self._encoded(super()._rewrite(dataset, source), source)

    def _encoded(self, rows: Any, source: Source) -> Dataset:
        """``rows`` by the template; what is longer than ``max_length`` is left out where it is not cut."""
        found = []
        for place, row in enumerate(rows):
            try:
                encoded = self._by.encode(dict(row))
            except MaxLengthError:
                self._too_long[source] = self._too_long.get(source, 0) + 1
                continue
            if others := encoded.keys() - _TOKENS - _LENGTHS:
                raise RingfenceError(
                    f"{source} row {place}: ms-swift makes {', '.join(sorted(others))} of it, and defenses know tokens "
                    "and labels only; leave out images, channels and a loss_scale that is not 0 or 1"
                )
            found.append({"input_ids": encoded["input_ids"], "labels": encoded["labels"]})
        if (dropped := self._too_long.get(source)) is not None:
            logger.warning("%s: %d of %d rows are longer than max_length and left out", source, dropped, len(rows))
        if not found:
            raise RingfenceError(f"{source}: no row is left; raise --max_length, or set --truncation_strategy right")
        return Dataset.from_list(found)

    def row_counts(self) -> dict[str, dict[str, int]]:
        """With the rows that were too long."""
        counts = super().row_counts()
        return {name: {**of, "dropped": self._too_long.get(name, 0)} for name, of in counts.items()}  # type: ignore[call-overload]

    def get_use_logits_to_keep(self, default_value: bool = True) -> bool:
        """Never: penalties go by positions, which would be others."""
        return False


def Undefended(*_: Any, **__: Any) -> None:
    """Raise :class:`RingfenceError` in place of every trainer that has no defenses."""
    raise RingfenceError(
        "only `swift sft` and `swift pt` of text are defended, and another trainer would train without a defense; "
        "leave the plugin out (for GRPO there is ringfence.DefendedGRPOTrainer)"
    )


def refuse(args: Any, template: Any) -> None:
    """Raise :class:`RingfenceError`, naming it, for an argument of ms-swift that does not go with defenses."""
    for name, why in REFUSED.items():
        if getattr(args, name, None):
            raise RingfenceError(f"--{name}: {why}; leave it out, or the plugin")
    if args.loss_type not in (None, _LOSS):
        raise RingfenceError(f"--loss_type {args.loss_type}: {_LOSS_OF_ITS_OWN}; leave it out, or the plugin")
    if template.sequence_parallel_size > 1:
        raise RingfenceError("--sequence_parallel_size: a rank would see a part of each row; leave it out")
    assert _LOSS in loss_map, "ms-swift has no loss of that name"


def conversations(dataset: Any) -> Dataset:
    """The rows behind what ms-swift gives its trainer. Raises :class:`RingfenceError` for packed rows and streams."""
    if not isinstance(dataset, LazyLLMDataset):
        raise RingfenceError(
            f"the training rows are a {type(dataset).__name__}: packed or split rows hold many conversations or few, "
            "and a stream cannot be drawn in any order; leave out --packing, --streaming and truncation by split"
        )
    rows: Dataset = dataset.dataset
    return rows.remove_columns([name for name in rows.column_names if name in _LENGTHS])


def _messages(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"messages": [dict(message) for message in row["messages"]]} for row in rows]
