"""On-policy answers (Kaczer et al. 2025, section 3.1, On-Policy Interleaving).

The prompts stay and the aligned model itself answers them anew, so that the safe rows pull the model towards nothing
but what it says anyway. The paper draws one answer a prompt; so does this step.

Everything up to the last user turn is kept, earlier answers included, and what follows is replaced by the new answer.
An answer that does not end within ``max_new_tokens`` would teach to stop in mid-sentence: such rows are dropped, and so
are empty answers. Columns that other steps have made before, such as ``perplexity_gap``, are those of the old answer.

Source: Kaczer et al. 2025, section 3.1, https://arxiv.org/abs/2508.06249
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import jinja2
from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Conversation, Message
from ringfence.data.encode import prompt_ids
from ringfence.data.render import require_template
from ringfence.data.system import apply, require_possible
from ringfence.generation import Answer, Generator, Request, Sampling
from ringfence.select.base import STEPS, Candidate, Context, Dropped, Mapped, Mapper, Step
from ringfence.select.shards import EMPTY

UNCHECKED = "answers by unchecked weights"
"""among a step's counts in the manifest"""
FAILED, REFUSED = "the server failed", "refused by the server"


@dataclass(frozen=True)
class Generating:
    """A mapper that asks a model something about each row and puts its answer into the row.

    Rows whose answer is cut off, empty, or did not come are dropped.
    """

    generator: Generator
    sampling: Sampling
    ask: Callable[[Conversation], Sequence[Message]]
    """the chat to answer; empty if there is nothing to ask about"""
    put: Callable[[Conversation, str], Conversation]
    """the conversation with the answer in it"""
    longest: int | None = None
    """tokens of prompt and answer together; prompts that leave no room for a whole answer are not asked; None if that
    is a server's affair, or there is no limit"""

    def __call__(self, rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
        """See :class:`Mapper`."""
        asked = [self._request(row) for row in rows]
        requests = [one for one in asked if isinstance(one, Request)]
        if len(requests) < len(rows):
            on_rows(len(rows) - len(requests))
        answers = iter(self.generator.generate(requests, self.sampling, on_rows))
        kept, dropped = [], []
        for row, one in zip(rows, asked, strict=True):
            result = self._put(row, next(answers)) if isinstance(one, Request) else one
            if isinstance(result, Candidate):
                kept.append(result)
            else:
                dropped.append(Dropped(result, row.conversation["origin"]))
        return Mapped(kept, dropped, {UNCHECKED: len(requests)} if self._unchecked else {})

    @property
    def _unchecked(self) -> bool:
        """Whether nobody knows if a server answers with the weights that it is asked for."""
        check = getattr(self.generator, "check", None)  # the model in this process, and a writer of choice, need none
        return check is not None and check.state == "not offered"

    def _request(self, row: Candidate) -> Request | str:
        """What to ask, or why the row is dropped."""
        messages = self.ask(row.conversation)
        if not messages:
            return "no user turn"
        origin = row.conversation["origin"]
        if self.generator.tokenizer is not None:
            try:
                tokens = len(prompt_ids(self.generator.tokenizer, messages))
            except jinja2.TemplateError as error:
                reason = " ".join(str(error).split())
                raise RingfenceError(
                    f"{origin}: the chat template of {self.generator.name} refuses it: {reason}"
                ) from None
            if self.longest is not None and tokens + self.sampling.max_new_tokens > self.longest:
                return f"no room for an answer of {self.sampling.max_new_tokens} tokens within {self.longest}"
        # The place in the pool names the random stream: the shard and the batch make no difference.
        return Request(str(row.index), messages, origin=origin)

    def _put(self, row: Candidate, answer: Answer) -> Candidate | str:
        """The changed row, or why it is dropped."""
        if answer.failure is not None:
            return REFUSED if answer.failure.of_row else FAILED
        if not answer.ended:
            return "truncated"
        if not answer.text:
            return EMPTY
        return replace(row, conversation=self.put(row.conversation, answer.text))


@STEPS.register("on_policy")
class OnPolicy(Step):
    """How the aligned model answers."""

    seeded: ClassVar[bool] = True

    max_new_tokens: int = Field(256, ge=1)
    """tokens; answers that have not ended by then are dropped"""
    temperature: float = Field(1.0, ge=0)
    """1 draws from the model's own distribution; 0 is greedy"""
    top_p: float = Field(1.0, gt=0, le=1)
    """the likeliest tokens that together have this probability are drawn from; 1 is all"""
    batch_size: int = Field(64, ge=1)
    """rows that are generated together; changes no answer, up to rounding"""

    @property
    def generates(self) -> bool:
        """The aligned model answers."""
        return True

    def map(self, context: Context) -> Mapper:
        """The generation. Raises :class:`RingfenceError` if the chat template does not let ``no_system`` be."""
        generator = context.answering()
        require_possible(context.no_system, generator.tokenizer)
        sampling = Sampling(self.max_new_tokens, self.temperature, context.seed, self.batch_size, self.top_p)

        def ask(conversation: Conversation) -> list[Message]:
            messages = asked(conversation)
            return apply(messages, context.no_system) if messages else []

        if generator.tokenizer is None:  # then lengths are a server's affair
            return Generating(generator, sampling, ask, _answered)
        require_template(generator.tokenizer)
        return Generating(generator, sampling, ask, _answered, context.longest())


def asked(conversation: Conversation) -> list[Message]:
    """Everything up to the last user turn; empty if there is none."""
    messages: list[Message] = conversation["messages"]
    last = max((place for place, message in enumerate(messages) if message["role"] == "user"), default=-1)
    return messages[: last + 1]


def _answered(conversation: Conversation, text: str) -> Conversation:
    return conversation | {"messages": [*asked(conversation), {"role": "assistant", "content": text}]}
