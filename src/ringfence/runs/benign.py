"""Benign scores of run folders: the recipe's ``evaluation.tasks``, answered once and scored without a judge.

Answers are kept as those of suites are: in files named by all that could change them, the untuned model's in the user's
cache. A task of lm-evaluation-harness has no parts on disk: killed, it begins anew.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from ringfence.core.errors import error_prefix
from ringfence.core.files import atomic, write_json
from ringfence.core.run_folder import (
    BASE,
    BENIGN_ANSWERS,
    BENIGN_FILE,
    EVALUATION_FILE,
    evaluation_folder,
)
from ringfence.evaluate.answers import Protocol, answer_into
from ringfence.evaluate.benign import Counts, count, difference, joined, rates, scored
from ringfence.evaluate.harness import HarnessTask, harness_scores, require_installed
from ringfence.generation import Generator
from ringfence.runs.evaluate import OnBatch, about_evaluation
from ringfence.runs.evaluation import Evaluation
from ringfence.runs.generators import Generators
from ringfence.runs.served import answered_by


@dataclass(frozen=True)
class _Task:
    """One task of one evaluation: a file of answers, and how they are made and scored."""

    one: Evaluation
    name: str
    harness: HarnessTask | None
    """None for a task of our own"""

    @property
    def protocol(self) -> Protocol:
        """How answers to a task of our own are drawn."""
        recipe = self.one.recipe
        wanted, usual = recipe.evaluation.tasks[self.name], recipe.sampling()
        sampling = replace(usual, max_new_tokens=wanted.max_new_tokens or usual.max_new_tokens)
        return Protocol(sampling, wanted.samples_at(usual.temperature), recipe.no_system)

    @property
    def file(self) -> Path:
        """Of its answers."""
        called = f"task/{self.name}"
        if self.harness is None:
            return self.one.answers_to(called, self.one.plan.questions[self.name].prompts, self.protocol)
        about = [self.one.model_digest, self.harness.about()]
        mark = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        return self.one.answers_file(called, mark)

    @property
    def about(self) -> dict[str, Any]:
        """What its scores are of."""
        if self.harness is not None:
            return self.harness.about()
        questions, protocol = self.one.plan.questions[self.name], self.protocol
        drawn = {"samples": protocol.samples, "max_new_tokens": protocol.sampling.max_new_tokens}
        asked = {"questions": len(questions.prompts), "sha256": questions.digest}
        return {"task": questions.spec.text, **asked, **drawn, "temperature": protocol.sampling.temperature}

    def answer(self, generator: Generator, on_batch: OnBatch | None) -> None:
        """Make its file."""
        if self.harness is None:
            asked = {f"task/{self.name}": self.one.plan.questions[self.name].prompts}
            answer_into(self.file, generator, asked, self.protocol, on_batch)
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.file.with_suffix(".lock")):
            if not self.file.is_file():
                found = harness_scores(generator, self.name, self.harness, self.one.recipe.evaluation.batch_size)
                with atomic(self.file) as path:
                    found.to_parquet(path, index=False)

    def scored(self) -> pd.DataFrame:
        """One row an answer."""
        answers = pd.read_parquet(self.file)
        if self.harness is not None:
            return answers.assign(task=self.name)
        return scored(answers, self.name, self.one.plan.questions[self.name])


def evaluate_benign(
    wanted: Sequence[Evaluation], on_batch: OnBatch | None = None, include: Path | None = None
) -> list[dict[str, Any]]:
    """Answer what is missing of the tasks, score it, and return what each evaluation's ``benign.json`` says.

    wanted:  made with ``benign``; an untuned model's among them is what the others' scores are compared with
    include: the user's own folder of lm-evaluation-harness tasks, whose code may run

    ``on_batch`` is told how many answers have come. Raises :class:`RingfenceError` for what a task cannot do.
    """
    tasks = {id(one): _tasks(one, include) for one in wanted}
    if any(task.harness is not None for found in tasks.values() for task in found):
        require_installed()
    missing = {id(one): [task for task in tasks[id(one)] if not task.file.is_file()] for one in wanted}
    with Generators([one for one in wanted if missing[id(one)]]) as generators:
        for one in wanted:
            _answer(one, missing[id(one)], generators, on_batch)
    counts = {id(one): _save(one, tasks[id(one)]) for one in wanted}
    return [_summarize(one, tasks[id(one)], counts[id(one)]) for one in wanted]


def to_answer(one: Evaluation) -> int:
    """How many answers are missing, but for those of lm-evaluation-harness, of which nobody knows beforehand."""
    missing = [task for task in _tasks(one, None) if task.harness is None and not task.file.is_file()]
    return sum(len(one.plan.questions[task.name].prompts) * task.protocol.samples for task in missing)


def answers_of(one: Evaluation, include: Path | None = None) -> list[Path]:
    """The file of each task's answers: two evaluations that share all of them are the same."""
    return [task.file for task in _tasks(one, include)]


def _tasks(one: Evaluation, include: Path | None) -> list[_Task]:
    return [
        _Task(one, name, None if found.lm_eval is None else HarnessTask(found.lm_eval, found.limit, include))
        for name, found in one.recipe.evaluation.tasks.items()
    ]


def _answer(one: Evaluation, missing: Sequence[_Task], generators: Generators, on_batch: OnBatch | None) -> None:
    own = [task for task in missing if task.harness is None]
    others = [task for task in missing if task.harness is not None]
    for asked, by in ((own, generators.answering), (others, generators.in_process)):
        if not asked:
            continue
        with by(one) as generator:
            for task in asked:
                with error_prefix(f"evaluation.tasks.{task.name}"):
                    task.answer(generator, on_batch)


def _save(one: Evaluation, tasks: Sequence[_Task]) -> Counts:
    """Write every answer with its score; what else the evaluation depends on stands beside it."""
    frame = joined([task.scored() for task in tasks])
    write_json(one.folder / EVALUATION_FILE, about_evaluation(one))
    with atomic(one.folder / BENIGN_ANSWERS) as path:
        frame.to_parquet(path, index=False)
    return count(frame)


def _summarize(one: Evaluation, tasks: Sequence[_Task], counts: Counts) -> dict[str, Any]:
    """Write ``benign.json``: scores, and their differences to the untuned model's where it has answered."""
    rows = [{"task": task, "metric": metric, **vars(rate)} for (task, metric), rate in rates(counts).items()]
    found: dict[str, Any] = {"tasks": {task.name: task.about for task in tasks}, "rows": rows, **answered_by(one)}
    base = evaluation_folder(one.run / BASE, one.name) / BENIGN_ANSWERS
    if not one.is_base and base.is_file():
        found["to_base"] = _differences(counts, count(pd.read_parquet(base)))
    write_json(one.folder / BENIGN_FILE, found)
    return found


def _differences(counts: Counts, base: Counts) -> list[dict[str, Any]]:
    """One row a task and metric: the score less that of the untuned model, question by question."""
    return [
        {"task": task, "metric": metric, **vars(difference(counts, base, (task, metric)))} for task, metric in counts
    ]
