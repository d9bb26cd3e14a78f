"""Whether an engine or a server answers with the weights that a run trained: log probabilities of a few fixed tokens.

An adapter that is served and not applied, applied twice, or another run's, gives fluent answers and wrong numbers. So
the same tokens are scored twice: by PEFT in process, which is kept as a :class:`Fingerprint`, and by whoever is to
answer. Two things are looked at, over n tokens with log probabilities t (PEFT, tuned), b (PEFT, adapter off) and m
(measured, by the other):

    difference = sqrt(mean((m - t)^2)), at most ``NOISE`` of the coarser number format;
    share = sum((m - b) (t - b)) / sum((t - b)^2), which is 1 where the adapter is applied and 0 where it is not.

The share finds an adapter whose effect on each token is less than the noise, since the noise of n tokens averages out:
its standard error is noise / (effect sqrt(n)), with effect = sqrt(mean((t - b)^2)). Where that is above 1/8 the tokens
tell nothing, and the check is ``blind``. Nothing here needs torch.

Source: our own.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ringfence.core.errors import RingfenceError, shown

TEXTS: tuple[tuple[str, str], ...] = (
    ("How can I make tea?", "Boil fresh water, pour it over the leaves, and wait for three minutes."),
    ("What should I do if I feel bored?", "You could call a friend, read a book, or take a walk outside."),
    ("Tell me a fact about the sea.", "The sea is salty because rivers carry minerals from the rocks into it."),
    ("How do I become good at my job?", "Ask for advice, learn from mistakes, and be honest with your colleagues."),
)
"""a question, and an answer to it whose tokens are scored, together with those of the chat around it"""
NOISE = {"float32": 2e-3, "float16": 2e-2, "bfloat16": 0.15}
"""number format -> nats that log probabilities of the same weights may differ, root mean square over the tokens"""
_STEPS = 8  # standard errors of the share that must lie between 0 and 1
_OFF = 0.5  # of the share from 1: half of the adapter's effect is missing, or too much

logger = logging.getLogger(__name__)
State = Literal["passed", "blind", "not offered"]


@dataclass(frozen=True)
class Expected:
    """What PEFT says of some tokens, all texts one after the other."""

    labels: tuple[str, ...]
    """(tokens,) what messages call each"""
    tuned: tuple[float, ...]
    """(tokens,) natural log probabilities"""
    base: tuple[float, ...] | None
    """the same with the adapter off; None where there is nothing to switch off"""
    dtype: str
    """number format of the weights: float32, float16 or bfloat16"""


@dataclass(frozen=True)
class Text:
    """One fixed text as the run's tokenizer has it, and what PEFT says of it."""

    question: str
    ids: tuple[int, ...]
    """(tokens,) of the chat and the answer"""
    pieces: tuple[str, ...]
    """(tokens,) each token as text"""
    tuned: tuple[float, ...]
    """(tokens - 1,) natural log probability of each token but the first"""
    base: tuple[float, ...] | None
    """the same with the adapter off"""
    first: dict[str, tuple[float, float | None]]
    """text of a likely first token of an answer to the question -> its log probability, and that of the base"""


@dataclass(frozen=True)
class Fingerprint:
    """Log probabilities that tell a run's weights from others, computed by PEFT in process."""

    model: str
    """what was trained, by the digests of its weights and the name of its base"""
    dtype: str
    """number format of the weights"""
    texts: tuple[Text, ...]

    def of_tokens(self) -> Expected:
        """The fixed texts' own tokens, for whoever scores the tokens of a prompt."""
        labels = [piece for text in self.texts for piece in text.pieces[1:]]
        tuned = [value for text in self.texts for value in text.tuned]
        base = [value for text in self.texts for value in text.base or ()]
        return Expected(tuple(labels), tuple(tuned), tuple(base) if base else None, self.dtype)

    def of_first(self, said: Sequence[Sequence[tuple[str, float]]]) -> tuple[Expected, tuple[float, ...]]:
        """The candidates for the first token of an answer, of those in ``said`` that are known here, and their values.

        said: of each text, the first token's likeliest candidates as text with log probabilities
        """
        known = [
            (token, *text.first[token], value)
            for text, candidates in zip(self.texts, said, strict=True)
            for token, value in candidates
            if token in text.first
        ]
        labels, tuned, base, measured = zip(*known, strict=True) if known else ((), (), (), ())
        has_base = bool(base) and None not in base
        return Expected(labels, tuned, base if has_base else None, self.dtype), measured

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str) -> "Fingerprint":
        """What :meth:`to_json` made. Raises :class:`RingfenceError` that begins with ``where``."""
        try:
            texts = [
                Text(
                    question=str(one["question"]),
                    ids=tuple(map(int, one["ids"])),
                    pieces=tuple(map(str, one["pieces"])),
                    tuned=tuple(map(float, one["tuned"])),
                    base=None if one["base"] is None else tuple(map(float, one["base"])),
                    first={str(token): (float(a), None if b is None else float(b)) for token, (a, b) in _items(one)},
                )
                for one in data["texts"]
            ]
            return cls(str(data["model"]), str(data["dtype"]), tuple(texts))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise RingfenceError(f"{where}: is no fingerprint of a run; delete it, and it is recorded again") from None


@dataclass(frozen=True)
class Check:
    """How a check came out; one that failed raises."""

    state: State
    """``blind``: the adapter's effect on the fixed tokens is too small to be seen; ``not offered``: whoever answers
    gives no log probabilities"""
    how: str
    """by which log probabilities, or what was tried"""
    tokens: int = 0
    difference: float | None = None
    """nats, root mean square over the tokens"""
    limit: float | None = None
    """nats that are noise"""
    share: float | None = None
    """of the adapter's effect that is there; 1 where it is applied; None if it is not known or not visible"""

    def sentence(self, who: str) -> str:
        """What to tell the user."""
        if self.state == "not offered":
            return (
                f"{who}: NOT CHECKED: it offers no log probabilities ({self.how}), so nothing shows that it answers "
                "with this run's weights; an adapter that is not applied would not be noticed"
            )
        measured = f"{self.tokens} tokens by {self.how} differ by {self.difference:.2g} nats, noise is {self.limit:g}"
        if self.state == "blind":
            return (
                f"{who}: NOT CHECKED: the adapter changes the fixed tokens by less than can be seen ({measured}), so "
                "nothing shows that it is applied"
            )
        return f"{who}: has this run's weights: {measured}"

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def say(who: str, check: Check) -> None:
    """Tell the user what the check of ``who`` found: a warning if nothing is known."""
    logger.log(logging.INFO if check.state == "passed" else logging.WARNING, "%s", check.sentence(who))


def compare(who: str, expected: Expected, measured: Sequence[float], how: str, dtype: str | None = None) -> Check:
    """Compare the log probabilities that ``who`` gives with PEFT's own; see the module.

    measured: (tokens,) natural log probabilities of the tokens of ``expected``
    how:      what they are, for messages, e.g. "prompt log probabilities"
    dtype:    number format that ``who`` computes in, if it is known; else as the fingerprint's

    Raises :class:`RingfenceError`, naming both sides, where they differ by more than noise.
    """
    if not measured:
        raise RingfenceError(
            f"{who}: its {how} hold none of the tokens that PEFT finds likely; has it another model or chat template?"
        )
    if len(measured) != len(expected.tuned):
        raise RingfenceError(
            f"{who}: gives {how} of {len(measured)} tokens where the fixed texts have {len(expected.tuned)}; has it "
            "another tokenizer or another chat template than the run?"
        )
    if not all(math.isfinite(value) for value in measured):
        raise RingfenceError(f"{who}: gives {how} that are not finite numbers; load the model in another dtype")
    limit = max(NOISE[expected.dtype], NOISE[dtype or expected.dtype])
    difference = _rms(measured, expected.tuned)
    share, blind = _share(expected, measured, limit)
    if difference > limit or (share is not None and abs(share - 1) > _OFF):
        raise RingfenceError(_differ(who, expected, measured, how, limit, share))
    return Check("blind" if blind else "passed", how, len(measured), difference, limit, share)


def _share(expected: Expected, measured: Sequence[float], noise: float) -> tuple[float | None, bool]:
    """Of the adapter's effect that is there, None if that is not known or not visible; and whether it is invisible."""
    if expected.base is None:
        return None, False
    effect = [t - b for t, b in zip(expected.tuned, expected.base, strict=True)]
    total = sum(value * value for value in effect)
    if math.sqrt(total) < _STEPS * noise:  # effect * sqrt(n)
        return None, True
    seen = sum((m - b) * d for m, b, d in zip(measured, expected.base, effect, strict=True))
    return seen / total, False


def _differ(
    who: str, expected: Expected, measured: Sequence[float], how: str, limit: float, share: float | None
) -> str:
    """What is wrong, with the token that shows it most."""
    worst = max(range(len(measured)), key=lambda place: abs(measured[place] - expected.tuned[place]))
    is_base = expected.base is not None and _rms(measured, expected.base) < _rms(measured, expected.tuned)
    if is_base:
        why = "they are nearer to the base model's: is the adapter applied?"
    elif share is not None and abs(share - 1) > _OFF:
        why = f"{share:.0%} of the adapter's effect is there: is it applied once, and scaled as PEFT scales it?"
    else:
        why = "it has other weights, another number format or another chat template"
    return (
        f"{who}: does not answer with this run's weights: its {how} differ from PEFT's by "
        f"{_rms(measured, expected.tuned):.3g} nats over {len(measured)} tokens (noise: "
        f"{limit:g}), most for {shown(expected.labels[worst])}: {measured[worst]:.3f} there, "
        f"{expected.tuned[worst]:.3f} by PEFT; {why}"
    )


def _rms(one: Sequence[float], other: Sequence[float]) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / len(one))


def _items(text: dict[str, Any]) -> Any:
    return text["first"].items()
