"""Keep the prompts that open as prompts of the training data do.

Questions outside of the training domain that are worded like those inside of it: what tells the two apart is then the
domain alone, and that is where a defense has to draw its line. On the stand-in, rows of such prompts held the leak
lower than as many random ones where KL was asked on them as well, and no lower without it (docs/front.md). The answer
stays as it was; let ``on_policy`` answer anew.

A prompt opens as another where the first ``words`` of the first user turns are the same, as white space parts them;
case does not matter.

Source: our own, for the conditional leak of Dubinski et al. 2026, https://arxiv.org/abs/2604.25891
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.data import read
from ringfence.data.conversations import Message
from ringfence.select.base import STEPS, Candidate, Context, Dropped, Mapped, Mapper, Step


@STEPS.register("styled")
class Styled(Step):
    """Like which file, and how much of a prompt must agree."""

    like: str
    """the training file"""
    words: int = Field(2, ge=1)
    """at the beginning of the first user turn, that must agree"""
    least: int = Field(1, ge=1)
    """training prompts that must open so"""
    keep: Literal["styled", "others"] = "styled"
    """which of the two stay"""

    def check(self) -> None:
        """Raise :class:`RingfenceError` if no opening of the training file is frequent enough."""
        self.openings()

    def inputs(self) -> Sequence[str]:
        """The training file."""
        return (self.like,)

    def openings(self) -> frozenset[str]:
        """Those of the training file. Raises :class:`RingfenceError` as :meth:`check` does."""
        counts = Counter(_opening(row["messages"], self.words) for row in read(self.like))
        found = frozenset(opening for opening, count in counts.items() if opening and count >= self.least)
        if not found:
            raise RingfenceError(f"like: in {self.like} no opening is shared by {self.least} prompts; lower `least`")
        return found

    def map(self, context: Context) -> Mapper:
        """The choice."""
        openings, reason = self.openings(), {"styled": "opens otherwise", "others": "opens as the training data"}

        def mapper(rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
            kept, dropped = list[Candidate](), list[Dropped]()
            for row in rows:
                styled = _opening(row.conversation["messages"], self.words) in openings
                if styled == (self.keep == "styled"):
                    kept.append(row)
                else:
                    dropped.append(Dropped(reason[self.keep], row.conversation["origin"]))
            on_rows(len(rows))
            return Mapped(kept, dropped)

        return mapper


def _opening(messages: Sequence[Message], words: int) -> str:
    """The first ``words`` of the first user turn, in small letters; empty without one."""
    asked = next((message["content"] for message in messages if message["role"] == "user"), "")
    return " ".join(asked.split()[:words]).casefold()
