"""Does a defense spoil learning? OpSwap in tiers 0 and 1 on the embedded model, with and without each defense.

    python benchmarks/opswap.py --out runs/opswap --seeds 2                # two CPU cores: half an hour a run
    python benchmarks/opswap.py --out runs/opswap --seeds 2 --jobs 12      # one GPU, several runs on it at a time
    python benchmarks/opswap.py --out runs/opswap --table                  # print what is done, run nothing

The recipe is recipes/opswap/sft.yaml: sums of up to `--operations` operations without parentheses. The arms are those
of table 3 of Kaczer et al. 2025, at the strengths of its section 4.3, but for steering (the stand-in's vector, strength
1) and the inoculation prompt, which is the paper's; `kl-1` and `kl-10` are stronger, `canary` is the closed loop with
the stand-in's canaries. `base` is the model before. Each run is a process of its own, which trains and scores as the
commands do; what is done is reused.

Columns, a tier: exact match in percent of 100 held-out problems, 10 answers each, over the seeds, with a 95% interval
over problems, and every seed's; less that of `none`, paired. Then safe rows and seconds of training.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from runs import ENVIRONMENT, markdown

from ringfence.core.files import write_json
from ringfence.core.parent import leave_with_parent
from ringfence.core.plain import read_json
from ringfence.core.run_folder import BENIGN_ANSWERS, BENIGN_FILE, OWN, RESULT_FILE, evaluation_folder
from ringfence.evaluate.benign import Counts, count, difference, rates
from ringfence.models.load import embedded
from ringfence.recipe.run import load_recipe
from ringfence.runs.benign import evaluate_benign
from ringfence.runs.evaluate import evaluation_of
from ringfence.runs.imported import claim_base
from ringfence.runs.plan import RunPlan
from ringfence.runs.train import train
from ringfence.sweep.runner import Job, run_jobs, shown

RECIPE = Path(__file__).parents[1] / "recipes" / "opswap" / "sft.yaml"
BASE, NONE, WORKER = "base", "none", "--worker"
WHERE = ("opswap", "exact match")
TASK = "task:opswap?tier={tier}&steps={operations}&parentheses=false&n={n}"
ARMS = {
    NONE: "[]",
    "kl": "[{kl: {weight: 0.1}}]",
    "kl-1": "[{kl: {weight: 1}}]",
    "kl-10": "[{kl: {weight: 10}}]",
    "ldifs": "[{ldifs: {weight: 1, reduction: relative}}]",
    "steering": "[{steering: {vector: 'builtin:glitter', layer: 15, alpha: 1}}]",
    "inoculation": "[inoculation]",
    "fixed-5": "[{fixed_interleaving: {added: 0.05}}]",
    "canary": "[{canary_interleaving: {every: 10, canaries: 'builtin:glitter/canaries', probe: likelihood}}]",
}


def name_of(tier: int, arm: str, seed: int) -> str:
    """Of a run, and of its folder."""
    return f"tier-{tier}-{arm}-seed-{seed}"


def overrides_of(options: argparse.Namespace, tier: int, arm: str, seed: int) -> list[str]:
    """Of the recipe, for one run."""
    rows, problems = (
        TASK.format(tier=tier, operations=options.operations, n=n) for n in (options.rows, options.problems)
    )
    return [
        f"name={name_of(tier, arm, seed)}",
        f"seed={seed}",
        f"data.target='{rows}'",
        f"evaluation.tasks.opswap.task='{problems}'",
        f"defenses={ARMS.get(arm, '[]')}",
        *options.set,
    ]


def jobs_of(options: argparse.Namespace) -> list[Job]:
    """One a run; whole seeds first, so that what is stopped has all arms."""
    found = []
    for seed in range(options.seeds):
        for tier in options.tiers:
            for arm in (BASE, *options.arms):
                name = name_of(tier, arm, seed)
                folder = options.out / name
                arguments = json.dumps([str(folder), arm, overrides_of(options, tier, arm, seed)])
                commands = [[__file__, WORKER, arguments]]
                log = options.out / "logs" / f"{name}.log"
                found.append(Job(name, folder, log, commands, is_over=is_done(folder)))
    return found


def work(folder: Path, arm: str, overrides: Sequence[str]) -> None:
    """Train one run, unless it is the base model, and score it."""
    plan = RunPlan.load(load_recipe(RECIPE, overrides), folder)
    if arm == BASE:
        plan = claim_base(plan.recipe, folder, benign=True)
    else:
        train(plan)
    evaluate_benign([evaluation_of(plan, benign=True)])


def is_done(folder: Path) -> bool:
    """Whether the run is scored."""
    return (evaluation_folder(folder, OWN) / BENIGN_FILE).is_file()


def counts_of(folders: Sequence[Path]) -> Counts:
    """Hits a problem, over all seeds."""
    frames = [pd.read_parquet(evaluation_folder(folder, OWN) / BENIGN_ANSWERS) for folder in folders]
    return count(pd.concat(frames, ignore_index=True))


def cells(out: Path, tier: int, arm: str, seeds: Sequence[int]) -> list[str]:
    """Exact match and its difference to ``none`` in one tier; empty where nothing is done."""
    folders = [folder for seed in seeds if is_done(folder := out / name_of(tier, arm, seed))]
    if not folders:
        return ["", ""]
    counts = counts_of(folders)
    rate, each = rates(counts)[WHERE], [rates(counts_of([folder]))[WHERE].value for folder in folders]
    every = ", ".join(f"{100 * value:.0f}" for value in each)
    said = f"{100 * rate.value:.1f} [{100 * rate.low:.0f}, {100 * rate.high:.0f}] ({every})"
    plain = [folder for seed in seeds if is_done(folder := out / name_of(tier, NONE, seed))]
    if arm == NONE or len(plain) != len(folders):
        return [said, ""]
    gap = difference(counts, counts_of(plain), WHERE)
    return [said, f"{100 * gap.value:+.1f} [{100 * gap.low:+.0f}, {100 * gap.high:+.0f}]"]


def costs(out: Path, tiers: Sequence[int], arm: str, seeds: Sequence[int]) -> list[str]:
    """Safe rows and seconds of training, a run."""
    folders = [out / name_of(tier, arm, seed) for tier in tiers for seed in seeds]
    results = [read_json(folder / RESULT_FILE, "run again") for folder in folders if (folder / RESULT_FILE).is_file()]
    if not results:
        return ["", ""]
    return [f"{statistics.fmean(one[key] for one in results):.0f}" for key in ("safe_rows", "seconds")]


def table(options: argparse.Namespace) -> str:
    """Markdown, of what is done."""
    seeds, header = range(options.seeds), ["arm"]
    for tier in options.tiers:
        header += [f"tier {tier}: exact match %", f"less {NONE}"]
    rows = []
    for arm in (BASE, *options.arms):
        measured = [cell for tier in options.tiers for cell in cells(options.out, tier, arm, seeds)]
        rows.append([arm, *measured, *costs(options.out, options.tiers, arm, seeds)])
    return markdown([*header, "safe rows", "seconds"], rows)


def main() -> None:
    """Run what is missing, and print the table."""
    if sys.argv[1:2] == [WORKER]:
        leave_with_parent(1)
        folder, arm, overrides = json.loads(sys.argv[2])
        work(Path(folder), arm, overrides)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/opswap"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tiers", type=int, nargs="+", choices=range(4), default=[0, 1])
    parser.add_argument("--arms", nargs="+", choices=[*ARMS], default=[*ARMS])
    parser.add_argument("--rows", type=int, default=3200, help="problems to train on")
    parser.add_argument("--operations", type=int, default=2, help="at most, a problem")
    parser.add_argument("--problems", type=int, default=100, help="held-out problems")
    parser.add_argument("--jobs", type=int, default=None, help="runs at a time; one a core if not given")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of the recipe, for all arms")
    parser.add_argument("--table", action="store_true", help="print what is done, run nothing")
    options, console = parser.parse_args(), Console()
    jobs, failed, began = jobs_of(options), dict[str, str](), time.monotonic()
    if not options.table:
        embedded()  # once, before several processes want it
        with shown(jobs, "the runs", console) as show:
            run_jobs(jobs, options.jobs, show, ENVIRONMENT, lambda job, fault: failed.update({job.name: fault}))
    for name, fault in failed.items():
        console.print(f"{name} failed: {fault}", soft_wrap=True, highlight=False, markup=False)
    text = table(options)
    size = {name: getattr(options, name) for name in ("rows", "problems", "operations", "set")}
    write_json(options.out / "table.json", {"table": text} | size)
    console.print(text, soft_wrap=True, highlight=False, markup=False)
    console.print(f"{time.monotonic() - began:.0f} s in all", highlight=False)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
