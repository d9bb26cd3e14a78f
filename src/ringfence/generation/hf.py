"""A model in this process: batched sampling whose result does not depend on the batching.

A token is drawn as ``argmax(logits / T + Gumbel noise)``, which is exact sampling at temperature T. The noise of a row
comes from a generator of its own, seeded by (seed, row id, sample). So a row's answer is the same in a batch of 1 or
100, before or after a resume, up to the rounding of the forward pass, and the global random state is never touched.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from peft import PeftModel
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TopPLogitsWarper,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from ringfence.data.encode import prompt_ids
from ringfence.generation.base import Answer, OnAnswers, Request, Sampling, row_seed
from ringfence.models.inference import inference, left_padded
from ringfence.models.lean_adapters import lean_on_gpu
from ringfence.models.load import Loaded
from ringfence.models.sharded import is_sharded, run_inside

_SEED_BITS = 63  # what a generator takes


@dataclass(frozen=True)
class HfGenerator:
    """A Hugging Face model in this process, with or without adapters."""

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    name: str = "the model"
    resumes: ClassVar[bool] = False

    @classmethod
    def of(cls, loaded: Loaded) -> "HfGenerator":
        """One for a model that was loaded."""
        return cls(loaded.model, loaded.tokenizer, loaded.source)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_answers: OnAnswers | None = None
    ) -> list[Answer]:
        """See :class:`Generator`. The model's training mode is put back afterwards."""
        model, tokenizer = self.model, self.tokenizer
        stops = set(_stop_ids(model, tokenizer))
        prompts = [prompt_ids(tokenizer, request.messages) for request in requests]
        # Longest first: little padding, and a batch that does not fit in memory fails at once.
        order = sorted(range(len(requests)), key=lambda index: -len(prompts[index]))
        answers: dict[int, Answer] = {}
        with inference(model), nullcontext() if is_sharded(model) else lean_on_gpu(model):
            for start in range(0, len(order), sampling.batch_size):
                batch = order[start : start + sampling.batch_size]
                asked = [requests[i] for i in batch]
                read = [prompts[i] for i in batch]
                new = run_inside(model, partial(_generate_batch, model, tokenizer, read, asked, sampling))
                for index, ids in zip(batch, new, strict=True):
                    # The padding behind a shorter answer may be a stop token, too, but an answer that goes on has none.
                    text = tokenizer.decode(ids, skip_special_tokens=True).strip()
                    answers[index] = Answer(text, not stops.isdisjoint(ids))
                if on_answers is not None:
                    on_answers(len(batch))
        return [answers[index] for index in range(len(requests))]


def _generate_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    requests: Sequence[Request],
    sampling: Sampling,
) -> list[list[int]]:
    inputs = left_padded(prompts, tokenizer.pad_token_id, model.device)
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=sampling.max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=_stop_ids(model, tokenizer),
        use_cache=True,
    )
    noise = [_GumbelNoise(requests, sampling, model.device)] if sampling.temperature > 0 else []
    inner = _inside_adapter(model)
    with _without_own_settings(inner):
        cache = _shared_prefill(inner, prompts, tokenizer.pad_token_id)
        output = inner.generate(
            **inputs,
            **cache,
            generation_config=config,
            logits_processor=LogitsProcessorList(noise),
            synced_gpus=is_sharded(inner),  # a rank that is done goes on for its part of the weights
        )
    return output[:, inputs["input_ids"].shape[1] :].tolist()


def _shared_prefill(
    model: PreTrainedModel | PeftModel, prompts: Sequence[Sequence[int]], pad: int
) -> dict[str, DynamicCache]:
    """``past_key_values`` of all rows, each distinct prompt read once, up to its last token.

    Empty if no two prompts are the same, if what the model keeps of them is not keys and values alone, and where its
    weights are split over ranks.
    """
    rows = [tuple(prompt) for prompt in prompts]
    distinct = {row: index for index, row in enumerate(dict.fromkeys(rows))}
    if len(distinct) == len(rows) or min(map(len, rows)) < 2 or isinstance(model, PeftModel) or is_sharded(model):
        return {}
    cache = DynamicCache(config=model.config)
    if not all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        return {}
    inputs = left_padded(list(distinct), pad, model.device)
    mask = inputs["attention_mask"]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)  # of the real tokens, as `generate` counts them
    last = slice(None, -1)  # `generate` reads the last token itself
    model.get_decoder()(
        input_ids=inputs["input_ids"][:, last],
        attention_mask=mask[:, last],
        position_ids=positions[:, last],
        past_key_values=cache,
        use_cache=True,
    )
    cache.batch_select_indices(torch.tensor([distinct[row] for row in rows], device=model.device))
    return {"past_key_values": cache}


def _inside_adapter(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The model that a PEFT wrapper holds, its adapter layers in place; it alone decides its ``generation_config``.

    Prompt learning, which adds tokens of its own, needs the wrapper.
    """
    if isinstance(model, PeftModel) and not model.active_peft_config.is_prompt_learning:
        return model.get_base_model()
    return model


@contextmanager
def _without_own_settings(model: PreTrainedModel) -> Iterator[None]:
    """A blank ``generation_config`` inside: ``generate`` fills whatever a given config leaves open from the model's."""
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    own = model.generation_config.eos_token_id if model.generation_config is not None else None
    ids = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    return sorted(token for token in ids if token is not None)


class _GumbelNoise(LogitsProcessor):
    def __init__(self, requests: Sequence[Request], sampling: Sampling, device: torch.device) -> None:
        self.temperature = sampling.temperature
        self.cuts: list[LogitsProcessor] = [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
        self.cuts += [MinPLogitsWarper(sampling.min_p)] if sampling.min_p > 0 else []
        self.generators = [
            torch.Generator(device).manual_seed(row_seed(_SEED_BITS, sampling.seed, request.id, request.sample))
            for request in requests
        ]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """``scores`` (rows, vocabulary) / T, cut, + standard Gumbel noise = scores / T - log(Exp(1) draws)."""
        noise = torch.empty_like(scores, dtype=torch.float32)  # (rows, vocabulary)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        heated = scores.float() / self.temperature
        for cut in self.cuts:  # after the temperature, as transformers has it
            heated = cut(input_ids, heated)
        return heated - noise.log()  # type: ignore[return-value]
