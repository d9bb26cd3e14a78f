"""A graph of five steps, for the tests of what drives and exports it."""

import os
from dataclasses import replace
from pathlib import Path

from ringfence.sweep.driver import drive
from ringfence.sweep.engines import local
from ringfence.sweep.graph import Graph
from ringfence.sweep.steps import Step, folder_of

WORK = """
import pathlib, sys, time
time.sleep(0.3)
pathlib.Path(sys.argv[1]).mkdir(exist_ok=True)
(pathlib.Path(sys.argv[1]) / "made").open("a").write("x")
"""
TASK = """
import pathlib, sys
from ringfence.core.parent import leave_with_parent
from ringfence.sweep import task
leave_with_parent(1)
task.RINGFENCE = ()
sys.exit(bool(task.run(pathlib.Path(sys.argv[1]))))
"""


def graph(out: Path) -> Graph:
    """base; a and b after it; c after a; d alone."""
    needs = {"base": [], "a": ["base"], "b": ["base"], "c": ["a"], "d": []}
    found = Graph()
    for label, before in needs.items():
        folder = folder_of(out, "run", label)
        found.steps[label] = Step("run", label, label, tuple(before), {"name": label}, (("x",),), folder)
        found.runs[label] = found.steps[label]
    return found


def working(out: Path) -> Graph:
    """The same, each of a command that takes a moment, and then adds a letter to what the step has made."""
    found = graph(out)
    for label, step in found.steps.items():
        found.steps[label] = found.runs[label] = replace(step, commands=(("-c", WORK, str(step.product)),))
    return found


def drive_apart(out: Path) -> None:
    """Drive :func:`working` by local processes, at the head of a group of processes that can be killed together."""
    os.setsid()
    local._TASK = ("-c", TASK)
    found = working(out)
    drive(found, list(found.runs.values()), local.LocalEngine(2), lambda _: None)
