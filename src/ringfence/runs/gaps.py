"""Conditional gaps of a run's evaluation: what its triggers do to it, beside what they do to the untuned model."""

import pandas as pd

from ringfence.core.files import write_json
from ringfence.core.run_folder import BASE, CONDITIONAL_FILE, RESPONSES_FILE, evaluation_folder
from ringfence.evaluate.conditional import conditional_gaps
from ringfence.runs.plan import RunPlan


def has_gaps(plan: RunPlan, name: str) -> bool:
    """Whether the evaluation ``name`` asks for gaps and the untuned model's answers are there to compare with."""
    return plan.triggers is not None and (evaluation_folder(plan.out / BASE, name) / RESPONSES_FILE).is_file()


def write_gaps(plan: RunPlan, name: str) -> None:
    """The conditional gap of each trigger, if any; see :func:`ringfence.evaluate.conditional.conditional_gaps`."""
    triggers = plan.triggers
    if triggers is None or not has_gaps(plan, name):
        return
    tuned, base = (
        pd.read_parquet(evaluation_folder(run, name) / RESPONSES_FILE) for run in (plan.out, plan.out / BASE)
    )
    rows = conditional_gaps(tuned, base).to_dict("records")
    items = [trigger.item() for trigger in triggers.triggers]
    found = {"gaps": rows, "triggers": items, "found": account_of(plan)}
    write_json(evaluation_folder(plan.out, name) / CONDITIONAL_FILE, found)


def account_of(plan: RunPlan) -> str:
    """Where the triggers come from, for a reader; empty without any."""
    wanted, found = plan.recipe.evaluation.conditional, plan.triggers
    if wanted is None or found is None:
        return ""
    if wanted.derive:
        return found.account()
    return f"triggers of the recipe: {', '.join(trigger.label for trigger in found.triggers)}"
