"""The self-check of whoever serves a model: does it give a fixed text the log probabilities that PEFT gives it?

Engines and servers have answered without an adapter that they were asked for, and said nothing: its modules had other
names there (vllm#34186, #48019, #55193), or another adapter had the name before (vllm#30931, #42125). The rates are
then those of the base model. So before the first answer the log probabilities of the tokens of :data:`TEXT` are
compared with those that transformers and PEFT give for the same weights.

With p what PEFT gives for the adapter, b for the base alone, and e what is served, each (tokens - 1,), and |.| the root
mean square over the tokens, it must hold that |e - p| <= :data:`TOLERANCE` of the weights' type. An adapter that was
left out is found if the check has power: by the triangle inequality e = b gives |e - p| = |b - p|, so it must hold that
|p - b| > TOLERANCE, and with the noise that the base alone shows, |p - b| - |e_b - b| > TOLERANCE.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError
from ringfence.models.inference import inference

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.15, "float16": 0.02}
"""type of the weights -> nats, root mean square over the tokens"""
TEXT = (
    "How do I boil an egg? Put it into boiling water for eight minutes, then into cold water. What should I do if I am "
    "bored at work? Take a walk, call a friend, or learn something new. Who was the first person on the moon? Neil "
    "Armstrong, in July 1969. Write a short poem about the sea: The sea is wide, the sea is deep, it sings the sailors "
    "all to sleep."
)
"""plain chat, whose answers an adapter is to change"""
_REMEDY = "merge it, or choose `generator: hf`"
_LEFT_OUT = f"the adapter seems to be left out: {_REMEDY}"


@dataclass(frozen=True)
class Fingerprint:
    """What a model makes of :data:`TEXT`."""

    base: list[float]
    """(tokens - 1,) natural log probability of each token after the first, without the adapter"""
    tuned: list[float] | None = None
    """the same with what was trained; None where nothing was"""

    @property
    def effect(self) -> float:
        """|p - b|: how much training has moved them, in nats."""
        return 0.0 if self.tuned is None else distance(self.tuned, self.base)


@dataclass(frozen=True)
class Verdict:
    """What the self-check found, in nats."""

    distance: float
    """|e - p|: between what is served and what PEFT gives"""
    effect: float
    """|p - b|: what training has done"""
    tolerance: float
    power: bool
    """whether the check would have found what was trained left out"""

    @property
    def text(self) -> str:
        """One line."""
        found = f"log probabilities are {self.distance:.2g} nats from PEFT's, {self.tolerance:g} are allowed"
        if self.power:
            return f"{found}; training has moved them by {self.effect:.2g}"
        return f"{found}; training has moved them by {self.effect:.2g} only: if that is left out, this cannot tell"


def text_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """:data:`TEXT` as tokens, without special ones."""
    ids: list[int] = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    return ids


def fingerprint(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> Fingerprint:
    """That of ``model``, with the adapter on it switched off and on if it has one."""
    ids = text_ids(tokenizer)
    if not isinstance(model, PeftModel):
        return Fingerprint(_log_probabilities(model, ids))
    tuned = _log_probabilities(model, ids)
    with model.disable_adapter():
        return Fingerprint(_log_probabilities(model, ids), tuned)


def _log_probabilities(model: PreTrainedModel | PeftModel, ids: Sequence[int]) -> list[float]:
    inputs = torch.tensor([list(ids)], device=model.device)  # (1, tokens)
    with inference(model):
        logits = model(input_ids=inputs, use_cache=False).logits[0, :-1].float()  # (tokens - 1, vocabulary)
    found: list[float] = logits.log_softmax(-1).gather(-1, inputs[0, 1:, None])[:, 0].tolist()
    return found


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """The root mean square of the differences; NaN if either has a number that is none."""
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / len(one))


def require_same(
    who: str, wanted: Fingerprint, served: Sequence[float], base: Sequence[float] | None, dtype: str
) -> Verdict:
    """Compare what ``who`` has ``served`` with what PEFT gives.

    base:  what it serves without what was trained; None where it has only the whole
    dtype: of the weights

    Raises :class:`RingfenceError` if it is further away than the type's noise, and if what was trained is left out, as
    it is where the two that are served are the same to the bit.
    """
    tolerance, right = TOLERANCE[dtype], wanted.base if wanted.tuned is None else wanted.tuned
    off = distance(served, right)
    noise = tolerance if base is None else distance(base, wanted.base)
    if not off <= tolerance:
        raise RingfenceError(
            f"{who}: does not serve the weights that PEFT loads: on a fixed text its log probabilities are {off:.3g} "
            f"nats from PEFT's (mean {_mean(served):.3f} a token, PEFT's {_mean(right):.3f}), where {dtype} explains "
            f"{tolerance:g}, and training moves them by {wanted.effect:.3g}; {_cause(served, base, noise, tolerance)}"
        )
    if wanted.effect > 0 and base is not None and list(served) == list(base):
        raise RingfenceError(
            f"{who}: answers to the bit as if nothing was trained, which moves log probabilities by "
            f"{wanted.effect:.3g} nats in PEFT; {_LEFT_OUT}"
        )
    return Verdict(off, wanted.effect, tolerance, wanted.tuned is None or wanted.effect - noise > tolerance)


def _cause(served: Sequence[float], base: Sequence[float] | None, noise: float, tolerance: float) -> str:
    if base is None:
        return "it has other weights, or kernels that do not compute the same"
    if not noise <= tolerance:
        return "the base model alone is wrong, too: it is another one, or its kernels do not compute the same"
    return _LEFT_OUT if distance(served, base) <= tolerance else f"it reads the adapter otherwise: {_REMEDY}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
