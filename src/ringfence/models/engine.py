"""An engine that answers many prompts at once: what is asked of it, what comes back, and adapters by name.

Real engines, such as vLLM's (:mod:`ringfence.models.vllm`), are a :class:`Backend`; so is a scripted one of a test.
Everything else here is plain data.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple, Protocol

from transformers import PreTrainedTokenizerBase

from ringfence.core.run_folder import weights_digest

Ids = Sequence[int]
OnDone = Callable[[int], None]
_NUMBERS = count(1)
"""of adapters, never used twice in a process, whatever the engine"""


@dataclass(frozen=True)
class Draw:
    """How one prompt is answered."""

    max_tokens: int = 1
    temperature: float = 0.0
    """0 is greedy"""
    seed: int | None = None
    """of this row alone"""
    top_p: float = 1.0
    min_p: float = 0.0
    stop: tuple[int, ...] = ()
    """tokens that end the answer"""
    of_prompt: bool = False
    """whether the prompt's own log probabilities are wanted"""
    of_tokens: tuple[int, ...] = ()
    """tokens whose log probability at each place of the answer is wanted"""


@dataclass(frozen=True)
class Drawn:
    """What came of one prompt."""

    ids: list[int]
    """the answer's tokens; the stop token may be the last"""
    ended: bool
    """whether a stop token came within ``max_tokens``"""
    prompt: list[float] = field(default_factory=list)
    """(tokens - 1,) natural log probability of each token of the prompt after the first; empty unless asked for"""
    tokens: list[Mapping[int, float]] = field(default_factory=list)
    """(tokens of the answer,) token -> log probability, raw: before temperature, top_p and min_p; empty unless asked"""


class Lora(NamedTuple):
    """An adapter as an engine is told of it."""

    name: str
    number: int
    folder: Path


class Backend(Protocol):
    """What is used of an engine."""

    def generate(
        self, prompts: Sequence[Ids], draws: Sequence[Draw], adapter: Lora | None, on_done: OnDone | None
    ) -> list[Drawn]:
        """One answer a prompt, in their order; ``on_done`` is told how many have just come."""
        ...

    def close(self) -> None:
        """Give the memory back. What is asked afterwards fails."""
        ...


class Engine:
    """A base model at work in an engine, which takes any number of adapters one after the other.

    An adapter goes by the digest of its weights and a number of its own. An engine keeps what it has read of a prompt
    by the adapter's *name* (vllm#30931, #42125): with a name of our choice, the second adapter to have it would be
    answered for by what the first has made of the prompt.
    """

    def __init__(
        self,
        backend: Backend,
        source: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        stop: Sequence[int] = (),
        dtype: str = "float32",
        max_length: int = 2**31,
        max_rank: int = 0,
    ) -> None:
        """``source``: the folder or hub id that the weights are from.

        stop:       tokens that end an answer
        max_length: tokens that prompt and answer may have together
        max_rank:   the largest rank of an adapter that it has room for; 0 for none
        """
        self.source, self.tokenizer, self.stop, self.dtype = source, tokenizer, tuple(stop), dtype
        self.max_length, self.max_rank = max_length, max_rank
        self._backend, self._numbers = backend, dict[str, int]()
        self._closer = weakref.finalize(self, backend.close)

    def generate(
        self, prompts: Sequence[Ids], draws: Sequence[Draw], adapter: Path | None = None, on_done: OnDone | None = None
    ) -> list[Drawn]:
        """One answer a prompt, in their order; ``adapter`` is the folder of the one that answers, None the base."""
        if not prompts:
            return []
        return self._backend.generate(prompts, draws, None if adapter is None else self.lora(adapter), on_done)

    def log_probabilities(self, rows: Sequence[Ids], adapter: Path | None = None) -> list[list[float]]:
        """Of each row, (tokens - 1,) natural log probability of each token after the first, given those before it."""
        # One by one: with adapters allowed, vLLM 0.32 counts the rows of several prompts wrong in the output layer.
        return [self.generate([row], [Draw(of_prompt=True)], adapter)[0].prompt for row in rows]

    def lora(self, folder: Path) -> Lora:
        """The adapter in ``folder`` as the backend is to be told of it: another one if its weights have changed."""
        digest = weights_digest(folder)
        if digest not in self._numbers:
            self._numbers[digest] = next(_NUMBERS)
        return Lora(f"ringfence-{digest[:16]}", self._numbers[digest], folder)

    def close(self) -> None:
        """Give the memory back; done, too, when nobody holds the engine any more."""
        self._closer()
