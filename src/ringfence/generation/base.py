"""What generates answers: the one interface, and what is asked, how it is drawn, and what comes back.

A model in this process, one behind Inspect and one behind a chat API look the same from above. Nothing here needs
torch.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OnAnswers = Callable[[int], None]
"""is told the number of answers that have just come"""


@dataclass(frozen=True)
class Sampling:
    """How to sample."""

    max_new_tokens: int = 64
    """tokens"""
    temperature: float = 1.0
    """0 is greedy"""
    seed: int = 0
    batch_size: int = 64
    """rows that are generated together"""
    top_p: float = 1.0
    """the likeliest tokens that together have this probability are drawn from; 1 is all"""
    min_p: float = 0.0
    """tokens less likely than this share of the likeliest one are not drawn; 0 is all"""


@dataclass(frozen=True)
class Request:
    """One answer to generate: the chat so far, and what names its random stream."""

    id: str
    messages: Messages
    sample: int = 0
    origin: str = ""
    """where the row is from, for messages; else its id is shown"""


@dataclass(frozen=True)
class Failure:
    """A call that came to nothing."""

    reason: str
    """short, without secrets"""
    of_row: bool = False
    """whether the server is well and refuses what it was asked: too long, or a content filter"""


@dataclass(frozen=True)
class Answer:
    """What was generated."""

    text: str
    """without special tokens, white space at both ends dropped"""
    ended: bool
    """whether the model ended its turn within ``max_new_tokens``; else the text is cut off"""
    stop_reason: str | None = None
    """a server's own word for why the answer stops; None in this process"""
    failure: Failure | None = None
    """why this one row has no answer, where the others may have one"""


class Generator(Protocol):
    """Prompts in, answers out.

    A row's random stream is named by seed, request id and sample: how the rows fall into batches or calls makes no
    difference, as far as the program that generates can promise it.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase | None":
        """Whose chat template is used; None if that is a server's, and not known here."""
        ...

    @property
    def resumes(self) -> bool:
        """Whether the same call after a kill goes on where it was, so that nobody above has to keep parts."""
        ...

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_answers: OnAnswers | None = None
    ) -> list[Answer]:
        """The answers, in the order of ``requests``. Raises :class:`RingfenceError` for what it cannot do."""
        ...


def row_seed(bits: int, *names: object) -> int:
    """A seed of up to 63 bits for one row; ``names``, such as seed, id and sample, tell it from all others."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[: (bits + 1) // 8], "big") >> 1


def require_uncut(name: str, sampling: Sampling) -> None:
    """Raise :class:`RingfenceError` for ``top_p`` and ``min_p``, which a server may not have or may count otherwise."""
    if sampling.top_p < 1 or sampling.min_p > 0:
        raise RingfenceError(f"{name}: top_p and min_p are for models in this process; leave them at 1 and 0")
