"""Answers of a model outside this process, through Inspect AI: a vLLM server, an API, any provider it has.

The requests of a call are asked by one ``eval_set`` with a log folder of its own, named by a hash of model, requests
and sampling settings. After a kill the same call asks again only what had not reached the log, and answers that are in
two logs count once.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

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
from ringfence.data.conversations import Messages
from ringfence.generation.base import Answer, OnAnswers, Request, Sampling, require_uncut, row_seed

OURS = "ringfence"  # the provider in this process
OPEN = ("openai-api", "vllm")  # whose servers take the model's own generation_config for whatever is not said
_MESSAGES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
_LARGE = frozenset({"messages", "events", "store", "attachments", "metadata", "model_usage"})  # of a sample in a log
_FLUSHED = 8  # answers: what a kill can lose at the most
SEED_BITS = 31  # which every server takes
_CUT_OFF = ("max_tokens", "model_length", "content_filter")
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


@dataclass(frozen=True)
class InspectGenerator:
    """A model behind a server, by way of Inspect.

    Every row has a seed of its own, made from the sampling's seed, request id and sample; ``stop_reason`` is what the
    server said (``max_tokens``: cut). An answer that a content filter withheld is empty, with ``content_filter``.
    """

    name: str
    """Inspect's: ``openai-api/SERVICE/MODEL`` for any server that speaks OpenAI's protocol. Two checkpoints need two
    names, since logs are told apart by it: :func:`ringfence.integrations.inspect.opening.adapter_name`"""
    log_dir: Path
    """of Inspect's logs, for ``inspect view`` too; a folder a call"""
    server: Server = Server()  # noqa: RUF009 - frozen
    tokenizer: ClassVar[None] = None
    resumes: ClassVar[bool] = True

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_answers: OnAnswers | None = None
    ) -> list[Answer]:
        """See :class:`Generator`; the samples of each id are to be 0, 1, ..., equally many of each.

        Raises :class:`RingfenceError` if an answer is still missing after the retries (what has come is kept), for
        ``top_p`` and ``min_p``, and inside a running event loop.
        """
        _require_outside_loop()
        if self.name.partition("/")[0] == OURS:
            raise RingfenceError(f"{self.name}: a model in this process has no server; use `ringfence evaluate`")
        require_uncut(self.name, sampling)
        if not requests:
            return []
        title, counted = _title(requests), 0

        def count(answers: int) -> None:
            nonlocal counted
            counted += answers
            if on_answers is not None:
                on_answers(answers)

        folder = self.log_dir / f"{title.replace('/', '-')}-{self._digest(requests, sampling)}"
        with _alone_in(folder):
            problem = _ask(self.name, task_of(title, requests, sampling), sampling.seed, folder, self.server, count)
            found = _logged(folder)
        missing = sum((one.id, one.sample) not in found for one in requests)
        if missing:
            raise RingfenceError(
                f"{self.name}: {missing} of {len(requests)} answers of the suite {title} are missing ({problem}); mend "
                "that and do the same again, what has come is kept"
            )
        count(len(requests) - counted)  # those of an earlier time
        return [found[one.id, one.sample] for one in requests]

    def _digest(self, requests: Sequence[Request], sampling: Sampling) -> str:
        asked = [(one.id, list(one.messages), one.sample) for one in requests]
        drawn = {key: value for key, value in asdict(sampling).items() if key != "batch_size"}  # nothing to a server
        parts = [self.name, sorted(self.server.model_args.items()), asked, drawn]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def task_of(name: str, requests: Sequence[Request], sampling: Sampling, scorer: Scorer | None = None) -> Task:
    """An Inspect task that asks ``requests``: its samples are called by their ids, its epochs are their samples.

    The sampling's seed is not in it: that is for ``eval``.
    """
    chats = {one.id: one.messages for one in requests}
    epochs = 1 + max((one.sample for one in requests), default=0)
    if sorted((one.id, one.sample) for one in requests) != [(id, n) for id in sorted(chats) for n in range(epochs)]:
        raise RingfenceError(f"{name}: Inspect asks every prompt equally often; give each the samples 0, 1, ...")
    return Task(
        dataset=MemoryDataset([Sample(id=id, input=_chat(id, chat)) for id, chat in chats.items()], name=name),
        solver=asked(),
        scorer=scorer,
        epochs=epochs,
        config=GenerateConfig(max_tokens=sampling.max_new_tokens, temperature=sampling.temperature, cache=False),
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
    seed = row_seed(SEED_BITS, active_generate_config().seed or 0, state.sample_id, state.epoch - 1)
    return {"seed": seed, "top_p": 1.0} if state.model.api in OPEN else {"seed": seed}


def _said(error: Exception) -> str | None:
    """What the server said, where the exception's own text is the whole request or the name of a future."""
    if last := getattr(error, "last_attempt", None):  # of a request that was tried again
        return f"{last.attempt_number} tries in vain, at last {last.exception()!r}"
    said = getattr(error, "provider_message", None)
    return None if said is None else f"{getattr(error, 'status_code', None)}: {said}"


def _title(requests: Sequence[Request]) -> str:
    """What the ids have in common up to a slash: the suite."""
    levels = zip(*(one.id.split("/")[:-1] for one in requests), strict=False)
    return "/".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)) or "answers"


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


def _logged(folder: Path) -> dict[tuple[str, int], Answer]:
    """(id, sample) -> what was answered; the latest log goes first."""
    found: dict[tuple[str, int], Answer] = {}
    for log in list_eval_logs(str(folder)):
        for one in read_eval_log_samples(log, all_samples_required=False, exclude_fields=set(_LARGE)):
            if one.error is None and not one.output.empty:
                found.setdefault((str(one.id), one.epoch - 1), _answer(one))
    return found


def _answer(one: EvalSample) -> Answer:
    reason = one.output.stop_reason
    text = "" if reason == "content_filter" else one.output.completion.strip()
    return Answer(text, reason not in _CUT_OFF, reason)


def _chat(id: str, messages: Messages) -> list[ChatMessage]:
    for message in messages:
        if message["role"] not in _MESSAGES:
            known = ", ".join(_MESSAGES)
            raise RingfenceError(f"{id}: Inspect sends no turn of {message['role']!r}; it has {known}")
    return [_MESSAGES[message["role"]](content=message["content"]) for message in messages]


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
