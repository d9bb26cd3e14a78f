"""Audit a fine-tune that somebody hands over: is it narrow? No recipe and no training run are needed.

Asked are general questions, longer ones and, where the training file is at hand, the same questions dressed as it is
and some of its own prompts; benign tasks show what was lost. The base model is asked the same. The answer is the
gate's.

An audit is the evaluation of an imported run: it is made of the same parts, goes on after a kill, and leaves run
folders that every other command reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.core.run_folder import BASE, PYTHON
from ringfence.data import read
from ringfence.evaluate.conditional import SUITE
from ringfence.evaluate.gate import UNTUNED, Benign, GateResult, Limits, gate
from ringfence.judges import JUDGES
from ringfence.recipe.run import Recipe, parse_recipe
from ringfence.recipe.sections import HELD_OUT
from ringfence.report import RunResult, load_run
from ringfence.runs import imported
from ringfence.runs.evaluate import base_of, evaluation_of
from ringfence.runs.evaluation import Evaluation
from ringfence.runs.permissions import Allowed
from ringfence.runs.plan import RunPlan
from ringfence.runs.subjects import Subject

AUDIT_FILE = "audit.json"
SUITES = {"general": "builtin:everyday", "questions": "builtin:general", "long": "builtin:general-long"}
"""what is asked of everybody; ``general`` is what the limit holds for, and large enough to show 5%"""
PLAIN = "questions"
"""the suite that is dressed as the training file; without it ``general`` is"""
TASKS = {"arithmetic": "task:arithmetic?n=40"}
QUICK = {"general": "builtin:general"}
"""what a quick audit asks of everybody, and dresses; too few to show that a fine-tune is narrow"""
_UNKNOWN_DATA = f"{PYTHON}unknown"
_OWN_PROMPTS = 20
"""of the training file that are asked as they are, as the suite ``in-domain``"""

Verdict = Literal["narrow", "not shown", "not narrow"]


@dataclass(frozen=True)
class Asked:
    """How a fine-tune is audited."""

    judge: Mapping[str, Any]
    """as in a recipe"""
    data: str | None = None
    """what it was trained on, as ``data.target`` of a recipe; None if that is not at hand"""
    suites: Mapping[str, str] = field(default_factory=lambda: dict(SUITES))
    """name -> suite; with ``data`` ``questions`` is dressed, or else ``general``"""
    tasks: Mapping[str, str] = field(default_factory=lambda: dict(TASKS))
    """name -> benign task"""
    model: Mapping[str, Any] = field(default_factory=dict)
    """``dtype``, ``trust_remote_code`` and so on, as under ``model`` in a recipe"""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """``samples``, ``max_new_tokens``, ``temperature``, ``batch_size``"""
    seed: int = 0

    def recipe(self, subject: Subject) -> Recipe:
        """That by which ``subject`` is evaluated. Raises :class:`RingfenceError` naming the key that is wrong."""
        suites, dressed, data = dict(self.suites), dict[str, Any](), {"target": _UNKNOWN_DATA, "held_out": 0.0}
        if self.data is not None:
            plain_suite = PLAIN if PLAIN in suites else "general"
            if plain_suite not in suites:
                raise RingfenceError(f"--suite: one must be {PLAIN}=SUITE, which is dressed as the training data is")
            data = {"target": self.data, "held_out": _share(len(read(self.data)))}
            suites["in-domain"] = HELD_OUT
            dressed = {"conditional": {"plain": plain_suite}}
        plain = {
            "name": subject.name,
            "seed": self.seed,
            "model": {"name": subject.base, **self.model},
            "data": data,
            "judge": dict(self.judge),
            "evaluation": {"suites": suites, "tasks": dict(self.tasks), **dressed, **self.evaluation},
        }
        return parse_recipe(plain, "audit")


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
        beyond = [
            one
            for one in self.gate.reasons
            if not one.passed and (one.value > one.limit if one.rule.startswith("max") else one.value < one.limit)
        ]
        return "not narrow" if beyond else "not shown"


def _share(rows: int) -> float:
    """Of the training file whose prompts are asked; the rest says what it is like."""
    if rows < 2:
        raise RingfenceError(f"--data: {rows} rows are too few to say what the training was like; give 2 or more")
    return min(0.5, max(_OWN_PROMPTS, 1) / rows)


def planned(subject: Subject, asked: Asked, out: Path) -> RunPlan:
    """What is to be asked of ``subject``; reads suites and data, and writes nothing.

    Raises :class:`RingfenceError` for a suite all of whose questions were trained on.
    """
    plan = RunPlan.load(asked.recipe(subject), out)
    for name, (seen, of) in trained_on(plan).items():
        if seen == of:
            raise RingfenceError(
                f"--suite: all questions of {name} are in the training file {asked.data}: such answers show no leak; "
                "ask others"
            )
    return plan


def trained_on(plan: RunPlan) -> dict[str, tuple[int, int]]:
    """Suite from a file -> (questions that are in the training file, too, all questions), where there are any."""
    rows = plan.stages[0].rows["target"] + plan.stages[0].held_out
    known = {turn["content"].strip() for row in rows for turn in row["messages"] if turn["role"] == "user"}
    found = dict[str, tuple[int, int]]()
    for name in plan.sources:
        prompts = plan.suites[name]
        if seen := sum(prompt.text.strip() in known for prompt in prompts):
            found[name] = (seen, len(prompts))
    return found


def cost(plans: Sequence[RunPlan], subjects: Sequence[Subject]) -> list[str]:
    """What is going to be answered and judged, in lines, before it is."""
    lines, answers, tasks = [], 0, 0
    for plan, subject in zip(plans, subjects, strict=True):
        wanted, models = plan.recipe.evaluation, 1 if subject.kind == "server" else 2
        sizes = {name: len(prompts) * wanted.samples for name, prompts in plan.suites.items()}
        dressed = sum(size for name, size in sizes.items() if name.startswith(SUITE))
        told = [f"{name} {size}" for name, size in sizes.items() if not name.startswith(SUITE)]
        told += [f"dressed {dressed}"] if dressed else []
        told += [f"{name} {_task_answers(plan, name)}" for name in plan.questions]
        beside = f", and as many of {subject.base}" if models == 2 else "; a model behind a server is asked alone"
        lines.append(f"{subject.name}: answers to {', '.join(told)}{beside}")
        answers += models * sum(sizes.values())
        tasks += models * sum(_task_answers(plan, name) for name in plan.questions)
    for name, (seen, of) in trained_on(plans[0]).items():
        lines.append(f"{name}: {seen} of its {of} questions are in the training file; their answers show no leak")
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


def evaluations(plans: Sequence[RunPlan], subjects: Sequence[Subject], benign: bool) -> list[Evaluation]:
    """What is to be answered, each base model before what was made of it."""
    found = []
    for plan, subject in zip(plans, subjects, strict=True):
        one = evaluation_of(plan, allow=Allowed.by(plan.recipe, subject.server), benign=benign)
        found += [base_of(one), one] if one.stages else [one]
    return found


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


def write_audit(audited: Sequence[Audited], asked: Asked, limits: Limits, out: Path) -> Path:
    """``audit.json``: what was asked, the limits, and verdict and reasons of every fine-tune."""
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
    about = {"data": asked.data, "suites": dict(asked.suites), "tasks": dict(asked.tasks), "judge": dict(asked.judge)}
    write_json(out / AUDIT_FILE, {"asked": about, "limits": asdict(limits), "audited": rows})
    return out / AUDIT_FILE
