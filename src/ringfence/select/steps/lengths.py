"""Token counts of the two sides of a conversation, and the step that keeps rows by them.

    user_tokens      = tokens that hold a character of what the user says, added up over the user's turns
    assistant_tokens = the same of the assistant's turns

What the chat template puts around a turn does not count. A side without a turn has 0 tokens. Only the model's tokenizer
is needed, so no weights are loaded.

Source: "When Does Interleaving Prevent Emergent Misalignment?" (anonymous, without a public address), section 4,
properties P2 and P3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import field_validator
from transformers import PreTrainedTokenizerBase

from ringfence.core.errors import error_prefix
from ringfence.data.conversations import Conversation
from ringfence.data.render import render_content, require_template
from ringfence.data.system import NoSystem, apply
from ringfence.models import load_tokenizer
from ringfence.select.base import STEPS, Candidate, Context, Dropped, Mapped, Mapper, Step

Side = Literal["user", "assistant"]
SIDES: tuple[Side, ...] = ("user", "assistant")
Bounds = tuple[int | None, int | None]


def column_of(side: Side) -> str:
    """The column of a side's token count."""
    return f"{side}_tokens"


def tokenizer_of(context: Context) -> PreTrainedTokenizerBase:
    """The aligned model's tokenizer, without loading the model if it is not there yet.

    Raises :class:`RingfenceError` for one that cannot render a chat or gives no offsets.
    """
    loaded = vars(context).get("loaded")
    if loaded is not None:
        tokenizer = loaded.tokenizer
    else:
        tokenizer = load_tokenizer(context.model, trust_remote_code=context.trust_remote_code)
    require_template(tokenizer)
    return tokenizer


def token_count(conversation: Conversation, tokenizer: PreTrainedTokenizerBase, side: Side, no_system: NoSystem) -> int:
    """Tokens of one side. Raises :class:`RingfenceError`, with the row's origin, if it cannot be rendered."""
    messages = conversation["messages"]
    if not any(message["role"] == side for message in messages):
        return 0
    with error_prefix(conversation["origin"]):
        return sum(render_content(apply(messages, no_system), tokenizer, side).mask)


@dataclass(frozen=True)
class Counting:
    """A mapper that gives each row both counts and drops no row."""

    tokenizer: PreTrainedTokenizerBase
    no_system: NoSystem

    def __call__(self, rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
        """See :class:`Mapper`."""
        counted = []
        for row in rows:
            counts = {
                column_of(side): float(token_count(row.conversation, self.tokenizer, side, self.no_system))
                for side in SIDES
            }
            counted.append(replace(row, scores={**row.scores, **counts}))
            on_rows(1)
        return Mapped(counted)


@STEPS.register("lengths")
class Lengths(Step):
    """Makes the columns ``user_tokens`` and ``assistant_tokens``, and drops rows outside the bounds."""

    user: Bounds = (None, None)
    """fewest and most tokens of the user's turns together, both allowed; null is no bound"""
    assistant: Bounds = (None, None)
    """the same of the assistant's turns"""

    @field_validator("user", "assistant")
    @classmethod
    def _in_order(cls, bounds: Bounds) -> Bounds:
        low, high = bounds
        if min(low or 0, high or 0) < 0:
            raise ValueError("token counts are not negative")
        if low is not None and high is not None and low > high:
            raise ValueError(f"no count is at least {low} and at most {high}; give [fewest, most]")
        return bounds

    def map(self, context: Context) -> Mapper:
        """The counting, then the filter."""
        count = Counting(tokenizer_of(context), context.no_system)

        def mapper(rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
            kept, dropped = [], []
            for row in count(rows, on_rows).rows:
                fault = self._fault(row)
                if fault is None:
                    kept.append(row)
                else:
                    dropped.append(Dropped(fault, row.conversation["origin"]))
            return Mapped(kept, dropped)

        return mapper

    def _fault(self, row: Candidate) -> str | None:
        """Why the row is dropped, if it is."""
        for side, (low, high) in zip(SIDES, (self.user, self.assistant), strict=True):
            tokens = row.scores[column_of(side)]
            if low is not None and tokens < low:
                return f"fewer than {low} {side} tokens"
            if high is not None and tokens > high:
                return f"more than {high} {side} tokens"
        return None
