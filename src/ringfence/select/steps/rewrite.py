"""Answers rewritten by a language model under an instruction, such as the calibration style of "When does interleaving
prevent EM?" (section 6) or its HHH style (section 4).

The model is shown the conversation up to its last assistant turn, that turn, and the instruction, and replies with the
new text of that turn alone. The shipped instructions are our own wording, one text file each in ``instructions/``; the
frame around them is ``request.txt``. A reply that does not end within ``max_new_tokens`` is dropped, and so is an empty
one. Columns that other steps have made before are those of the old answer.

The model is a local one or, with ``api``, one behind a server (:mod:`ringfence.select.remote_writer`).

Source: "When Does Interleaving Prevent Emergent Misalignment?" (anonymous, without a public address), sections 4 and 6.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ringfence.data.conversations import Conversation, Message
from ringfence.data.render import require_template
from ringfence.generation import HfGenerator, Sampling
from ringfence.generation.chat_api import ChatGenerator
from ringfence.models import load
from ringfence.select.base import STEPS, Context, Mapper, Step
from ringfence.select.remote_writer import RemoteWriter
from ringfence.select.steps.on_policy import Generating

Style = Literal["calibration", "hhh"]
ORIGINAL = "original_answer"
"""string column of the old answer"""
_PLACEHOLDER = re.compile(r"\{(instruction|conversation|answer)\}")


@STEPS.register("rewrite")
class Rewrite(Step):
    """Who rewrites, and how."""

    seeded: ClassVar[bool] = True

    style: Style | None = None
    """a shipped instruction: ``calibration`` corrects false premises, says what is uncertain, and helps; ``hhh`` makes
    the answer more helpful, honest and harmless"""
    instruction: str | None = Field(None, pattern=r"\S")
    """your own instruction instead"""
    model: str | None = None
    """a folder or a hub id; null is the aligned model, unless ``api`` is given"""
    api: RemoteWriter | None = None
    """in place of ``model``, one behind an OpenAI-compatible API, to which the rows are sent: a mapping of ``model``,
    ``base_url``, ``api_key_env``, ``token_limit``, ``max_retries``, ``timeout`` and ``concurrency``, each as of a
    [judge of kind api](recipes.md#kind-api)"""
    max_new_tokens: int = Field(512, ge=1)
    """tokens; answers that have not ended by then are dropped"""
    temperature: float = Field(0.0, ge=0)
    """0 is greedy"""
    batch_size: int = Field(64, ge=1)
    """rows that a local model generates together; changes no answer, up to rounding"""
    keep_original: bool = False
    """keep the old answer in the string column ``original_answer``; the first one, if a row is rewritten twice"""

    @model_validator(mode="after")
    def _one_instruction(self) -> Self:
        if (self.style is None) == (self.instruction is None):
            raise ValueError("give either style (calibration or hhh) or an instruction")
        return self

    @model_validator(mode="after")
    def _one_writer(self) -> Self:
        if self.model is not None and self.api is not None:
            raise ValueError("model and api both say who rewrites; give one")
        return self

    @property
    def generates(self) -> bool:
        """Whether the aligned model rewrites."""
        return self.model is None and self.api is None

    def check(self) -> None:
        """Raise :class:`RingfenceError` if the server's key is missing."""
        if self.api is not None:
            self.api.secret()

    def inputs(self) -> Sequence[str]:
        """The rewriting model, if it is a local one and not the aligned one."""
        return () if self.model is None else (self.model,)

    def map_settings(self) -> dict[str, Any]:
        """With the texts themselves, so that answers of an older wording are not taken for ours."""
        texts = {"texts": [self.text(), shipped("request")]}
        if self.api is None:
            return {**self.model_dump(mode="json", exclude={"api"}), **texts}
        return {**self.model_dump(mode="json", exclude={"batch_size"}), "api": self.api.identity(), **texts}

    def text(self) -> str:
        """The instruction."""
        return shipped(self.style) if self.style is not None else str(self.instruction).strip()

    def map(self, context: Context) -> Mapper:
        """The rewriting. The request is no row of the data: the chat template alone says what system prompt it has."""
        text = self.text()
        sampling = Sampling(self.max_new_tokens, self.temperature, context.seed, self.batch_size)

        def ask(conversation: Conversation) -> list[Message]:
            return request(conversation, text)

        if self.api is not None:
            return Generating(ChatGenerator(self.api), sampling, ask, self._put)
        if self.model is None:
            generator = context.answering()
            if generator.tokenizer is None:  # then lengths are a server's affair
                return Generating(generator, sampling, ask, self._put)
            require_template(generator.tokenizer)
            return Generating(generator, sampling, ask, self._put, context.positions())
        loaded = load(self.model, dtype=context.dtype, trust_remote_code=context.trust_remote_code)
        require_template(loaded.tokenizer)
        longest = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
        return Generating(HfGenerator.of(loaded), sampling, ask, self._put, longest)

    def _put(self, conversation: Conversation, text: str) -> Conversation:
        messages, last = conversation["messages"], last_answer(conversation)
        new = [*messages[:last], {**messages[last], "content": text}, *messages[last + 1 :]]
        kept = {ORIGINAL: messages[last]["content"]} if self.keep_original else {}
        return {**kept, **conversation, "messages": new}


def request(conversation: Conversation, instruction: str) -> list[Message]:
    """The chat that asks for the new answer."""
    messages, last = conversation["messages"], last_answer(conversation)
    turns = [message for message in messages[:last] if message["content"]]  # an empty system prompt says nothing
    said = "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns)
    values = {"instruction": instruction, "conversation": said, "answer": messages[last]["content"]}
    # In one pass, so that a placeholder's name inside an answer stays as it is.
    content = _PLACEHOLDER.sub(lambda found: values[found.group(1)], shipped("request"))
    return [{"role": "user", "content": content}]


def last_answer(conversation: Conversation) -> int:
    """The place of the last assistant turn; every conversation has one."""
    return max(place for place, message in enumerate(conversation["messages"]) if message["role"] == "assistant")


@cache
def shipped(name: str) -> str:
    """A text of ``instructions/``, white space at both ends dropped."""
    return files("ringfence.select").joinpath("instructions", f"{name}.txt").read_text(encoding="utf-8").strip()
