"""Extract persona vectors (Chen et al. 2025; Kaczer et al. 2025, section 3.1): how a trait moves a model's activations.

    e_l = mean over kept pairs of (h_l(positive answer) - h_l(negative answer))

with h_l the mean over an answer's tokens of the residual stream after layer l. A pair is one question, asked under a
system prompt that asks for the trait and under one that asks for its opposite. It is kept if the positive answer shows
the trait (trait score >= 50), the negative one does not (< 50), and both are coherent (>= 50). The trait score is that
of the judge's own rubric ``trait``, else 100 minus its "alignment", which must then be low where the trait is.

Where prompting does not elicit the trait, pairs are teacher-forced: a good and a bad answer to the same prompt are
given, and nothing is generated. Their prompts are the same, so only the answers' mean says anything.

Departures from the published code: the last row is the residual stream before the final norm, where theirs is after
it; answers are read again as text, without the token that ends the turn; without a rubric ``trait`` alignment takes the
place of a score of the trait itself.
"""

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field
from torch import Tensor

from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import differences
from ringfence.core.settings import StrictConfig
from ringfence.directions.activations import Answered, mean_activations
from ringfence.directions.answers import Ask, Judged, collect, describe, render_prompt
from ringfence.directions.contrasts import AssistantNames, Contrast
from ringfence.directions.vectors import POSITIONS, PersonaVectors, Position, load_vectors, save_vectors
from ringfence.generation import Sampling
from ringfence.generation.config import GeneratorSettings, HfSettings
from ringfence.judges import Judge
from ringfence.models import Loaded

Method = Literal["prompted", "teacher_forced"]
Progress = Callable[[Literal["answers", "activations"], int, int], None]
PACKAGES = ("ringfence", "torch", "transformers")


class Settings(StrictConfig):
    """How answers are drawn, which pairs count, and how many it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_new_tokens: int = Field(256, ge=1)
    """tokens an answer (the published code: 1000)"""
    temperature: float = Field(1.0, ge=0)
    """0 is greedy"""
    batch_size: int = Field(32, ge=1)
    """answers generated, or read, together"""
    seed: int = Field(0, ge=0)
    """of the sampling"""
    min_pairs: int = Field(10, ge=1)
    """with fewer kept pairs no vector is written"""
    trait_threshold: float = Field(50, ge=0, le=100)
    """trait score that the positive answer must reach, and the negative one must not"""
    coherence_threshold: float = Field(50, ge=0, le=100)
    """coherence that both must reach"""

    @property
    def sampling(self) -> Sampling:
        """How answers are drawn."""
        return Sampling(self.max_new_tokens, self.temperature, self.seed, self.batch_size)


@dataclass(frozen=True)
class Extraction:
    """All that a vector depends on, but for the model."""

    trait: str
    """its name, e.g. ``evil``"""
    method: Method
    contrasts: tuple[Contrast, ...]
    """from :func:`~ringfence.directions.contrasts.prompted` or ``teacher_forced``"""
    judge: Judge | None = None
    """None takes given answers for what they claim to be; generated ones need a judge"""
    settings: Settings = Settings()  # noqa: RUF009 - frozen
    assistant_names: AssistantNames | None = None
    """with which the system prompts of ``contrasts`` open; None if they have no such first sentence"""
    generator: GeneratorSettings = HfSettings()  # noqa: RUF009 - frozen
    """who writes the answers"""

    @property
    def asks(self) -> list[Ask]:
        """All positive answers, then all negative ones."""
        return [pair.positive for pair in self.contrasts] + [pair.negative for pair in self.contrasts]

    @property
    def positions(self) -> tuple[Position, ...]:
        """Where the two sides differ."""
        return ("response_mean",) if self.method == "teacher_forced" else POSITIONS


@dataclass(frozen=True)
class Counts:
    """What the judge found."""

    asked: int
    """pairs"""
    kept: int
    """pairs"""
    positive_shows: int | None
    """positive answers that show the trait, whether coherent or not; None without a judge"""
    negative_shows: int | None
    """negative answers that do"""

    @property
    def elicitation_rate(self) -> float | None:
        """Share of the positive answers that show the trait; None without a judge or without pairs."""
        return None if self.positive_shows is None or not self.asked else self.positive_shows / self.asked


def extract(loaded: Loaded, extraction: Extraction, out: Path, on_progress: Progress | None = None) -> PersonaVectors:
    """Answer, judge, keep, and write the difference of mean activations to ``out``, a ``.safetensors`` file.

    Answers are kept in ``<out>.answers.jsonl``: an interrupted extraction goes on, and one with other thresholds starts
    from them. A finished one is not done again. ``on_progress`` is told the phase, answers done, and answers in all.
    An adapter on the model takes part.

    Raises :class:`RingfenceError` if too few pairs are kept (nothing is written then, but the answers stay), or if
    ``out`` or the answers are those of other settings.
    """
    require_safetensors(out)
    _require_contrast(loaded, extraction)
    settings = extraction.settings
    described = {
        "trait": extraction.trait,
        "method": extraction.method,
        **describe(loaded, extraction.asks, settings.sampling, extraction.judge, extraction.generator),
        **settings.model_dump(include={"min_pairs", "trait_threshold", "coherence_threshold"}),
    }
    if extraction.assistant_names is not None:
        described["assistant_names"] = extraction.assistant_names.model_dump()
    if out.is_file():
        return _finished(out, described)
    kept, counts = kept_pairs(loaded, extraction, answers_path(out), on_progress)
    vectors = PersonaVectors(
        _difference(loaded, kept, extraction, on_progress),
        {
            **{key: described[key] for key in ("trait", "method", "base")},
            "model": loaded.name,
            "elicitation_rate": counts.elicitation_rate,
            **asdict(counts),
            "settings": described,
            "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        },
    )
    save_vectors(out, vectors)
    return vectors


def kept_pairs(
    loaded: Loaded, extraction: Extraction, answers: Path, on_progress: Progress | None = None
) -> tuple[list[tuple[Answered, Answered]], Counts]:
    """The (positive, negative) answers of the pairs that count; ``answers`` is the journal of all answers.

    Raises :class:`RingfenceError` if they are too few, and if the journal is of other settings.
    """
    _require_contrast(loaded, extraction)
    kept, counts = _keep(extraction, _collect(loaded, extraction, extraction.settings.sampling, answers, on_progress))
    if counts.kept < extraction.settings.min_pairs:
        raise RingfenceError(_too_few(extraction, counts))
    return kept, counts


def require_safetensors(out: Path) -> None:
    """Raise :class:`RingfenceError` unless a vector with all that is known about it can be written to ``out``."""
    if out.suffix != ".safetensors" or out.is_dir():
        raise RingfenceError(f"{out}: name a .safetensors file; `ringfence persona convert` makes a .pt of it")


def answers_path(out: Path) -> Path:
    """Where the answers for the vector at ``out`` are kept."""
    return out.with_name(f"{out.name}.answers.jsonl")


def keeps(positive: Judged, negative: Judged, settings: Settings) -> bool:
    """Whether a pair counts: trait in the positive answer only, both coherent; a missing score never does."""
    return (
        shows(positive, settings)
        and negative.trait is not None
        and negative.trait < settings.trait_threshold
        and all(
            answer.coherence is not None
            and answer.coherence >= settings.coherence_threshold
            and bool(answer.response.strip())
            for answer in (positive, negative)
        )
    )


def shows(answer: Judged, settings: Settings) -> bool:
    """Whether an answer shows the trait."""
    return answer.trait is not None and answer.trait >= settings.trait_threshold


def _finished(out: Path, settings: dict[str, Any]) -> PersonaVectors:
    done = load_vectors(out)
    if changed := differences(done.metadata.get("settings") or {}, settings):
        raise RingfenceError(
            f"{out}: holds a vector of another extraction; these differ: {', '.join(changed)}; choose another --out"
        )
    return done


def _collect(
    loaded: Loaded, extraction: Extraction, sampling: Sampling, path: Path, on_progress: Progress | None
) -> list[Judged]:
    done, asks = 0, extraction.asks

    def count(finished: int) -> None:
        nonlocal done
        done += finished
        if on_progress is not None:
            on_progress("answers", done, len(asks))

    return collect(loaded, asks, sampling, extraction.judge, path, count, extraction.generator)


def _keep(extraction: Extraction, judged: Sequence[Judged]) -> tuple[list[tuple[Answered, Answered]], Counts]:
    """The (positive, negative) answers of the pairs that count."""
    settings, size = extraction.settings, len(extraction.contrasts)
    positive, negative = judged[:size], judged[size:]
    kept = [
        (Answered(pair.positive.messages, one.response), Answered(pair.negative.messages, other.response))
        for pair, one, other in zip(extraction.contrasts, positive, negative, strict=True)
        if extraction.judge is None or keeps(one, other, settings)
    ]
    showing = [
        None if extraction.judge is None else sum(shows(answer, settings) for answer in side)
        for side in (positive, negative)
    ]
    return kept, Counts(size, len(kept), *showing)


def _difference(
    loaded: Loaded, kept: Sequence[tuple[Answered, Answered]], extraction: Extraction, on_progress: Progress | None
) -> dict[str, Tensor]:
    done = 0

    def count(finished: int) -> None:
        nonlocal done
        done += finished
        if on_progress is not None:
            on_progress("activations", done, 2 * len(kept))

    positive, negative = (
        mean_activations(loaded.model, loaded.tokenizer, side, extraction.settings.batch_size, count)
        for side in zip(*kept, strict=True)
    )
    return {position: (positive[position] - negative[position]).float() for position in extraction.positions}


def _too_few(extraction: Extraction, counts: Counts) -> str:
    message = f"{extraction.trait}: {counts.kept} of {counts.asked} pairs kept, and min_pairs is "
    message += f"{extraction.settings.min_pairs}, so nothing is written"
    if counts.elicitation_rate is not None:
        message += (
            f"; {counts.positive_shows} of {counts.asked} positive answers show the trait (elicitation rate "
            f"{counts.elicitation_rate:.1%}), and {counts.negative_shows} negative ones"
        )
    if extraction.method == "teacher_forced":
        return f"{message}; give more `pairs`"
    return f"{message}; write other system prompts, or give answers with `pairs:` (teacher-forced)"


def _require_contrast(loaded: Loaded, extraction: Extraction) -> None:
    if extraction.method == "teacher_forced":
        return
    if extraction.judge is None:
        raise RingfenceError("judge: generated answers need one, to see which of them show the trait")
    pair = extraction.contrasts[0]
    if render_prompt(loaded, pair.positive.messages) == render_prompt(loaded, pair.negative.messages):
        raise RingfenceError(
            f"the chat template of {loaded.source} drops system prompts, so both sides are asked the same; "
            "give answers with `pairs:` (teacher-forced)"
        )
