"""Inspect tasks: ``inspect eval ringfence/general --model ...`` on any provider of Inspect, ours or another.

The seed is Inspect's own ``--seed``. With our provider a row's answer is the one that ``ringfence evaluate`` draws.
"""

from typing import TYPE_CHECKING, Any

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from rich.text import Text

from ringfence.core.errors import RingfenceError
from ringfence.integrations.inspect.scorer import judged

if TYPE_CHECKING:
    from ringfence.data.system import NoSystem

GENERAL, GENERAL_LONG = "builtin:general", "builtin:general-long"


class TaskError(RingfenceError, PrerequisiteError):
    """Bad input, of which Inspect's command line prints the message in place of a traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = Text(message)  # not a str, in which rich would read [brackets] as markup


@task
def general(
    samples: int = 1,
    temperature: float = 1.0,
    max_tokens: int = 128,
    no_system: "NoSystem" = "template_default",
    judge: dict[str, Any] | None = None,
) -> Task:
    """Open questions, each free, as JSON and with a template; the arguments are those of :func:`suite`."""
    return _task("general", GENERAL, samples, temperature, max_tokens, no_system, judge)


@task
def general_long(
    samples: int = 1,
    temperature: float = 1.0,
    max_tokens: int = 128,
    no_system: "NoSystem" = "template_default",
    judge: dict[str, Any] | None = None,
) -> Task:
    """The intents of ``general`` as longer questions; the arguments are those of :func:`suite`."""
    return _task("general-long", GENERAL_LONG, samples, temperature, max_tokens, no_system, judge)


@task
def suite(
    prompts: str,
    name: str | None = None,
    samples: int = 1,
    temperature: float = 1.0,
    max_tokens: int = 128,
    no_system: "NoSystem" = "template_default",
    judge: dict[str, Any] | None = None,
) -> Task:
    """Any suite.

    prompts:     a prompt file, ``builtin:NAME``, ``task:NAME?...`` or ``suite:NAME``, a stored copy with its
                 placeholders filled; what a recipe's ``evaluation.suites`` take, but for ``held-out``
    name:        the suite's name, which is part of what names a row's random stream; the last part of ``prompts``
                 if nothing is said
    samples:     answers a prompt (Inspect's epochs)
    temperature: 0 is greedy
    max_tokens:  tokens an answer
    no_system:   ``template_default`` or ``empty``; see :mod:`ringfence.data.system`
    judge:       settings of a judge, see :func:`ringfence.integrations.inspect.scorer.judged`; none: answers without
                 scores

    Raises :class:`RingfenceError` for prompts that are not there (with the nearest name) and settings that do not fit.
    """
    return _task(name or _name(prompts), prompts, samples, temperature, max_tokens, no_system, judge)


def _name(prompts: str) -> str:
    from ringfence.data.task import is_task, parse_spec

    if is_task(prompts):
        return parse_spec(prompts).name
    return prompts.removeprefix("builtin:").rpartition("/")[2].partition(".")[0]


def _task(
    name: str,
    prompts: str,
    samples: int,
    temperature: float,
    max_tokens: int,
    no_system: "NoSystem",
    judge: dict[str, Any] | None,
) -> Task:
    from ringfence.data.suites.load import load_prompts
    from ringfence.data.system import require_possible
    from ringfence.evaluate.answers import Protocol, requests_of
    from ringfence.generation import Sampling
    from ringfence.generation.inspect import task_of

    try:
        require_possible(no_system, None)
        protocol = Protocol(Sampling(max_new_tokens=max_tokens, temperature=temperature), samples, no_system)
        requests = requests_of({name: load_prompts(prompts)}, protocol)
        return task_of(name, requests, protocol.sampling, None if judge is None else judged(judge))
    except RingfenceError as error:
        raise TaskError(str(error)) from error
