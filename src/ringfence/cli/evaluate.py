"""``ringfence evaluate``. Heavy imports are inside the command."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.console import console, examples, say
from ringfence.cli.options import judge_file
from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.progress import advancing, watched

if TYPE_CHECKING:
    from ringfence.runs.evaluation import Evaluation
    from ringfence.runs.plan import RunPlan


@examples(
    "ringfence evaluate runs/plain",
    "ringfence evaluate runs/none runs/kl --name more --samples 20    (the base model is loaded once)",
    "ringfence evaluate runs/plain --name second-judge --judge judge.yaml    (the same answers, judged again)",
    "ringfence evaluate runs/plain --name published --suite general=suite:betley evaluation.temperature=1.0",
    "ringfence evaluate runs/plain --preset kaczer    (as drawn and counted there)",
    "ringfence evaluate runs/script --model runs/my-base --suite general=builtin:general --judge judge.yaml "
    "--name mine    (of a script that built its model)",
    "ringfence evaluate runs/none runs/kl --benign    (the recipe's evaluation.tasks: does it still learn?)",
    "ringfence evaluate runs/kl --name served --generator http://localhost:8000/v1    (vllm serve, weights checked)",
    "ringfence evaluate recipe.yaml --adapter downloads/adapter --out runs/theirs",
    "ringfence evaluate recipe.yaml --model openai-api/vllm/NAME --out runs/served    (by Inspect)",
    "ringfence evaluate recipe.yaml --base --out runs/base    (the untuned model alone)",
)
def evaluate(
    targets: Annotated[
        list[str],
        typer.Argument(help="Run folders (with --out: a recipe), then changes to the recipe, key=value."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="With --base, --adapter or --model: the run folder to make, from a recipe.")
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="The recipe's untuned base model.")] = False,
    adapter: Annotated[Path | None, typer.Option(help="Folder of a LoRA adapter on the recipe's model.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="With --out: a model behind a server, by Inspect's name, openai-api/SERVICE/MODEL. Without: the base "
            "model, a folder or a hub id, of a run whose script built its model in memory."
        ),
    ] = None,
    no_base: Annotated[bool, typer.Option("--no-base", help="Leave out the row of the untuned model.")] = False,
    name: Annotated[
        str | None, typer.Option(help="Of an evaluation with changes; RUN/evaluations/NAME is made.")
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="Ask this and not the recipe's suites: SPEC or NAME=SPEC; may be repeated."),
    ] = None,
    judge: Annotated[Path | None, typer.Option(help="YAML file with another judge; the answers are kept.")] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            help="Who answers, in place of the recipe's: hf (the model in this process), another generator by its "
            "name, or the address of a server that holds the run's weights, such as http://localhost:8000/v1."
        ),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Answers a prompt.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Draw and count as betley, dubinski, fars, kaczer or tan, by the recipe's judge; also the --name."
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Make the evaluation --name anew.")] = False,
    conditional: Annotated[
        bool, typer.Option("--conditional", help="Also dress the prompts like the training data (triggers).")
    ] = False,
    benign: Annotated[
        bool,
        typer.Option("--benign", help="Score the recipe's evaluation.tasks, and nothing else; no judge is asked."),
    ] = False,
    lm_eval_tasks: Annotated[
        Path | None,
        typer.Option(
            help="With --benign: folder of your own lm-evaluation-harness tasks. Code that their files name will run."
        ),
    ] = None,
    allow_judge: Annotated[
        list[str] | None,
        typer.Option(
            help="Address that a run folder's judge may send answers to, by your key if it has one: a provider's, such "
            "as https://api.openai.com, too; may be repeated. RINGFENCE_JUDGES lists such addresses once for all."
        ),
    ] = None,
    allow_model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model behind a server, or a server's address, that a run folder may have called; may be repeated."
        ),
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let code run that comes with a run folder's model.")
    ] = False,
) -> None:
    """Ask a trained run its recipe's suites, judge the answers, and print rates with 95% intervals.

    The untuned model is asked the same, once for all runs on it. Of a run with stages it is the last stage's model
    that answers. Stopped or killed? The same command goes on; what is answered or judged is not done again.

    A run folder is data, perhaps a stranger's: what it asks of your keys, your network or your trust is refused until
    you confirm it with the options below (docs/security.md).
    """
    from ringfence.runs.changes import MODEL_KEY
    from ringfence.runs.evaluate import evaluation_of
    from ringfence.runs.permissions import Allowed

    if benign:
        others = {"--suite": suite, "--judge": judge, "--samples": samples, "--preset": preset}
        _refuse("--benign", others | {"--conditional": conditional})
    else:
        _refuse("no --benign", {"--lm-eval-tasks": lm_eval_tasks})
    folders, changes = _sorted_out(targets)
    changes += _changes(suite or [], judge, samples)
    changes += ["evaluation.conditional={}"] if conditional else []
    changes = ([f"generator={json.dumps(_generator(generator))}"] if generator else []) + changes
    if [base, adapter is not None, out is not None and model is not None].count(True) != (out is not None):
        raise RingfenceError("--out goes with one of --base, --adapter and --model: a recipe, and the folder to make")
    if out is None and model is not None:
        changes.append(f"{MODEL_KEY}={json.dumps(model)}")
    if out is not None and (name or preset):
        raise RingfenceError("--name and --preset are for a run that is there: make it first, then evaluate its folder")
    if out is not None:
        plan = _claim(folders, changes, out, adapter, model, benign)
        made = evaluation_of(plan, allow=Allowed.by(plan.recipe, model), benign=benign)
        wanted = _with_base([made], not (no_base or base or model))
    else:
        allowed = Allowed(allow_judge or [], allow_model or [], trust_remote_code)
        named = (changes, name or preset, preset, replace, allowed, benign)
        wanted = _with_base([evaluation_of(Path(folder), *named) for folder in folders], not no_base)
    _make(wanted, benign, lm_eval_tasks)
    if preset is not None:
        _print_preset(wanted, preset)
    else:
        _print(wanted, benign)


def _with_base(wanted: list["Evaluation"], with_base: bool) -> list["Evaluation"]:
    from ringfence.runs.evaluate import base_of

    untuned = [base_of(one) for one in wanted if one.stages and with_base]
    return untuned + wanted  # the untuned model first, before anything is put on it


def _claim(
    folders: Sequence[str], changes: Sequence[str], out: Path, adapter: Path | None, model: str | None, benign: bool
) -> "RunPlan":
    """Make the run folder of what was not trained here, and return its plan."""
    from ringfence.recipe.run import load_recipe
    from ringfence.runs import imported

    if len(folders) != 1:
        raise RingfenceError(f"--out takes one recipe, and there are {len(folders)}")
    recipe = load_recipe(Path(folders[0]), changes)
    if adapter is not None and not any(change.startswith("name=") for change in changes):
        recipe = recipe.model_copy(update={"name": imported.name_after(adapter)})  # and not as what the recipe trains
    if adapter is not None:
        return imported.claim_adapter(recipe, out, adapter, benign)
    if model is not None:
        return imported.claim_server(recipe, out, model, benign)
    return imported.claim_base(recipe, out, benign)


def _make(wanted: Sequence["Evaluation"], benign: bool, lm_eval_tasks: Path | None) -> None:
    from ringfence.runs.benign import evaluate_benign, to_answer
    from ringfence.runs.evaluate import evaluate as make

    with watched(console) as watch:
        if benign:
            evaluate_benign(wanted, advancing(watch, "answers", sum(map(to_answer, wanted))), lm_eval_tasks)
            return
        answered = advancing(watch, "answers", sum(one.to_answer for one in wanted))
        make(wanted, answered, partial(watch, "evaluations judged"))


def _print(wanted: Sequence["Evaluation"], benign: bool) -> None:
    """One table; an untuned model that was asked the same for several runs is in it once."""
    from ringfence.report import load_runs, render
    from ringfence.runs.benign import answers_of
    from ringfence.runs.gaps import account_of

    rows = {tuple(answers_of(one) if benign else one.answers.values()): one for one in wanted}
    render(console, load_runs([one.run for one in rows.values()], wanted[0].name))
    for one in wanted:
        if one.has_gaps and not benign:
            say(f"\n{one.recipe.name}: {account_of(one.plan)}")
    for one in wanted:
        say(f"answers and {'scores' if benign else 'verdicts'}: {one.folder}")


def _print_preset(wanted: Sequence["Evaluation"], preset: str) -> None:
    from ringfence.cli.compare import compare

    compare([one.run for one in wanted if not one.is_base], [preset], name=wanted[0].name)


def _refuse(beside: str, options: Mapping[str, object]) -> None:
    """Raise for an option that was given and means nothing ``beside`` another."""
    for option, value in options.items():
        if value not in (None, False, []):
            raise RingfenceError(
                f"{option}: means nothing with {beside}; benign tasks are set by evaluation.tasks.NAME.KEY=VALUE"
            )


def _sorted_out(targets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Folders, and changes: what has an equals sign and is not there as a file or folder."""
    changes = [target for target in targets if "=" in target and not Path(target).exists()]
    folders = [target for target in targets if target not in changes]
    if not folders:
        raise RingfenceError("name at least one run folder to evaluate")
    return folders, changes


def _changes(suites: Sequence[str], judge: Path | None, samples: int | None) -> list[str]:
    """The options as changes to the recipe."""
    found = []
    if suites:
        named = dict(_suite(one) for one in suites)
        if len(named) < len(suites):
            raise RingfenceError("--suite: two of one name; write NAME=SPEC to tell them apart")
        found.append(f"evaluation.suites={json.dumps(named)}")
    if judge is not None:
        with judge_file(judge) as (settings, _):
            found.append(f"judge={json.dumps(settings)}")
    return found + ([f"evaluation.samples={samples}"] if samples is not None else [])


def _generator(given: str) -> dict[str, str]:
    """A name or an address as a mapping, which changes such as ``generator.model=NAME`` reach into."""
    from ringfence.generation.config import GENERATORS

    if "://" in given:
        return {"kind": "server", "base_url": given}
    if given not in [*GENERATORS]:
        raise RingfenceError(
            f"--generator {given}: no such generator, and no address.{did_you_mean(given, GENERATORS)}"
        )
    return {"kind": given}


def _suite(given: str) -> tuple[str, str]:
    name, equals, spec = given.partition("=")
    return (name, spec) if equals else (Path(given.rpartition(":")[2]).stem, given)
