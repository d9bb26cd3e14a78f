"""A model in vLLM's engine in this process, with or without an adapter, its weights checked before it answers.

The engine batches as it likes. A row has a seed of its own, made from seed, request id and sample, so its answer does
not depend on the others, up to the rounding of the forward pass. It is another answer than that of
:class:`~ringfence.generation.HfGenerator`, which draws its noise otherwise, and from the same distribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import ClassVar

from transformers import PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError
from ringfence.data.encode import prompt_ids
from ringfence.generation.base import Answer, OnAnswers, Request, Sampling, row_seed
from ringfence.generation.config import VllmSettings
from ringfence.generation.self_check import Check, Fingerprint, compare
from ringfence.models.engine import Draw, Engine
from ringfence.models.vllm import Room

_SEED_BITS = 63  # what the engine takes
_HOW = "log probabilities of prompts"


@dataclass(frozen=True)
class VllmGenerator:
    """The model of an engine. What it is to answer with is known by PEFT's ``fingerprint``, and looked at first."""

    engine: Engine
    fingerprint: Fingerprint
    adapter: Path | None = None
    """its folder; None is the engine's model alone"""
    resumes: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"vLLM with {self.adapter or self.engine.source}"

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Our own: the engine sees token ids only."""
        return self.engine.tokenizer

    @cached_property
    def check(self) -> Check:
        """How its log probabilities of the fixed texts compare with PEFT's; made once, before the first answer.

        Raises :class:`RingfenceError` where they differ by more than noise, and where the adapter changes nothing.
        """
        rows = [text.ids for text in self.fingerprint.texts]
        expected, measured = self.fingerprint.of_tokens(), self.engine.log_probabilities(rows, self.adapter)
        check = compare(self.name, expected, [*chain(*measured)], _HOW, self.engine.dtype)
        # What is too small to be seen in the noise is still not nothing: the same numbers to the bit are.
        moves = self.adapter is not None and expected.base != expected.tuned
        if moves and measured == self.engine.log_probabilities(rows):
            raise RingfenceError(
                f"{self.name}: its {_HOW} are to the bit those without the adapter, where PEFT's are not; merge it by "
                "`generator: {kind: vllm, merge: true}`, or choose `generator: hf`"
            )
        return check

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_answers: OnAnswers | None = None
    ) -> list[Answer]:
        """See :class:`Generator`. Raises :class:`RingfenceError`, too, for a prompt that the engine has no room for."""
        assert self.check.state != "not offered"
        prompts = [prompt_ids(self.tokenizer, request.messages) for request in requests]
        for request, ids in zip(requests, prompts, strict=True):
            if len(ids) >= self.engine.max_length:
                raise RingfenceError(
                    f"{request.origin or request.id}: {len(ids)} tokens, and the engine has room for "
                    f"{self.engine.max_length} with the answer; raise generator.max_length, or leave the row out"
                )
        draws = [self._draw(request, sampling) for request in requests]
        made = self.engine.generate(prompts, draws, self.adapter, on_answers)
        return [Answer(self.tokenizer.decode(one.ids, skip_special_tokens=True).strip(), one.ended) for one in made]

    def _draw(self, request: Request, sampling: Sampling) -> Draw:
        greedy = sampling.temperature == 0
        return Draw(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            seed=None if greedy else row_seed(_SEED_BITS, sampling.seed, request.id, request.sample),
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            stop=self.engine.stop,
        )


def room_of(settings: VllmSettings, max_rank: int = 0) -> Room:
    """What an engine may take by a recipe's ``settings``; for adapters of rank up to ``max_rank``."""
    return Room(settings.memory, settings.cache_gib, settings.eager, settings.max_length, max_rank)
