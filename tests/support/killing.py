"""Runs something in a process that kills itself with SIGKILL before its n-th change to the files of a folder.

Processes are forked from one that has imported everything, so that a kill costs a second and not twenty.
"""

import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from ringfence.core.files import TEMPORARY
from ringfence.recipe.run import load_recipe
from ringfence.runs import evaluate as evaluations
from ringfence.runs import train as runs
from ringfence.runs.plan import RunPlan
from ringfence.select import Refusals, Selection, run

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["ringfence.runs.train", "ringfence.runs.evaluate", "trl.trainer.sft_trainer"])
_RANDOM = re.compile(rf"{re.escape(TEMPORARY)}[^/]*")


def train(recipe: Path, run: Path) -> None:
    """``ringfence train``, without the command line."""
    runs.train(RunPlan.load(load_recipe(recipe), run))


def evaluate(run: Path) -> None:
    """``ringfence evaluate``, without the command line."""
    evaluations.evaluate([evaluations.evaluation_of(run)])


def select(source: str, work: Path) -> None:
    """A selection in shards of three rows."""
    run(Selection((source,), (Refusals(),), shard_rows=3), work)


def killed_at(change: int, folder: Path, act: Callable[..., object], *arguments: object, after: str = "") -> bool:
    """Whether ``act(*arguments)`` was killed, before its ``change``-th change (from 1) to a file in ``folder``.

    A change is a file opened for writing or renamed; they count once one whose path ends with ``after`` was renamed.
    """
    return _killed(_kill_at, (change, folder, after), act, arguments)


def killed_before(name: str, folder: Path, act: Callable[..., object], *arguments: object) -> bool:
    """Whether ``act(*arguments)`` was killed, before its first change to ``name``, a name as of :func:`changed`."""
    return _killed(_kill_before, (name, folder), act, arguments)


def killed_until_done(folder: Path, act: Callable[..., object], *arguments: object) -> int:
    """Kill ``act`` ever later, each time going on with what the kill before has left, until it ends; how many kills."""
    kills = 0
    while killed_at(kills + 1, folder, act, *arguments):
        kills += 1
    return kills


def changed(folder: Path, act: Callable[..., object], *arguments: object) -> list[str]:
    """The files in ``folder`` that ``act(*arguments)`` changes, each once, in the order of their first changes.

    Names are relative to ``folder``, and those of temporary folders have no random part.
    """
    with ProcessPoolExecutor(1, _CONTEXT) as pool:
        return pool.submit(_record, folder, act, arguments).result()


def started(act: Callable[..., object], *arguments: object) -> Any:
    """The process of ``act(*arguments)``, for others to kill."""
    process = _CONTEXT.Process(target=act, args=arguments)
    process.start()
    return process


def _killed(
    kill: Callable[..., None], where: tuple[object, ...], act: Callable[..., object], arguments: tuple[object, ...]
) -> bool:
    process = _CONTEXT.Process(target=kill, args=(*where, act, arguments))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), "it raised; see what it wrote to stderr"
    return process.exitcode != 0


def _kill_at(change: int, folder: Path, after: str, act: Callable[..., object], arguments: tuple[object, ...]) -> None:
    counting, seen = not after, 0

    def watch(name: str, renamed: bool) -> None:
        nonlocal counting, seen
        if counting:
            seen += 1
            if seen == change:
                os.kill(os.getpid(), signal.SIGKILL)
        else:
            counting = renamed and name.endswith(after)

    _watched(watch, folder, act, arguments)


def _kill_before(name: str, folder: Path, act: Callable[..., object], arguments: tuple[object, ...]) -> None:
    def watch(found: str, _: bool) -> None:
        if found == name:
            os.kill(os.getpid(), signal.SIGKILL)

    _watched(watch, folder, act, arguments)


def _record(folder: Path, act: Callable[..., object], arguments: tuple[object, ...]) -> list[str]:
    found: dict[str, None] = {}
    _watched(lambda name, _: found.setdefault(name), folder, act, arguments)
    return list(found)


def _watched(
    watch: Callable[[str, bool], object], folder: Path, act: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    """Run ``act``, in a process that is nobody else's; ``watch`` is told before a file changes, and if by renaming."""

    def hook(event: str, details: tuple[Any, ...]) -> None:
        path = _path(event, details)
        if path is not None and path.startswith(f"{folder}{os.sep}"):
            watch(_RANDOM.sub(TEMPORARY, path.removeprefix(f"{folder}{os.sep}")), event == "os.rename")

    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    sys.addaudithook(hook)
    act(*arguments)


def _path(event: str, details: tuple[Any, ...]) -> str | None:
    """The path that an audit event is about to change; None if it changes none."""
    if event == "open":
        path, mode, flags = details
        written = set(mode) & set("wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR)
        return os.fsdecode(path) if written and not isinstance(path, int) else None
    return os.fsdecode(details[1]) if event == "os.rename" else None
