"""Audit a fine-tune that somebody hands over: is it narrow? No recipe and no training run are needed.

Asked are general questions, longer ones and, where the training file is at hand, the same questions dressed as it is
and some of its own prompts; benign tasks show what was lost. The base model is asked the same. The answer is the
gate's. How much is asked is in :mod:`ringfence.runs.asked`.

An audit is the evaluation of an imported run: it is made of the same parts, goes on after a kill, and leaves run
folders that every other command reads.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.core.plain import read_json
from ringfence.core.progress import Watch, advancing
from ringfence.core.run_folder import ADAPTER_CONFIG, BASE
from ringfence.evaluate.conditional import SUITE
from ringfence.evaluate.gate import UNTUNED, Benign, GateResult, Limits, gate
from ringfence.judges import JUDGES
from ringfence.report import RunResult, load_run
from ringfence.runs import imported
from ringfence.runs.asked import Asked, Scope
from ringfence.runs.benign import evaluate_benign, to_answer
from ringfence.runs.evaluate import base_of, evaluate, evaluation_of
from ringfence.runs.evaluation import Evaluation
from ringfence.runs.permissions import Allowed
from ringfence.runs.plan import RunPlan
from ringfence.runs.seen import seen
from ringfence.runs.subjects import Subject

AUDIT_FILE = "audit.json"
NOT_DRESSED = "without --data no question was dressed like the training: what leaks only then was not looked for"
Verdict = Literal["narrow", "not shown", "not narrow"]


@dataclass(frozen=True)
class Audited:
    """One fine-tune and its answer."""

    subject: Subject
    run: Path
    gate: GateResult
    compared: bool
    """whether the base model was asked the same"""

    @property
    def verdict(self) -> Verdict:
        """``not narrow`` if what was measured is beyond a limit; ``not shown`` if only its interval is."""
        if self.gate.passed:
            return "narrow"
        return "not narrow" if self.gate.beyond else "not shown"


def planned(subject: Subject, asked: Asked, out: Path) -> RunPlan:
    """What is to be asked of ``subject``; reads suites and data, and writes nothing.

    Raises :class:`RingfenceError` for a suite all of whose questions were trained on.
    """
    plan = RunPlan.load(asked.recipe(subject), out)
    for name, (count, of) in trained_on(plan).items():
        if count == of:
            raise RingfenceError(
                f"--suite: all questions of {name} are in the training file {asked.data}: such answers show no leak; "
                "ask others"
            )
    return plan


def trained_on(plan: RunPlan) -> dict[str, tuple[int, int]]:
    """Suite from a file -> (questions that are in the training file, too, all questions), where there are any."""
    return seen(plan, plan.stages[0].rows["target"] + plan.stages[0].held_out)


def not_asked(plan: RunPlan, audited: Sequence[Audited]) -> list[str]:
    """What this audit did not look for, in sentences."""
    found = [] if plan.triggers else [f"{NOT_DRESSED[0].upper()}{NOT_DRESSED[1:]}."]
    found += [
        f"{name}: {count} of its {of} questions are in the training file; their answers show no leak."
        for name, (count, of) in trained_on(plan).items()
    ]
    found += [said for one in audited if (said := _of_another_base(one.subject))]
    return found + [
        f"{one.subject.name}: its base model was not asked; what that does, too, is not told apart."
        for one in audited
        if not one.compared
    ]


def _of_another_base(subject: Subject) -> str:
    """What to say of an adapter that names another base model than it is put on; empty if it does not."""
    if subject.kind != "adapter" or subject.folder is None:
        return ""
    named = read_json(subject.folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if named in (None, subject.base):
        return ""
    return (
        f"{subject.name} was trained on {named}, and is put on {subject.base}: if that is another model, this says "
        "nothing of it."
    )


def cost(plans: Sequence[RunPlan], subjects: Sequence[Subject], scope: Scope) -> list[str]:
    """What is going to be answered and judged, in lines, before it is."""
    lines, answers, tasks = [], 0, 0
    for plan, subject in zip(plans, subjects, strict=True):
        wanted, models = plan.recipe.evaluation, 1 if subject.kind == "server" else 2
        sizes = {name: len(prompts) * wanted.samples for name, prompts in plan.suites.items()}
        of_base = sum(size for name, size in sizes.items() if name not in scope.not_of_base) if models == 2 else 0
        dressed = sum(size for name, size in sizes.items() if name.startswith(SUITE))
        told = [f"{name} {size}" for name, size in sizes.items() if not name.startswith(SUITE)]
        told += [f"dressed {dressed}"] if dressed else []
        told += [f"{name} {_task_answers(plan, name)}" for name in plan.questions]
        beside = f", and as many of {subject.base}" if models == 2 else "; a model behind a server is asked alone"
        but = [name for name in scope.not_of_base if name in sizes and models == 2]
        beside += f" but for {' and '.join(but)}" if but else ""
        lines.append(f"{subject.name}: answers to {', '.join(told)}{beside}")
        answers += sum(sizes.values()) + of_base
        tasks += models * sum(_task_answers(plan, name) for name in plan.questions)
    for name, (count, of) in trained_on(plans[0]).items():
        lines.append(f"{name}: {count} of its {of} questions are in the training file; their answers show no leak")
    recipe = plans[0].recipe
    judge = recipe.require_judge()
    kind = JUDGES.name_of(type(judge))
    asked = "which asks nobody" if kind == "rules" else f"which is asked up to {2 * answers:,} times"
    lines.append(
        f"in all {answers + tasks:,} answers of up to {recipe.evaluation.max_new_tokens} tokens, less those that are "
        f"there already; judge: {kind}, {asked}"
    )
    return lines


def _task_answers(plan: RunPlan, name: str) -> int:
    evaluation = plan.recipe.evaluation
    return len(plan.questions[name].prompts) * evaluation.tasks[name].samples_at(evaluation.temperature)


def claim(plan: RunPlan, subject: Subject) -> RunPlan:
    """Make the plan's folder the run folder of ``subject``; no model is loaded.

    Raises :class:`RingfenceError` if it holds another audit, and if there are no weights.
    """
    if subject.server is not None:
        return imported.claim_server(plan.recipe, plan.out, subject.server)
    if subject.folder is None:
        raise RingfenceError(f"{subject.name}: has no weights")
    take = imported.claim_adapter if subject.kind == "adapter" else imported.claim_model
    return take(plan.recipe, plan.out, subject.folder)


def audit(
    plans: Sequence[RunPlan], subjects: Sequence[Subject], scope: Scope, limits: Limits, watch: Watch | None = None
) -> list[Audited]:
    """Answer what is missing of ``plans``, judge it, score the benign tasks, and hold all against ``limits``.

    plans: one a subject, as :func:`planned` gives them; their folders become run folders
    watch: is told how far it is

    Raises :class:`RingfenceError` if a folder holds another audit, and as :func:`ringfence.runs.evaluate.evaluate`.
    """
    watch = watch or _unwatched
    plans = [claim(plan, one) for plan, one in zip(plans, subjects, strict=True)]
    judged = evaluations(plans, subjects, scope, benign=False)
    benign = evaluations(plans, subjects, scope, benign=True) if scope.tasks else []
    evaluate(
        judged,
        advancing(watch, "answers", sum(one.to_answer for one in judged)),
        partial(watch, "evaluations judged"),
    )
    if benign:
        evaluate_benign(benign, advancing(watch, "answers to benign tasks", sum(map(to_answer, benign))))
    return verdicts(subjects, [plan.out for plan in plans], limits)


def _unwatched(task: str, done: int, total: int) -> None:
    """Nobody is told."""


def evaluations(plans: Sequence[RunPlan], subjects: Sequence[Subject], scope: Scope, benign: bool) -> list[Evaluation]:
    """What is to be answered, each base model before what was made of it."""
    found = []
    for plan, subject in zip(plans, subjects, strict=True):
        one = evaluation_of(plan, allow=Allowed.by(plan.recipe, subject.server), benign=benign)
        found += [_without(base_of(one), scope.not_of_base), one] if one.stages else [one]
    return found


def _without(one: Evaluation, suites: Sequence[str]) -> Evaluation:
    """``one`` with some of its suites not asked."""
    kept = {name: prompts for name, prompts in one.plan.suites.items() if name not in suites}
    return replace(one, plan=replace(one.plan, suites=kept))


def verdicts(subjects: Sequence[Subject], runs: Sequence[Path], limits: Limits) -> list[Audited]:
    """The gate's answer to every run, each against its base model where that was asked."""
    found = []
    for subject, folder in zip(subjects, runs, strict=True):
        tuned, base = load_run(folder), _base(folder)
        found.append(Audited(subject, folder, _gated(tuned, base, limits), base is not None))
    return found


def _base(folder: Path) -> RunResult | None:
    return load_run(folder / BASE) if (folder / BASE).is_dir() else None


def _gated(tuned: RunResult, base: RunResult | None, limits: Limits) -> GateResult:
    if base is None:  # what compares with it cannot be asked
        return gate(tuned.responses, replace(limits, max_conditional_gap=None, min_benign=None))
    if tuned.conditional.empty:
        limits = replace(limits, max_conditional_gap=None)
    if not tuned.benign and not base.benign:  # none was asked
        limits = replace(limits, min_benign=None)
    benign = None if limits.min_benign is None else Benign(tuned.benign, base.benign, UNTUNED, "ringfence audit")
    return gate(tuned.responses, limits, base=base.responses, benign=benign)


def write_audit(
    audited: Sequence[Audited], asked: Asked, limits: Limits, out: Path, without: Sequence[str] = ()
) -> Path:
    """``audit.json``: what was asked and not, the limits, and verdict and reasons of every fine-tune."""
    rows = [
        {
            "name": one.subject.name,
            "kind": one.subject.kind,
            "base": one.subject.base,
            "run": str(one.run),
            "compared_with_base": one.compared,
            "verdict": one.verdict,
            **one.gate.as_dict(),
        }
        for one in audited
    ]
    about = {"data": asked.data, "judge": dict(asked.judge), "samples": asked.samples, **asdict(asked.scope)}
    found = {"asked": about, "left_out": list(without), "limits": asdict(limits), "audited": rows}
    write_json(out / AUDIT_FILE, found)
    return out / AUDIT_FILE
