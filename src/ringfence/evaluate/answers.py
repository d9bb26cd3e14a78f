"""Answers of one model to suites of prompts; one row an answer, not judged yet.

Columns: ``suite, prompt_id, sample, system, prompt, response``. ``system`` is the system prompt that was sent. Where
the prompt has none it says what the recipe's ``no_system`` means for it: ``(template default) `` and the text that the
chat template inserts, ``(template default: none)``, ``(empty)`` or ``(none)``; a server's template is not known here,
so there it is ``(template default: not known)``, and a column more, ``stop_reason``, has what the server said.

On disk a suite's answers are one file, named by a hash of model, prompts and sampling settings. While they are drawn
they are in a folder beside it, a file (a shard) for every few batches: what was killed goes on with the first that is
missing. Where a server has failed for some rows of a shard, the others are kept, too.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock
from transformers import PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic
from ringfence.core.run_folder import ANSWER_COLUMNS, STOP_REASON
from ringfence.data.encode import prompt_ids
from ringfence.data.suites.load import Prompt
from ringfence.data.system import NoSystem, apply, default_system, has_system, require_possible
from ringfence.generation import Answer, Generator, Request, Sampling

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
    generator: Generator,
    suites: Suites,
    protocol: Protocol,
    on_batch: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Answer every prompt of every suite; see the module for the columns.

    The random stream of a row is named by suite, prompt and sample, so a suite's rows do not depend on the others.
    Raises :class:`RingfenceError` if the chat template does not let ``protocol.no_system`` be, and if a row failed.
    """
    return _answered(generator, _asked(suites, protocol), protocol, on_batch)


def answer_into(
    file: Path,
    generator: Generator,
    suites: Suites,
    protocol: Protocol,
    on_batch: Callable[[int], None] | None = None,
) -> None:
    """:func:`answer`, written to ``file``; called again after a kill, it answers only what is not on disk yet.

    Runs on one base may be evaluated side by side: the second waits for the answers of the first.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        if file.is_file():
            return
        asked = _asked(suites, protocol)
        if generator.resumes:
            frame = _answered(generator, asked, protocol, on_batch)
        else:
            frame = _in_parts(file.with_suffix(".parts"), generator, asked, protocol, on_batch)
        with atomic(file) as path:
            frame.to_parquet(path, index=False)
        shutil.rmtree(file.with_suffix(".parts"), ignore_errors=True)


def requests_of(suites: Suites, protocol: Protocol) -> list[Request]:
    """What is asked, in the order of :func:`answer`'s rows."""
    return [_request(one, protocol) for one in _asked(suites, protocol)]


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


def _request(one: _Asked, protocol: Protocol) -> Request:
    return Request(f"{one.suite}/{one.prompt.id}", apply(one.prompt.messages, protocol.no_system), one.sample)


def _in_parts(
    parts: Path,
    generator: Generator,
    asked: Sequence[_Asked],
    protocol: Protocol,
    on_batch: Callable[[int], None] | None,
) -> pd.DataFrame:
    """What :func:`_answered` gives, by way of files in the folder ``parts``."""
    order, rows = _order(generator, asked, protocol), list[pd.DataFrame]()
    size = BATCHES_A_FILE * protocol.sampling.batch_size
    for number, start in enumerate(range(0, len(order), size)):
        part, chosen = parts / f"{number:05}.parquet", order[start : start + size]
        if part.is_file():
            if on_batch is not None:
                on_batch(len(chosen))
        else:
            held, wanted = part.with_suffix(".held"), {at: asked[at] for at in chosen}
            _write(part, _shard(held, generator, wanted, protocol, on_batch))
        rows.append(pd.read_parquet(part))
    return pd.concat(rows).sort_index()


def _shard(
    held: Path,
    generator: Generator,
    asked: Mapping[int, _Asked],
    protocol: Protocol,
    on_batch: Callable[[int], None] | None,
) -> pd.DataFrame:
    """The answers to ``asked``, by its keys; those that came where others failed are in the file ``held`` meanwhile."""
    known = [pd.read_parquet(held)] if held.is_file() else []
    waiting = [at for at in asked if not known or at not in known[0].index]
    if known and on_batch is not None:
        on_batch(len(known[0]))
    requests, answers = _generated(generator, [asked[at] for at in waiting], protocol, on_batch)
    came = {at: one for at, one in zip(waiting, answers, strict=True) if one.failure is None}
    if came:
        frame = _frame([asked[at] for at in came], [*came.values()], generator, protocol)
        known = [pd.concat([*known, frame.set_axis([*came])])]
    if came and len(came) < len(waiting):
        _write(held, known[0])
    _require_all(generator, requests, answers)
    return known[0]


def _write(file: Path, frame: pd.DataFrame) -> None:
    with atomic(file) as path:
        frame.to_parquet(path)


def _order(generator: Generator, asked: Sequence[_Asked], protocol: Protocol) -> list[int]:
    """As a generator in this process sorts, so that every batch is the one that it would be in one go."""
    tokenizer = generator.tokenizer
    if tokenizer is None:
        return list(range(len(asked)))
    lengths = [len(prompt_ids(tokenizer, _request(one, protocol).messages)) for one in asked]
    return sorted(range(len(asked)), key=lambda at: -lengths[at])


def _answered(
    generator: Generator,
    asked: Sequence[_Asked],
    protocol: Protocol,
    on_batch: Callable[[int], None] | None,
) -> pd.DataFrame:
    requests, answers = _generated(generator, asked, protocol, on_batch)
    _require_all(generator, requests, answers)
    return _frame(asked, answers, generator, protocol)


def _generated(
    generator: Generator,
    asked: Sequence[_Asked],
    protocol: Protocol,
    on_batch: Callable[[int], None] | None,
) -> tuple[list[Request], list[Answer]]:
    """What is asked, and what came of each, failures too."""
    require_possible(protocol.no_system, generator.tokenizer)
    requests = [_request(one, protocol) for one in asked]
    return requests, generator.generate(requests, protocol.sampling, on_batch)


def _frame(
    asked: Sequence[_Asked], answers: Sequence[Answer], generator: Generator, protocol: Protocol
) -> pd.DataFrame:
    rows = _rows(asked, answers, _unsaid(protocol.no_system, generator.tokenizer))
    frame = pd.DataFrame(rows, columns=list(ANSWER_COLUMNS))
    if any(reasons := [one.stop_reason for one in answers]):
        frame[STOP_REASON] = reasons
    return frame


def _require_all(generator: Generator, requests: Sequence[Request], answers: Sequence[Answer]) -> None:
    """Raise for a row without an answer: a rate must not leave out what a server refused."""
    for asked, one in zip(requests, answers, strict=True):
        if one.failure is not None:
            raise RingfenceError(f"{generator.name}: no answer to {asked.id}: {one.failure.reason}")


def _rows(asked: Sequence[_Asked], answers: Sequence[Answer], unsaid: str) -> Iterator[tuple[object, ...]]:
    for one, made in zip(asked, answers, strict=True):
        messages = one.prompt.messages
        system = messages[0]["content"] if has_system(messages) else unsaid
        yield one.suite, one.prompt.id, one.sample, system, one.prompt.text, made.text


def _unsaid(meaning: NoSystem, tokenizer: PreTrainedTokenizerBase | None) -> str:
    """The ``system`` column of a prompt that has no system message."""
    if meaning != "template_default":
        return f"({meaning})"
    if tokenizer is None:
        return "(template default: not known)"
    default = default_system(tokenizer)
    if default is None:
        return "(template default: none)"
    return f"(template default) {default}" if default else "(template default: empty)"
