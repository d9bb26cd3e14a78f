"""What training consumed, for ``result.json``: rows and tokens of each source, and what ``max_length`` took of them."""

import math
from collections.abc import Mapping
from typing import Any

from transformers import TrainingArguments

from ringfence.interleave.mixture import Counters
from ringfence.interleave.tally import Tally


def consumed(
    counters: Counters, args: TrainingArguments, tokenised: Mapping[str, bool], anchored: bool = False
) -> dict[str, Any]:
    """Steps, rows, tokens, and those with a loss (labels); ``safe_fraction`` = safe rows / all rows, and mean ratio.

    A row is a conversation, also where several are packed into one. NaN is what cannot be told: rows where packing cuts
    conversations into pieces, and tokens of a source whose rows are not ``tokenised`` beforehand. ``anchored``: the run
    has anchor rows, which carry no loss and are no part of the fraction.
    """
    rows, safe = _conversations(counters, args), counters.safe_rows
    return {
        "steps": counters.step,
        "target_rows": rows,
        "safe_rows": safe,
        "safe_fraction": safe / (rows + safe) if rows + safe else math.nan,
        **_tokens("target", counters.target, tokenised.get("target", True)),
        **_tokens("safe", counters.safe, tokenised.get("safe", True)),
        **({"anchor_rows": counters.anchor_rows, "anchor_tokens": counters.anchor.tokens} if anchored else {}),
        "mean_ratio": counters.ratio_sum / counters.step if counters.step else math.nan,
    }


def _conversations(counters: Counters, args: TrainingArguments) -> float:
    """Target rows; with packing, which comes without safe rows, the conversations in them."""
    if not getattr(args, "packing", False):  # TRL's only
        return counters.target_rows
    return counters.target.conversations if getattr(args, "packing_strategy", "") == "bfd" else math.nan


def _tokens(source: str, tally: Tally, tokenised: bool) -> dict[str, float]:
    return {
        f"{source}_tokens": tally.tokens if tokenised else math.nan,
        f"{source}_labels": tally.labels if tokenised else math.nan,
    }
