"""Runs something in a process that kills itself with SIGKILL before its n-th change to the files of a folder.

Processes are forked from one that has imported everything, so that a kill costs a second and not twenty.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ringfence import evaluations, runs
from ringfence.recipe import load_recipe

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["ringfence.runs", "ringfence.evaluations", "trl.trainer.sft_trainer"])


def train(recipe: Path, run: Path) -> None:
    """``ringfence train``, without the command line."""
    runs.train(load_recipe(recipe), run)


def evaluate(run: Path) -> None:
    """``ringfence evaluate``, without the command line."""
    evaluations.evaluate([evaluations.evaluation_of(run)])


def killed_at(change: int, folder: Path, act: Callable[..., object], *arguments: object, after: str = "") -> bool:
    """Whether ``act(*arguments)`` was killed, before its ``change``-th change (from 1) to a file in ``folder``.

    A change is a file opened for writing or renamed; they count once one whose path ends with ``after`` was renamed.
    """
    process = _CONTEXT.Process(target=_run, args=(change, folder, after, act, arguments))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), "it raised; see what it wrote to stderr"
    return process.exitcode != 0


def killed_until_done(
    folder: Path, act: Callable[..., object], *arguments: object, first: int = 1, stride: int = 1
) -> int:
    """Kill ``act`` ever later, each time going on with what the kill before has left, until it ends; how many kills."""
    kills = 0
    while killed_at(first + kills * stride, folder, act, *arguments):
        kills += 1
    return kills


def _run(change: int, folder: Path, after: str, act: Callable[..., object], arguments: tuple[object, ...]) -> None:
    counting, seen = not after, 0

    def watch(event: str, details: tuple[Any, ...]) -> None:
        nonlocal counting, seen
        path = _changed(event, details)
        if path is None or not path.startswith(f"{folder}{os.sep}"):
            return
        if counting:
            seen += 1
            if seen == change:
                os.kill(os.getpid(), signal.SIGKILL)
        else:
            counting = event == "os.rename" and path.endswith(after)

    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    sys.addaudithook(watch)
    act(*arguments)


def _changed(event: str, details: tuple[Any, ...]) -> str | None:
    """The path that an audit event is about to change; None if it changes none."""
    if event == "open":
        path, mode, flags = details
        written = set(mode) & set("wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR)
        return os.fsdecode(path) if written and not isinstance(path, int) else None
    return os.fsdecode(details[1]) if event == "os.rename" else None
