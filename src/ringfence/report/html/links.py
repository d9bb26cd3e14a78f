"""Links of the page: to one answer in it, and to the Inspect logs of runs with how to open them in Inspect's viewer."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ringfence.core.run_folder import INSPECT_LOGS
from ringfence.report.results import RunResult


@dataclass(frozen=True)
class InspectLogs:
    """The logs of one run; only a model that was asked through Inspect has some."""

    run: str
    folder: Path
    command: str
    """for a shell; the viewer is Inspect's"""
    link: str
    """URL of the folder, relative to that of the page, so that both can be moved together"""


ANSWER = "#answer-"
"""begins the link to one answer; the page's ``links.js`` reads it"""


def answer_link(run: str, suite: str, prompt_id: str, sample: object, copy: int = 0) -> str:
    """The fragment that opens one answer on the page.

    copy: how many answers of that run have the same suite, prompt id and sample and come before it
    """
    parts = [run, suite, prompt_id, str(sample), *([str(copy)] if copy else [])]
    return ANSWER + "/".join(quote(part, safe="") for part in parts)


def inspect_logs(runs: Sequence[RunResult], beside: Path) -> list[InspectLogs]:
    """Of the runs that have logs, in their order; ``beside`` is the folder of the page."""
    folders = {run.name: run.folder / INSPECT_LOGS for run in runs}
    return [
        InspectLogs(name, folder, shlex.join(["inspect", "view", "--log-dir", str(folder)]), _link(folder, beside))
        for name, folder in folders.items()
        if folder.is_dir()
    ]


def _link(folder: Path, beside: Path) -> str:
    return quote(Path(os.path.relpath(folder, beside)).as_posix()) + "/"
