"""The Inspect provider ``ringfence``: a model in this process, in batches, with a random stream for every row.

``ringfence/RUN`` is what the last stage of a run folder ends with, ``ringfence/FOLDER`` an adapter or a model, and
``ringfence/ID`` a model by its hub id. A row's stream is named by seed, sample id and epoch, as
:func:`ringfence.evaluate.answers.answer` names it by seed, ``suite/prompt`` and sample: the same text comes out.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

# Not in Inspect's public interface, which is why its version is pinned: the one place where a provider can see the
# sample that it answers.
from inspect_ai.log._samples import ActiveSample, sample_active
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from ringfence.core.errors import RingfenceError
from ringfence.integrations.inspect.batching import Batcher

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ringfence.generation import Request, Sampling

logger = logging.getLogger(__name__)
LONGEST = 2048  # tokens an answer where nobody sets max_tokens, as with Inspect's other local providers
# Sent on to nobody, and harmless: how to reach a server, and what to do with tools, of which there are none.
_TRANSPORT = frozenset(
    {
        "max_retries",
        "timeout",
        "attempt_timeout",
        "stream_idle_timeout",
        "max_connections",
        "adaptive_connections",
        "fail_on_refusal",
        "max_tool_output",
        "parallel_tool_calls",
        "internal_tools",
        "reasoning_history",
        "system_message",  # Inspect has put it among the messages
    }
)
_OURS = frozenset({"max_tokens", "temperature", "seed"})
# What says in other words that nothing is to be done.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "top_p": (1, 1.0),
    "top_k": (0, -1),
    "num_choices": (1,),
    "best_of": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "stop_seqs": ([],),
    "logit_bias": ({},),
    "cache": (False,),
    "cache_prompt": (False, "auto"),
    "batch": (False,),
    "extra_body": ({},),
    "extra_headers": ({},),
}


class Live:
    """A model that is in memory already; the name that it is given in Inspect should tell its weights apart.

    No dataclass: Inspect writes the fields of those into its logs.
    """

    def __init__(self, model: "PreTrainedModel | PeftModel", tokenizer: "PreTrainedTokenizerBase") -> None:
        self.model, self.tokenizer = model, tokenizer

    def __repr__(self) -> str:
        return "Live()"


@dataclass(frozen=True)
class _Answer:
    text: str
    ended: bool
    input_tokens: int
    output_tokens: int


@modelapi(name="ringfence")
class RingfenceAPI(ModelAPI):
    """Answers by :class:`ringfence.generation.HfGenerator`.

    model_name: a run folder, an adapter folder, a model folder, a hub id, or any name with ``live``
    live:       the model to use instead of loading one: ``get_model("ringfence/<digest>", live=Live(model, tokenizer),
                memoize=False)``; without ``memoize=False`` Inspect may hand out another model of that name
    batch_size: rows that are generated together
    base:       base model of an adapter folder, where it is not to be the one that the adapter names
    dtype:      of the weights; a run folder's recipe has its own

    Raises :class:`RingfenceError` where there is no such model, and at the first row for settings that it would have
    to ignore: tools, top-p, top-k, penalties, stop sequences, log probabilities, caching of answers.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - Inspect passes all of it by name
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - as in Inspect's own
        live: Live | None = None,
        batch_size: int = 64,
        base: str | None = None,
        dtype: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        if base_url is not None:
            raise RingfenceError(f"ringfence/{model_name}: is in this process; base_url {base_url} is for servers")
        if batch_size < 1:
            raise RingfenceError(f"batch_size: at least 1 row, got {batch_size}")
        if live is None:
            from ringfence.integrations.inspect.opening import open_model

            live = open_model(model_name, base, dtype, trust_remote_code)
        self._live, self._batch_size = live, batch_size
        self._batcher: Batcher[tuple[Request, Sampling], _Answer] = Batcher(self._answer, batch_size)
        self._calls: WeakKeyDictionary[ActiveSample, Counter[None]] = WeakKeyDictionary()
        self._nameless: Counter[str] = Counter()
        self._warned = False

    def max_connections(self) -> int:
        """Twice the batch: the next one has gathered while one is generated."""
        return 2 * self._batch_size

    def connection_key(self) -> str:
        """Every model has connections of its own."""
        return f"{self.model_name}-{id(self._live)}"

    def max_tokens(self) -> int:
        """Tokens an answer where nobody sets it."""
        return LONGEST

    async def count_text_tokens(self, text: str) -> int:
        """By the model's own tokenizer; Inspect's estimate needs a download."""
        return len(self._live.tokenizer(text, add_special_tokens=False)["input_ids"])

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """One answer; ``usage`` counts its tokens without the end-of-turn token, as they are in the text."""
        from ringfence.generation import Request, Sampling

        require_supported(tools, config)
        self._warn_of_few(config)
        messages = plain(input)
        sampling = Sampling(
            max_new_tokens=config.max_tokens if config.max_tokens is not None else LONGEST,
            temperature=config.temperature if config.temperature is not None else 1.0,
            seed=config.seed or 0,
            batch_size=self._batch_size,
        )
        name, sample = self._row(messages)
        answer = await self._batcher((Request(name, messages, sample), sampling), sampling)
        message = ChatMessageAssistant(content=answer.text, model=self.model_name, source="generate")
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason="stop" if answer.ended else "max_tokens")],
            usage=ModelUsage(
                input_tokens=answer.input_tokens,
                output_tokens=answer.output_tokens,
                total_tokens=answer.input_tokens + answer.output_tokens,
            ),
        )

    def _warn_of_few(self, config: GenerateConfig) -> None:
        """Inspect's default starts at 20 connections and feels its way, as is right for an API."""
        if config.max_connections is None and config.adaptive_connections is not False and not self._warned:
            self._warned = True
            wanted = self.max_connections()
            logger.warning("ringfence: batches are small without --max-connections %d, twice the batch", wanted)

    def _row(self, messages: Sequence[dict[str, str]]) -> tuple[str, int]:
        """What names the row's random stream: id and sample. Later calls for one sample have streams of their own."""
        active = sample_active()
        if active is None:
            digest = hashlib.sha256(json.dumps(list(messages)).encode()).hexdigest()[:16]
            self._nameless[digest] += 1
            return digest, self._nameless[digest] - 1
        calls = self._calls.setdefault(active, Counter())
        calls[None] += 1
        call = calls[None]
        return f"{active.sample.id}" + (f"#{call}" if call > 1 else ""), active.epoch - 1

    def _answer(self, asked: "Sequence[tuple[Request, Sampling]]") -> list[_Answer]:
        """All of one sampling; runs in the batcher's thread."""
        from ringfence.data.encode import prompt_ids
        from ringfence.generation import HfGenerator

        tokenizer = self._live.tokenizer
        requests = [request for request, _ in asked]
        answers = HfGenerator(self._live.model, tokenizer).generate(requests, asked[0][1])
        return [
            _Answer(
                answer.text,
                answer.ended,
                len(prompt_ids(tokenizer, request.messages)),
                len(tokenizer(answer.text, add_special_tokens=False)["input_ids"]),
            )
            for request, answer in zip(requests, answers, strict=True)
        ]


def require_supported(tools: Sequence[ToolInfo], config: GenerateConfig) -> None:
    """Raise :class:`RingfenceError` for what the provider would have to ignore."""
    if tools:
        raise RingfenceError(f"the provider ringfence calls no tools, and {tools[0].name} is given; leave them out")
    for name, value in config.model_dump(exclude_none=True).items():
        if name in _OURS or name in _TRANSPORT or value in _NEUTRAL.get(name, ()):
            continue
        raise RingfenceError(
            f"the provider ringfence has no {name} (got {value!r}): it samples from all tokens at a temperature, up to "
            "max_tokens, by a seed; leave it out"
        )


def plain(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """Chat messages as roles and texts. Raises :class:`RingfenceError` for tool calls, pictures and the like."""
    found = []
    for message in messages:
        calls = getattr(message, "tool_calls", None)
        if message.role == "tool" or calls or not isinstance(message.content, str):
            what = "a tool's message" if message.role == "tool" else "a tool call" if calls else "content in parts"
            raise RingfenceError(f"the provider ringfence takes text only, and a message holds {what}")
        found.append({"role": message.role, "content": message.content})
    return found
