"""The graph of a sweep for another engine: a Snakefile, whose rules are the sweep's own tasks."""

import json
import shlex
from pathlib import Path

from ringfence.core.files import write_text
from ringfence.sweep.graph import Graph
from ringfence.sweep.steps import DONE_FILE

TASK = "python -m ringfence.sweep.task"


def write_snakefile(graph: Graph, path: Path) -> None:
    """Write the folders of all steps, and to ``path`` a rule for each; what is done stays done.

    A rule's output is the step's ``done.json``, so that Snakemake and ``ringfence sweep`` can be used in turn.
    """
    lines = ["# Made by `ringfence sweep --export`; run it where the sweep would run.", "", "rule all:", "    input:"]
    lines += [f"        {_done(step.folder)}," for step in graph.ends]
    for step in graph.steps.values():
        step.write()
        lines += ["", f"rule {step.folder.name.replace('-', '_')}:  # {step.label}"]
        if step.needs:
            lines += ["    input:", *(f"        {_done(graph.steps[one].folder)}," for one in step.needs)]
        lines += ["    output:", f"        {_done(step.folder)},"]
        lines += ["    shell:", f"        {json.dumps(f'{TASK} {_quoted(step.folder)}')}"]
    write_text(path, "\n".join(lines) + "\n")


def _done(folder: Path) -> str:
    return json.dumps(str(folder / DONE_FILE))


def _quoted(folder: Path) -> str:
    """For a shell, and with Snakemake's braces doubled."""
    return shlex.quote(str(folder)).replace("{", "{{").replace("}", "}}")
