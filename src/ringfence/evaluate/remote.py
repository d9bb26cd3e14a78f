"""Answers of a model outside this process, through Inspect AI: a vLLM server, an API, any provider it has.

The rows are those of :mod:`ringfence.evaluate.answers` with one column more, ``stop_reason``. A suite's rows are asked
by one ``eval_set`` with a log folder of its own, named by a hash of model, prompts and sampling settings. After a kill
the same call asks again only what had not reached the log, and rows that are in two logs count once.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import rich
from filelock import FileLock, Timeout
from inspect_ai import Task, eval_set
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalSample, list_eval_logs, read_eval_log_samples
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    GenerateConfigArgs,
)
from inspect_ai.model._generate_config import active_generate_config
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from pydantic import BaseModel, ConfigDict, Field

from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import ANSWER_COLUMNS
from ringfence.data.suites.load import Prompt
from ringfence.data.system import NoSystem, apply, has_system
from ringfence.evaluate.answers import Protocol, Suites, fingerprint

COLUMNS = (*ANSWER_COLUMNS, "stop_reason")
OURS = "ringfence"  # the provider in this process
OPEN = ("openai-api", "vllm")  # whose servers take the model's own generation_config for whatever is not said
_MESSAGES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
_LARGE = frozenset({"messages", "events", "store", "attachments", "metadata", "model_usage"})  # of a sample in a log
_FLUSHED = 8  # answers: what a kill can lose at the most
_on_answer: ContextVar[Callable[[int], None] | None] = ContextVar("on_answer", default=None)


class Server(BaseModel):
    """How to reach the model; nothing here changes what it answers, but for ``model_args``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    base_url: str | None = None
    """of the server; without it the provider's own environment variable, such as ``VLLM_BASE_URL``"""
    connections: int = Field(16, ge=1)
    """requests that are open at once"""
    max_retries: int = Field(5, ge=0)
    """of one request, after failures that may pass: 429, 5xx, a broken connection"""
    timeout: int = Field(600, ge=1)
    """seconds that one attempt may take"""
    model_args: dict[str, Any] = Field(default_factory=dict)
    """for Inspect's provider, as its ``-M``"""


def answer(
    model: str,
    suites: Suites,
    protocol: Protocol,
    log_dir: Path,
    server: Server = Server(),  # noqa: B008 - frozen
    on_batch: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Ask ``model`` every prompt of every suite; one row an answer, ``protocol.samples`` a prompt, none missing.

    model:    Inspect's name, ``openai-api/SERVICE/MODEL`` for any server that speaks OpenAI's protocol. Two checkpoints
              need two names, since logs are told apart by it: :func:`ringfence.inspect_plugin.opening.adapter_name`
    log_dir:  folder of Inspect's logs, for ``inspect view`` too; a folder a suite
    on_batch: told how many answers have come

    Every row has a seed of its own, made from the protocol's seed, suite, prompt and sample; ``stop_reason`` is what
    the server said (``max_tokens``: cut). An answer that a content filter withheld is empty, with ``content_filter``.

    Raises :class:`RingfenceError` if an answer is still missing after the retries (what has come is kept), for
    ``no_system: none``, which cannot be checked from here, for ``top_p`` and ``min_p``, and inside a running event
    loop.
    """
    _require_outside_loop()
    if model.partition("/")[0] == OURS:
        raise RingfenceError(f"{model}: a model in this process has no server; use `ringfence evaluate`")
    if protocol.sampling.top_p < 1 or protocol.sampling.min_p > 0:
        raise RingfenceError(f"{model}: top_p and min_p are for models in this process; leave them at 1 and 0")
    # Of no consequence at a server.
    protocol = replace(protocol, sampling=replace(protocol.sampling, batch_size=1))
    rows = [
        row
        for name, prompts in suites.items()
        for row in _answer_suite(model, name, prompts, protocol, log_dir, server, on_batch)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def task_of(name: str, prompts: Sequence[Prompt], protocol: Protocol, scorer: Scorer | None = None) -> Task:
    """An Inspect task that asks ``prompts``; samples are called ``name/prompt``, epochs are the protocol's samples.

    The protocol's seed is not in it: that is for ``eval``. Raises as :func:`answer` does.
    """
    if protocol.no_system == "none":
        raise RingfenceError(
            'no_system: "none" cannot be checked without the chat template of the model that answers; use "empty" '
            'or "template_default"'
        )
    samples = [Sample(id=f"{name}/{prompt.id}", input=_chat(prompt, protocol.no_system)) for prompt in prompts]
    return Task(
        dataset=MemoryDataset(samples, name=name),
        solver=asked(),
        scorer=scorer,
        epochs=protocol.samples,
        config=GenerateConfig(
            max_tokens=protocol.sampling.max_new_tokens, temperature=protocol.sampling.temperature, cache=False
        ),
    )


@solver(name="asked")
def asked() -> Solver:
    """One call of the model, without tools, with a seed that no other row has."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        try:
            state = await generate(state, tool_calls="none", **_row_settings(state))
        except Exception as error:
            if (said := _said(error)) is None:
                raise
            raise RingfenceError(said) from error
        if state.output.stop_reason == "model_length":  # then the text may be the server's error
            raise RingfenceError(f"{state.sample_id} is too long for the model: {state.output.completion}")
        if on_answer := _on_answer.get():
            on_answer(1)
        return state

    return solve


def _row_settings(state: TaskState) -> GenerateConfigArgs:
    if state.model.api == OURS:  # which names a row's stream by seed, sample and epoch itself
        return {}
    # With one seed for all, a server answers every epoch of a prompt alike.
    seed = row_seed(active_generate_config().seed or 0, str(state.sample_id), state.epoch - 1)
    return {"seed": seed, "top_p": 1.0} if state.model.api in OPEN else {"seed": seed}


def _said(error: Exception) -> str | None:
    """What the server said, where the exception's own text is the whole request or the name of a future."""
    if last := getattr(error, "last_attempt", None):  # of a request that was tried again
        return f"{last.attempt_number} tries in vain, at last {last.exception()!r}"
    said = getattr(error, "provider_message", None)
    return None if said is None else f"{getattr(error, 'status_code', None)}: {said}"


def row_seed(seed: int, id: str, sample: int) -> int:
    """31 bits, which every server takes."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{id}\0{sample}".encode()).digest()[:4], "big") >> 1


def _answer_suite(
    model: str,
    name: str,
    prompts: Sequence[Prompt],
    protocol: Protocol,
    log_dir: Path,
    server: Server,
    on_batch: Callable[[int], None] | None,
) -> Iterator[tuple[object, ...]]:
    who = f"{name}\0{model}\0{sorted(server.model_args.items())}"
    folder = log_dir / f"{name.replace('/', '-')}-{fingerprint(who, prompts, protocol)}"
    wanted = [(prompt, sample) for prompt in prompts for sample in range(protocol.samples)]
    counted = 0

    def count(answers: int) -> None:
        nonlocal counted
        counted += answers
        if on_batch is not None:
            on_batch(answers)

    with _alone_in(folder):
        problem = _ask(model, task_of(name, prompts, protocol), protocol.sampling.seed, folder, server, count)
        found = _logged(folder)
    missing = [key for prompt, sample in wanted if (key := (f"{name}/{prompt.id}", sample)) not in found]
    if missing:
        raise RingfenceError(
            f"{model}: {len(missing)} of {len(wanted)} answers of the suite {name} are missing ({problem}); mend that "
            "and do the same again, what has come is kept"
        )
    count(len(wanted) - counted)  # those of an earlier time
    for prompt, sample in wanted:
        text, stop_reason = found[f"{name}/{prompt.id}", sample]
        yield name, prompt.id, sample, _system(prompt, protocol.no_system), prompt.text, text, stop_reason


def _ask(model: str, task: Task, seed: int, folder: Path, server: Server, on_answer: Callable[[int], None]) -> str:
    """Run ``task`` as far as it goes; what went wrong, if anything."""
    token = _on_answer.set(on_answer)
    try:
        with _quiet():
            _, logs = eval_set(
                task,
                log_dir=str(folder),
                model=model,
                model_base_url=server.base_url,
                model_args=dict(server.model_args),
                # The retries are those of a request; what is broken for longer is for the user to see.
                retry_attempts=1,
                retry_immediate=False,
                fail_on_error=True,
                display="none",
                score=False,
                log_realtime=False,
                log_buffer=_FLUSHED,
                log_model_api=False,
                ctl_server=False,
                acp_server=False,
                max_connections=server.connections,
                max_retries=server.max_retries,
                attempt_timeout=server.timeout,
                seed=seed,
            )
    except (PrerequisiteError, ValueError) as error:
        raise RingfenceError(f"{model}: {_one_line(getattr(error, 'message', error))}") from error
    finally:
        _on_answer.reset(token)
    errors = [log.error.message for log in logs if log.error is not None]
    # An exception's repr, as Inspect keeps it.
    return _one_line(re.sub(r"""^\w+\((['"])(.*)\1\)$""", r"\2", errors[0])) if errors else "no reason is known"


def _logged(folder: Path) -> dict[tuple[str, int], tuple[str, str]]:
    """(sample id, sample) -> text and stop reason of everything that was answered; the latest log goes first."""
    found: dict[tuple[str, int], tuple[str, str]] = {}
    for log in list_eval_logs(str(folder)):
        for one in read_eval_log_samples(log, all_samples_required=False, exclude_fields=set(_LARGE)):
            if one.error is None and not one.output.empty:
                found.setdefault((str(one.id), one.epoch - 1), _text(one))
    return found


def _text(one: EvalSample) -> tuple[str, str]:
    reason = one.output.stop_reason
    return "" if reason == "content_filter" else one.output.completion.strip(), reason


def _chat(prompt: Prompt, no_system: NoSystem) -> list[ChatMessage]:
    messages = apply(prompt.messages, no_system)
    for message in messages:
        if message["role"] not in _MESSAGES:
            known = ", ".join(_MESSAGES)
            raise RingfenceError(f"{prompt.id}: Inspect sends no turn of {message['role']!r}; it has {known}")
    return [_MESSAGES[message["role"]](content=message["content"]) for message in messages]


def _system(prompt: Prompt, no_system: NoSystem) -> str:
    """The ``system`` column; the template is the server's, so what it inserts is not known here."""
    if has_system(prompt.messages):
        return prompt.messages[0]["content"]
    return "(empty)" if no_system == "empty" else "(template default: not known)"


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.parent / f".{folder.name}.lock").acquire(timeout=0):
            yield
    except Timeout:
        raise RingfenceError(f"{folder}: another process is asking there; wait for it") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Inspect prints at the end whatever ``display`` says."""
    console = rich.get_console()
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


def _require_outside_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RingfenceError("answers of a server cannot be asked for inside a running event loop; call it from a thread")


def _one_line(problem: object, width: int = 300) -> str:
    line = " ".join(str(problem).replace("[bold]", "").replace("[/bold]", "").split())
    return line if len(line) <= width else line[: width - 1] + "…"
