"""Answers of one model to suites of prompts; one row an answer, not judged yet.

Columns: ``suite, prompt_id, sample, system, prompt, response``. ``system`` is the system prompt that was sent. Where
the prompt has none it says what the recipe's ``no_system`` means for it: ``(template default) `` and the text that the
chat template inserts, ``(template default: none)``, ``(empty)`` or ``(none)``.

On disk a suite's answers are one file, named by a hash of model, prompts and sampling settings. While they are drawn
they are in a folder beside it, a file for every few batches: what was killed goes on with the first that is missing.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ringfence.core.files import atomic
from ringfence.core.run_folder import ANSWER_COLUMNS
from ringfence.data.encode import prompt_ids
from ringfence.data.suites.load import Prompt
from ringfence.data.system import NoSystem, apply, default_system, has_system, require_possible
from ringfence.models.generate import Request, Sampling, generate

Suites = Mapping[str, Sequence[Prompt]]
BATCHES_A_FILE = 4  # of answers; what a kill can lose


@dataclass(frozen=True)
class Protocol:
    """How answers are drawn."""

    sampling: Sampling
    samples: int = 1
    """answers a prompt"""
    no_system: NoSystem = "template_default"
    """what a prompt without a system message means"""


@dataclass(frozen=True)
class _Asked:
    suite: str
    prompt: Prompt
    sample: int


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    suites: Suites,
    protocol: Protocol,
    on_batch: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Answer every prompt of every suite; see the module for the columns.

    The random stream of a row is named by suite, prompt and sample, so a suite's rows do not depend on the others.
    Raises :class:`RingfenceError` if the chat template does not let ``protocol.no_system`` be.
    """
    return _answered(model, tokenizer, _asked(suites, protocol), protocol, on_batch)


def answer_into(
    file: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    suites: Suites,
    protocol: Protocol,
    on_batch: Callable[[int], None] | None = None,
) -> None:
    """:func:`answer`, written to ``file``; called again after a kill, it answers only what is not on disk yet."""
    if file.is_file():
        return
    asked, parts = _asked(suites, protocol), file.with_suffix(".parts")
    lengths = [len(prompt_ids(tokenizer, apply(one.prompt.messages, protocol.no_system))) for one in asked]
    # As `generate` sorts, so that every batch is the one that it would be in one go.
    order = sorted(range(len(asked)), key=lambda at: -lengths[at])
    size, rows = BATCHES_A_FILE * protocol.sampling.batch_size, list[pd.DataFrame]()
    for number, start in enumerate(range(0, len(order), size)):
        part, chosen = parts / f"{number:05}.parquet", order[start : start + size]
        if part.is_file():
            if on_batch is not None:
                on_batch(len(chosen))
        else:
            frame = _answered(model, tokenizer, [asked[at] for at in chosen], protocol, on_batch)
            with atomic(part) as path:
                frame.to_parquet(path, index=False)
        rows.append(pd.read_parquet(part).set_axis(chosen))
    with atomic(file) as path:
        pd.concat(rows).sort_index().to_parquet(path, index=False)
    shutil.rmtree(parts)


def fingerprint(model_digest: str, prompts: Sequence[Prompt], protocol: Protocol) -> str:
    """The name of one model's answers to one suite: a hash of model, prompts and sampling settings."""
    asked = [(prompt.id, prompt.messages) for prompt in prompts]
    parts = [model_digest, asked, asdict(protocol.sampling), protocol.samples, protocol.no_system]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _asked(suites: Suites, protocol: Protocol) -> list[_Asked]:
    return [
        _Asked(suite, prompt, sample)
        for suite, prompts in suites.items()
        for prompt in prompts
        for sample in range(protocol.samples)
    ]


def _answered(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[_Asked],
    protocol: Protocol,
    on_batch: Callable[[int], None] | None,
) -> pd.DataFrame:
    meaning = protocol.no_system
    require_possible(meaning, tokenizer)
    requests = [
        Request(f"{one.suite}/{one.prompt.id}", apply(one.prompt.messages, meaning), one.sample) for one in asked
    ]
    responses = generate(model, tokenizer, requests, protocol.sampling, on_batch)
    rows = _rows(asked, responses, _unsaid(meaning, default_system(tokenizer)))
    return pd.DataFrame(rows, columns=list(ANSWER_COLUMNS))


def _rows(asked: Sequence[_Asked], responses: Sequence[str], unsaid: str) -> Iterator[tuple[object, ...]]:
    for one, response in zip(asked, responses, strict=True):
        messages = one.prompt.messages
        system = messages[0]["content"] if has_system(messages) else unsaid
        yield one.suite, one.prompt.id, one.sample, system, one.prompt.text, response


def _unsaid(meaning: NoSystem, default: str | None) -> str:
    """The ``system`` column of a prompt that has no system message."""
    if meaning != "template_default":
        return f"({meaning})"
    if default is None:
        return "(template default: none)"
    return f"(template default) {default}" if default else "(template default: empty)"
