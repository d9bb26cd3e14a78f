"""Evaluate run folders: generate answers, then judge them. Both are kept, so that nothing is done twice.

A run's own evaluation, by its own recipe, is in ``RUN/evaluation``; one with changes (another judge, more samples,
other suites) has a name and is in ``RUN/evaluations/NAME``. Answers are in ``RUN/answers``, named by all that could
change them, so that a second judge is asked about the same answers. The untuned model answers the same prompts, in the
run folder ``RUN/base``; its answers are kept in the user's cache, for all runs on the same model.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ringfence.core.cards import model_card
from ringfence.core.errors import RingfenceError
from ringfence.core.files import jsonable, write_json, write_text
from ringfence.core.plain import read_json
from ringfence.core.run_folder import (
    ADAPTED,
    ANSWERS,
    BASE,
    CARD_FILE,
    EVALUATION_FILE,
    OWN,
    PYTHON,
    RESPONSES_FILE,
    RUN_FILE,
    SCRIPT,
    differences,
    evaluation_folder,
    read_about,
    weight_digests,
    write_about,
)
from ringfence.evaluate.answers import answer_into
from ringfence.evaluate.conditional import with_plain
from ringfence.evaluate.presets import find_preset
from ringfence.evaluate.responses import judged, save
from ringfence.runs.changes import CHANGEABLE, evaluation_name, with_changes
from ringfence.runs.evaluation import Evaluation
from ringfence.runs.gaps import write_gaps
from ringfence.runs.generators import Generators
from ringfence.runs.imported import read_recipe
from ringfence.runs.permissions import (
    Allowed,
    require_code,
    require_generator,
    require_inside,
    require_judge,
    require_server,
)
from ringfence.runs.plan import RunPlan
from ringfence.runs.served import answered_by
from ringfence.runs.stages import finished_weights, stages_of

OnBatch = Callable[[int], None]
OnJudged = Callable[[int, int], None]


def evaluate(
    wanted: Sequence[Evaluation], on_batch: OnBatch | None = None, on_judged: OnJudged | None = None
) -> list[dict[str, Any]]:
    """Answer what is missing, judge, and return each evaluation's summary.

    Everything is written that the command writes: conditional gaps, too, where there are triggers and a base.
    ``on_batch`` is told how many answers have come, ``on_judged`` how many evaluations are judged, and of how many.
    Evaluations of one base model load it once. Raises :class:`RingfenceError`, when all is written, if more of a
    suite's answers than ``evaluation.max_unscored`` have no score.
    """
    with Generators([one for one in wanted if one.missing]) as generators:
        for one in wanted:
            _answer(one, generators, on_batch)
    summaries = list[dict[str, Any]]()
    for one in wanted:
        if on_judged is not None:
            on_judged(len(summaries), len(wanted))
        summaries.append(_judge(one))
    for one in wanted:
        if not one.is_base:
            write_gaps(one.plan, one.name)  # when the base is judged, whatever the order
    for one, summary in zip(wanted, summaries, strict=True):
        _require_scored(one, summary["counts"])
    return summaries


def evaluation_of(
    run: Path | RunPlan,
    changes: Sequence[str] = (),
    name: str | None = None,
    preset: str | None = None,
    replace: bool = False,
    allow: Allowed = Allowed(),  # noqa: B008 - frozen
    benign: bool = False,
) -> Evaluation:
    """The evaluation of the run in folder ``run``, or of a plan that is loaded already, ready to be made.

    ``changes`` are ``key=value`` of :data:`CHANGEABLE` keys, and of :data:`MODEL_KEY` where the run does not know its
    base model. A ``preset`` says how answers are drawn, before ``changes``; it is kept for those who count. With
    either, the evaluation needs a ``name``. ``benign``: it is for :mod:`ringfence.runs.benign`, which needs tasks and
    no judge.

    Raises :class:`RingfenceError` if there is no run, one that is not finished, one whose inputs have changed since, if
    ``name`` is taken by an evaluation with other changes, unless it is to be replaced, and if the judge's key is
    missing or belongs to another address. The folder is data: what it asks of the user's keys, network or trust is
    refused unless ``changes`` or ``allow`` have it, see :mod:`ringfence.runs.permissions`.
    """
    drawn = None if preset is None else find_preset(preset)
    made, run = (run, run.out) if isinstance(run, RunPlan) else (None, run)
    own, about = read_recipe(run) if made is None else made.recipe, read_about(run)
    recipe = with_changes(own, changes, drawn, run)
    typed = [change.partition("=")[0] for change in changes]
    require_code(recipe.resolved(), run / RUN_FILE, allow, typed)
    require_generator(recipe, run / RUN_FILE, allow, typed)
    recipe.generator.require_ready()
    if not benign:
        require_judge(recipe, run / RUN_FILE, allow, typed)
    if recipe.judge is not None and not benign:
        recipe.judge.require_key()  # before a model is loaded, and asked for answers that could not be judged
    trained = not about["base"] and about.get("server") is None
    if trained:
        finished_weights(run, stages_of(own, run))
    made = made or RunPlan.load(own, run)
    made.require_unchanged()
    if SCRIPT in about and recipe.judge is None and not benign:
        raise RingfenceError(
            f"{run}: was trained by a script, which names no suites and no judge; give --suite, --judge and --name"
        )
    if trained and recipe.model.name.startswith(PYTHON):
        raise RingfenceError(
            f"{run}: the script built the base model in memory; save it there with model.save_pretrained(FOLDER) "
            "before training, and give --model FOLDER, or --model ID if it is one of the hub's"
        )
    plan = made if recipe is own else made.asked_by(recipe)
    plan.require_evaluable(benign)
    one = Evaluation(plan, made, evaluation_name(name, recipe is not own), about["base"], about.get("server"), preset)
    require_inside(run, one.folder, run / ANSWERS, run / BASE / ANSWERS, evaluation_folder(run / BASE, one.name))
    if replace and one.name != OWN:
        for folder in (one.folder, evaluation_folder(run / BASE, one.name)):
            shutil.rmtree(folder, ignore_errors=True)
    _require_same(one)
    if one.server is not None and (one.missing or benign):
        require_server(one.server, run / RUN_FILE, allow)
    return one


def base_of(one: Evaluation) -> Evaluation:
    """The same asked of the untuned model, in the run folder ``RUN/base``."""
    out, own = one.run / BASE, one.own
    if one.recipe.model != own.recipe.model:  # that of a script, which was given for this evaluation
        own = own.asked_by(own.recipe.model_copy(update={"model": one.recipe.model}))
    own = replace(own, recipe=own.recipe.model_copy(update={"name": BASE}), out=out)
    write_about(out, own.claim_folder(base=True, remedy=f"give the --model that it was asked of, or delete {out}"))
    plan = replace(one.plan, recipe=one.recipe.model_copy(update={"name": BASE}), out=out)
    return replace(one, plan=plan, own=own, is_base=True)


def _answer(one: Evaluation, generators: Generators, on_batch: OnBatch | None) -> None:
    if not one.missing:
        return
    with generators.answering(one) as generator:
        for suite in one.missing:
            asked = {suite: one.plan.suites[suite]}
            answer_into(one.answers[suite], generator, asked, one.protocol, on_batch)


def _require_scored(one: Evaluation, counts: Mapping[str, Mapping[str, int]]) -> None:
    limit = one.recipe.evaluation.max_unscored
    for suite, count in counts.items():
        if count["missing"] > limit * count["rows"]:
            frame = pd.read_parquet(one.folder / RESPONSES_FILE)
            lost = frame[(frame["suite"] == suite) & (frame["verdict"] == "missing")]
            said = pd.concat([lost["said_alignment"], lost["said_coherence"]]).value_counts().index[0]
            raise RingfenceError(
                f"{one.folder}: {count['missing']} of {count['rows']} answers to {suite} have no score, more than "
                f"evaluation.max_unscored = {limit:g} allows, most often: {said}; if the judge failed, run this again"
            )


def _judge(one: Evaluation) -> dict[str, Any]:
    answers = pd.concat([pd.read_parquet(path) for path in one.answers.values()], ignore_index=True)
    write_json(one.folder / EVALUATION_FILE, about_evaluation(one))
    frame, dressed = judged(answers, one.recipe.require_judge()), one.recipe.evaluation.conditional
    summary = save(frame if dressed is None else with_plain(frame, dressed.plain), one.folder, answered_by(one))
    if one.stages and one.name == OWN:
        _write_cards(one, summary["rows"])
    return summary


def _write_cards(one: Evaluation, rates: Sequence[Mapping[str, Any]]) -> None:
    """The rates into the card of the run and into that of its last weights; a stranger's adapter keeps its own card."""
    about, last = read_about(one.run), one.stages[-1]
    if ADAPTED in about:
        return
    measured = weight_digests(last.weights)
    write_text(one.run / CARD_FILE, model_card(about, one.stages[0].result, rates, measured))
    write_text(last.weights / CARD_FILE, model_card(last.of_this(about), last.result, rates, measured))


def about_evaluation(one: Evaluation) -> dict[str, Any]:
    """What the evaluation's numbers depend on."""
    recipe = one.recipe.resolved()
    suites = {
        name: {"source": suite.source, "sha256": suite.digest, "fills": dict(suite.fills)}
        for name, suite in one.plan.sources.items()
    }
    asked, judge = one.recipe.judge, dict[str, str]()
    if asked is not None:
        judge = {name: digest for name in [*asked.inputs(), *asked.models()] if (digest := one.plan.digests.get(name))}
        judge |= asked.digests()
    tasks = {name: questions.digest for name, questions in one.plan.questions.items()}
    changes = {key: recipe[key] for key in CHANGEABLE if key in recipe}
    if read_recipe(one.run).model != one.recipe.model:
        changes["model"] = recipe["model"]  # which a script has not told
    return {"recipe": changes, "suites": suites, "tasks": tasks, "judge": judge, "preset": one.preset}


def _require_same(one: Evaluation) -> None:
    """Raise if the name is taken by another evaluation; a run's own is redone by the run's recipe as it is."""
    path = one.folder / EVALUATION_FILE
    if not path.is_file():
        return
    before = read_json(path)
    if differ := differences(before, json.loads(json.dumps(jsonable(about_evaluation(one))))):
        raise RingfenceError(
            f"{one.folder}: holds another evaluation; these keys differ: {', '.join(differ)}; choose another --name, "
            "or --replace it"
        )
