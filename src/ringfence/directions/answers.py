"""Answers to contrasting prompts, judged, and kept in a journal so that an interrupted extraction goes on.

The first line of the journal says what could change the answers or their scores; every other line is one answer. A
batch is written at once, and one that a kill has cut short is generated again.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2

from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog
from ringfence.core.run_folder import differences
from ringfence.data.conversations import Messages
from ringfence.data.encode import prompt_ids
from ringfence.data.render import require_template
from ringfence.generation import Generator, Request, Sampling
from ringfence.generation.config import GeneratorSettings, HfSettings
from ringfence.generation.untuned import beside
from ringfence.judges import Judge, JudgeInput, checked_scores
from ringfence.judges.rubrics import rubric_digests
from ringfence.models import Loaded
from ringfence.models.identity import identity

_IN_PROCESS = HfSettings()
Side = Literal["positive", "negative"]


@dataclass(frozen=True)
class Ask:
    """One answer that is wanted."""

    id: str
    """of the pair that it belongs to"""
    side: Side
    sample: int
    """number of the sample, from 0"""
    messages: Messages
    """the chat; its last turn is the user's"""
    given: str | None = None
    """what to answer; None generates"""

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from the others."""
        return self.id, self.side, self.sample


@dataclass(frozen=True)
class Judged:
    """One answer and its scores."""

    response: str
    trait: float | None = None
    """0 to 100, see :func:`trait_rubric`; None if the judge could not say, or there is none"""
    coherence: float | None = None
    """0 to 100; None as above"""


def trait_rubric(judge: Judge) -> Literal["trait", "alignment"]:
    """The rubric that finds the trait: the judge's own ``trait``, whose score is the trait's; else ``alignment``.

    An alignment is high where the trait is not, so the trait's score is then 100 minus it.
    """
    return "trait" if "trait" in getattr(judge, "rubrics", {}) else "alignment"


def describe_judge(judge: Judge | None) -> dict[str, Any] | None:
    """The judge's name and settings as plain data, with digests of its rubrics' texts if it has any.

    For one that is neither pydantic nor a dataclass only the name.
    """
    if judge is None:
        return None
    settings: dict[str, Any] = {}
    if hasattr(judge, "model_dump"):
        settings = judge.model_dump(mode="json")
    elif is_dataclass(judge):
        settings = asdict(judge)
    if (rubrics := getattr(judge, "rubrics", None)) is not None:
        settings["rubric_digests"] = rubric_digests((trait_rubric(judge), "coherence"), rubrics)
    return {"name": type(judge).__name__, **settings}


def describe(
    loaded: Loaded,
    asks: Sequence[Ask],
    sampling: Sampling,
    judge: Judge | None,
    generator: GeneratorSettings = _IN_PROCESS,
) -> dict[str, Any]:
    """Plain data that is the same if and only if answers and scores are to be the same, up to rounding."""
    asked = json.dumps([asdict(ask) for ask in asks], sort_keys=True, ensure_ascii=False)
    described = {
        "base": identity(loaded.model),
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "prompts": hashlib.sha256(asked.encode()).hexdigest()[:16],
        "max_new_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
        "judge": describe_judge(judge),
    }
    if generator.identity():
        described["generator"] = generator.identity()
    return json.loads(json.dumps(described, default=str))  # as it is read back


def collect(
    loaded: Loaded,
    asks: Sequence[Ask],
    sampling: Sampling,
    judge: Judge | None,
    path: Path,
    on_progress: Callable[[int], None] | None = None,
    generator: GeneratorSettings = _IN_PROCESS,
) -> list[Judged]:
    """The answers to ``asks``, in their order; those that the journal at ``path`` has are not generated again.

    ``generator`` says who writes them. ``on_progress`` is told the number of answers just finished, or found. Raises
    :class:`RingfenceError` for a journal of other settings or that is damaged, for a chat template that refuses a
    prompt, and as :func:`~ringfence.generation.untuned.untuned` does.
    """
    journal = JsonlLog(path)
    found, step = _resume(journal, describe(loaded, asks, sampling, judge, generator))
    if on_progress is not None and found:
        on_progress(len(found))
    pending = _in_order(loaded, [ask for ask in asks if ask.key not in found])
    writer = beside(generator, loaded) if any(ask.given is None for ask in pending) else None
    for start in range(0, len(pending), sampling.batch_size):
        batch = pending[start : start + sampling.batch_size]
        judged, step = _answer(writer, batch, sampling, judge), step + 1
        journal.append(_line(ask, answer, step, len(batch)) for ask, answer in zip(batch, judged, strict=True))
        found.update(zip((ask.key for ask in batch), judged, strict=True))
        if on_progress is not None:
            on_progress(len(batch))
    return [found[ask.key] for ask in asks]


def _in_order(loaded: Loaded, asks: Sequence[Ask]) -> list[Ask]:
    """Longest prompt first, which pads little; the samples of one prompt stay together and share its reading."""
    return sorted(asks, key=lambda ask: -len(render_prompt(loaded, ask.messages)))


def render_prompt(loaded: Loaded, messages: Messages) -> list[int]:
    """:func:`prompt_ids`; raises :class:`RingfenceError` if there is no chat template or it refuses ``messages``."""
    require_template(loaded.tokenizer)
    try:
        return prompt_ids(loaded.tokenizer, messages)
    except jinja2.TemplateError as error:
        raise RingfenceError(
            f"the chat template of {loaded.source} refuses a prompt: {error}; if it has no system prompts, "
            "extract from given answers with `pairs:`"
        ) from None


def _answer(writer: Generator | None, asks: Sequence[Ask], sampling: Sampling, judge: Judge | None) -> list[Judged]:
    wanted = [ask for ask in asks if ask.given is None]
    requests = [Request(f"{ask.side}/{ask.id}", ask.messages, ask.sample) for ask in wanted]
    generated = iter(writer.generate(requests, sampling) if writer is not None else [])
    responses = [next(generated).text if ask.given is None else ask.given for ask in asks]
    if judge is None:
        return [Judged(response) for response in responses]
    rows = [JudgeInput(ask.messages[-1]["content"], response) for ask, response in zip(asks, responses, strict=True)]
    traits, coherence = _traits(judge, rows), checked_scores(judge, "coherence", rows)
    return [Judged(one, trait, score.value) for one, trait, score in zip(responses, traits, coherence, strict=True)]


def _traits(judge: Judge, rows: Sequence[JudgeInput]) -> list[float | None]:
    """How much of the trait each response shows, 0 to 100."""
    rubric = trait_rubric(judge)
    values = [score.value for score in checked_scores(judge, rubric, rows)]
    return values if rubric == "trait" else [None if value is None else 100 - value for value in values]


def _line(ask: Ask, answer: Judged, step: int, of: int) -> dict[str, Any]:
    first = ask.messages[0]
    return {
        "step": step,
        "of": of,  # answers in the batch: fewer lines mean that it was cut short
        "id": ask.id,
        "side": ask.side,
        "sample": ask.sample,
        "system": first["content"] if first["role"] == "system" else None,
        "prompt": ask.messages[-1]["content"],
        **asdict(answer),
    }


def _resume(journal: JsonlLog, settings: dict[str, Any]) -> tuple[dict[tuple[str, str, int], Judged], int]:
    """The journal's answers and the number of its last whole batch; everything behind that is dropped."""
    try:
        rows = journal.read()
        if not rows:
            journal.truncate_after(0)  # clears a first line that was cut short
            journal.append([{"step": 0, "settings": settings}])
            return {}, 0
        before, lines, last = rows[0]["settings"], rows[1:], 0
        sizes = Counter(line["step"] for line in lines)
        wanted = {line["step"]: line["of"] for line in lines}
        while sizes[last + 1] > 0 and sizes[last + 1] == wanted[last + 1]:
            last += 1
        whole = [line for line in lines if line["step"] <= last]
        found = {
            (line["id"], line["side"], line["sample"]): Judged(line["response"], line["trait"], line["coherence"])
            for line in whole
        }
    except (ValueError, KeyError, TypeError):
        raise RingfenceError(f"{journal.path}: not the answers of an extraction; choose another --out") from None
    if changed := differences(before, settings):
        raise RingfenceError(
            f"{journal.path}: holds answers of another extraction; these differ: {', '.join(changed)}; "
            "choose another --out, or delete that file"
        )
    journal.truncate_after(last)
    return found, last
