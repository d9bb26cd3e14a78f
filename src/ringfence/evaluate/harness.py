"""Tasks of lm-evaluation-harness: its own prompts, few-shot examples, generation and scores, for a model in memory.

Nothing of it is rewritten: ``lm_eval.simple_evaluate`` asks its ``HFLM`` around our model, by the chat template. What
it logs of each question becomes a row like those of our own tasks. Of a task's metrics the score is ``acc``, else
``exact_match``, else the first that is a number from 0 to 1; of its filters (ways to read an answer) the first.

Only tasks that come with the package, or with a folder that the user has named, are known by name. A file is refused:
a task file may name Python code, and loading it runs that code.
"""

import importlib.metadata
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ringfence.core.errors import RingfenceError, did_you_mean, install, shown
from ringfence.core.files import sha256
from ringfence.core.hub import offline_if_unreachable
from ringfence.core.run_folder import BENIGN_COLUMNS
from ringfence.generation import Generator, HfGenerator
from ringfence.models.inference import inference

METRICS = ("acc", "exact_match")
"""that a score is of, the first one that a task has"""


@dataclass(frozen=True)
class HarnessTask:
    """One of its tasks or groups of tasks, as a recipe names it."""

    name: str
    limit: int | None = None
    """questions of each task, from the first; None is all"""
    include: Path | None = None
    """folder of the user's own task files, whose code may run"""

    def about(self) -> dict[str, Any]:
        """What its scores depend on, beside the model."""
        include = None if self.include is None else sha256(self.include)
        return {"lm_eval": self.name, "limit": self.limit, "version": _version(), "include": include}


def require_installed() -> None:
    """Raise :class:`RingfenceError` if lm-evaluation-harness is missing."""
    if importlib.util.find_spec("lm_eval") is None:
        raise RingfenceError(f"lm_eval: lm-evaluation-harness is missing; {install('lm-eval')}")


def harness_scores(generator: Generator, name: str, task: HarnessTask, batch_size: int) -> pd.DataFrame:
    """What the model of ``generator`` answers to ``task``, called ``name`` here; see the module for the rows.

    batch_size: prompts that are read, or answers that are generated, together

    Raises :class:`RingfenceError` for a model behind a server, for an unknown task, for data that cannot be loaded, and
    for a task without a metric from 0 to 1.
    """
    require_installed()
    if not isinstance(generator, HfGenerator):
        raise RingfenceError(f"{task.name}: lm-evaluation-harness asks a model in this process, not {generator.name}")
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of what is meant so: of a model in memory, say
    manager = _manager(task)
    loaded = _loaded(task, manager)
    with inference(generator.model):
        lm = HFLM(pretrained=generator.model, tokenizer=generator.tokenizer, batch_size=batch_size)
        found = lm_eval.simple_evaluate(
            lm,
            tasks=loaded,
            limit=task.limit,
            apply_chat_template=True,
            bootstrap_iters=0,
            log_samples=True,
            task_manager=manager,  # else it would index all tasks once more
        )
    frame = pd.DataFrame(
        [row for part, samples in found["samples"].items() for row in _rows(task, name, part, samples)]
    )
    return frame.assign(metric=" / ".join(frame["metric"].unique()))  # tasks of one group may have several


def _version() -> str:
    return importlib.metadata.version("lm_eval")


def _loaded(task: HarnessTask, manager: Any) -> list[Any]:
    """Its tasks, with their data."""
    if task.name not in manager.task_index:
        near = did_you_mean(task.name, manager.all_tasks)  # else it would be all of thousands
        listed = near if near.startswith(" Did") else " `lm_eval ls tasks` lists them."
        raise RingfenceError(f"lm-evaluation-harness has no task {shown(task.name)}.{listed}")
    offline_if_unreachable()
    try:
        return list(manager.load([task.name])["tasks"].values())
    except Exception as error:  # what its tasks, their code and the hub's client raise is of many unrelated types
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        raise RingfenceError(
            f"{task.name}: its data cannot be loaded ({reason}); fetch it once where there is a network by "
            f"`lm_eval run --model dummy --tasks {task.name} --limit 1`"
        ) from error


def _manager(task: HarnessTask) -> Any:
    """What knows the tasks by name: the user's own folder alone where that is enough, for the index of all is slow."""
    from lm_eval.tasks import TaskManager

    if task.include is None:
        return TaskManager()
    if not task.include.is_dir():
        raise RingfenceError(f"--lm-eval-tasks: {task.include} is no folder; give the one that your task files are in")
    own = TaskManager(include_path=str(task.include), include_defaults=False)
    return own if task.name in own.all_subtasks else TaskManager(include_path=str(task.include))


def _rows(task: HarnessTask, name: str, part: str, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of one task of a group, or of the task itself."""
    kept = [one for one in samples if one["filter"] == samples[0]["filter"]]
    numeric = [key for key in kept[0]["metrics"] if all(_is_score(one.get(key)) for one in kept)]
    if not numeric:
        raise RingfenceError(f"{task.name}: has no metric that is a number from 0 to 1; take another task")
    chosen = next((key for key in METRICS if key in numeric), numeric[0])
    way = kept[0]["filter"]
    metric = chosen if way == "none" else f"{chosen}, {way}"
    rows = []
    for one in kept:
        own = (name, f"{part}/{one['doc_id']}", 0, _asked(one), *_said(one), metric, float(one[chosen]))
        further = {key: float(one[key]) for key in numeric if key != chosen}
        rows.append(dict(zip(BENIGN_COLUMNS, own, strict=True)) | further)
    return rows


def _is_score(value: Any) -> bool:
    try:
        return 0 <= float(value) <= 1
    except (TypeError, ValueError):
        return False


def _asked(one: Mapping[str, Any]) -> str:
    return str(one["arguments"][0][0])


def _said(one: Mapping[str, Any]) -> tuple[str, str]:
    """Response and right answer; where continuations were compared, the likeliest one and that of the target."""
    found, target = one["filtered_resps"], one["target"]
    if not isinstance(found[0], tuple):
        return str(found[0]), str(target)
    choices = [str(arguments[1]).strip() for arguments in one["arguments"]]
    best = max(range(len(found)), key=lambda at: found[at][0])
    is_choice = isinstance(target, int) and 0 <= target < len(choices)
    return choices[best], choices[target] if is_choice else str(target)
