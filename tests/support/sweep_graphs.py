"""A graph of five steps, for the tests of what drives and exports it."""

from pathlib import Path

from ringfence.sweep.graph import Graph
from ringfence.sweep.steps import Step, folder_of


def graph(out: Path) -> Graph:
    """base; a and b after it; c after a; d alone."""
    needs = {"base": [], "a": ["base"], "b": ["base"], "c": ["a"], "d": []}
    found = Graph()
    for label, before in needs.items():
        folder = folder_of(out, "run", label)
        found.steps[label] = Step("run", label, label, tuple(before), {"name": label}, (("x",),), folder)
        found.runs[label] = found.steps[label]
    return found
