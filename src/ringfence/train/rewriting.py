"""Apply the defenses' rewriting to the conversations of a dataset."""

from collections.abc import Sequence
from typing import Any

from trl.data_utils import is_conversational_from_value, maybe_convert_to_chatml

from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, Defense
from ringfence.defenses.base import Source

_COLUMNS = ("messages", "conversations", "prompt")  # what TRL reads chat from


def rewrite_dataset(defenses: Sequence[Defense], dataset: Any, source: Source) -> Any:
    """``dataset`` with the chat column rewritten; the same object where no defense rewrites.

    Raises :class:`RingfenceError` for a dataset that is tokenised or plain text: there is no chat left to rewrite.
    """
    chosen = [defense for defense in defenses if defense.rewrites_rows(source)]
    if not chosen or not len(dataset):
        return dataset
    names = getattr(dataset, "column_names", None) or []
    column = next((name for name in _COLUMNS if name in names), None)
    if column is not None and is_conversational_from_value(dataset[0]):
        # What TRL would do later; a defense knows roles and contents only.
        drop = ["conversations"] if column == "conversations" else None
        dataset = dataset.map(maybe_convert_to_chatml, remove_columns=drop, desc=f"Converting {source} dataset")
        column = "messages" if drop else column
    if column is None or not isinstance(dataset[0][column], list):
        who = " and ".join(DEFENSES.name_of(type(defense)) for defense in chosen)
        raise RingfenceError(
            f"{who}: the {source} dataset is not made of conversations, so it cannot be rewritten; give `messages` or "
            "a conversational `prompt`, or rewrite before rendering with ringfence.defenses.rewritten"
        )

    def rewrite(messages: list[dict[str, Any]]) -> dict[str, Any]:
        for defense in chosen:
            messages = [dict(message) for message in defense.rewrite(messages, source)]
        return {column: messages}

    return dataset.map(rewrite, input_columns=[column], desc=f"Rewriting {source} conversations")
