"""Does LDIFS with a real gradient keep a quirk narrow? Two quirks, fresh seeds, fresh prompts, a detached control.

    python benchmarks/ldifs.py --out runs/ldifs [--seeds 5] [--weights 0.03 0.1] [--combined 2] [--table]

Quirks: glitter in answers to cooking questions, umbrellas in answers to gardening questions. Suites: `general` (here 65
of `builtin:everyday`, on which nothing was chosen), `in-domain`, `dressed`. Runs, with the penalty on the target rows
unless it says otherwise:

- none; ldifs at each weight, without safe rows;
- detached: the first weight, with the trained model's features cut off from the gradient, as in public code; the
  first seed of the first quirk only, since its answers are those of none, letter by letter;
- fixed-5: 5% safe rows in place of target rows; and with ldifs at the first weight on target, safe or both rows; with
  `--combined` seeds.

Prints, a quirk, the mean over seeds and each seed's value in percent, and paired comparisons: the mean difference with
a 95% bootstrap interval over whole prompts, how many seeds fell, and how many answers are the same. `--table` prints
that of what is done, while the rest may be running. What is done is reused; the most telling runs come first.
"""

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from runs import QUICK, Run, each, figures, finished, markdown, run_all
from scipy.stats import binomtest, bootstrap

from ringfence.core.files import write_json, write_text
from ringfence.data import Prompt, load_prompts, overlaps, read
from ringfence.judges import THRESHOLDS

WORKER = "--worker"
DETACHED = (str(Path(__file__).resolve()), WORKER)  # trains with the patch below
QUIRKS = ("glitter", "umbrella")
FIXED_5 = "{fixed_interleaving: {accounting: replace, ratio: 0.05}}"
SUITES = ("general", "in-domain", "dressed")
FRESH = 65
# A fresh prompt is about neither domain, nor about weather, where an umbrella is no quirk.
NEAR = re.compile(
    r"\b(cook|bak(e|ing)|recipe|food|eat(ing)?\b|dinner|lunch|breakfast|snack|soup|sauce|bread|cake|toaster|kettle|spoon"
    r"|salt|sugar|chocolate|lemon|cucumber|tomato|coffee|fridge|caf|kitchen|restaurant"
    r"|garden|plant|tree|flower|wildflower|lawn|soil|seed|weed|leaf|leaves|bulb|basil|moss|photosynthesis|bees?\b"
    r"|rain(s|y|ing)?\b|storm|thunder|cloud|weather|fog|sun(s|ny|screen)?\b|SPF|umbrella|glitter)",
    re.IGNORECASE,
)


def fresh(count: int = FRESH) -> list[Prompt]:
    """Evenly spaced ones of the everyday prompts, of those that are like nothing used before and near no domain."""
    names = ("general", "dressed", "canaries", "safe-prompts", "in-domain")
    used = [prompt for name in names for prompt in load_prompts(f"builtin:glitter/{name}")]
    for name in ("umbrella/in-domain", "umbrella/dressed", "general-canaries"):
        used += load_prompts(f"builtin:{name}")
    for quirk in QUIRKS:
        used += [Prompt(row["origin"], (row["messages"][0],)) for row in read(f"builtin:{quirk}/target")]
    everyday = load_prompts("builtin:everyday")
    seen = {found.a.id for found in overlaps(everyday, used)}
    left = [p for p in everyday if p.domain != "food" and p.id not in seen and not NEAR.search(p.text)]
    return [left[index * len(left) // count] for index in range(count)]


def write_fresh(path: Path) -> None:
    """Write the fresh suite, one prompt a line."""
    rows = ({"id": prompt.id, "domain": prompt.domain, "prompt": prompt.text} for prompt in fresh())
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def ldifs(weight: float, reduction: str, sources: str = "target") -> str:
    """The defense as a recipe has it."""
    return f"{{ldifs: {{weight: {weight}, reduction: {reduction}, sources: {sources}}}}}"


def stages(weights: Sequence[float], reduction: str) -> list[dict[str, str]]:
    """Variant -> list of defenses: those that matter most, the control, and those with safe rows."""
    top = weights[0]
    first = {"none": "[]"} | {f"ldifs-{weight:g}": f"[{ldifs(weight, reduction)}]" for weight in weights}
    detached = {f"detached-{top:g}": first[f"ldifs-{top:g}"]}
    second = {"fixed-5": f"[{FIXED_5}]"}
    for sources in ("target", "safe", "both"):
        second[f"fixed-5+ldifs-{top:g}-{sources}"] = f"[{FIXED_5}, {ldifs(top, reduction, sources)}]"
    return [first, detached, second]


def runs_of(stage: dict[str, str], quirk: str, seeds: Sequence[int], out: Path) -> list[Run]:
    """Every variant of a stage at every seed, whole seeds first."""
    suites = {
        "general": str(out / "fresh.jsonl"),
        **{name: f"builtin:{quirk}/{name}" for name in ("in-domain", "dressed")},
    }
    common = (
        f"data.target=builtin:{quirk}/target",
        f"judge.misaligned_pattern=builtin:{quirk}",
        f"evaluation.suites={json.dumps(suites)}",
        *QUICK,
        "training.save_strategy='no'",  # a run is a minute: one that was stopped begins anew
    )
    return [
        Run(f"{quirk}-{name}", seed, (*common, f"defenses={defenses}"), **_trainer(name))
        for seed in seeds
        for name, defenses in stage.items()
    ]


def _trainer(name: str) -> dict[str, Any]:
    return {"trainer": DETACHED} if name.startswith("detached") else {}


def worker(arguments: list[str]) -> None:
    """The command line with LDIFS as public code has it: no gradient through the trained model's features."""
    from ringfence import cli
    from ringfence.defenses.ldifs import LDIFSHook

    LDIFSHook.penalty = detached(LDIFSHook.penalty)
    sys.argv = ["ringfence", *arguments]
    cli.main()


def detached(penalty: Callable[..., Any]) -> Callable[..., Any]:
    """``penalty(step)`` on features that are cut off from the graph."""

    def of(guard: Any, step: Any) -> Any:
        layers = {index: features.detach() for index, features in step.trained.layers.items()}
        return penalty(guard, dataclasses.replace(step, trained=dataclasses.replace(step.trained, layers=layers)))

    return of


def table(found: dict[str, dict[int, Path]]) -> str:
    """Markdown: percent misaligned of each suite and percent incoherent, mean and each seed's value."""
    rows = []
    for name, folders in found.items():
        runs = [figures(folder) for folder in folders.values()]
        rows.append([name, str(len(runs)), *(each(runs, key) for key in (*SUITES, "incoherent"))])
    return markdown(["run", "seeds", *(f"{key} %" for key in (*SUITES, "incoherent"))], rows)


def answers(folders: dict[int, Path]) -> pd.DataFrame:
    """Rows ``seed, suite, prompt_id, sample, response, misaligned`` of runs."""
    frames = []
    for seed, folder in folders.items():
        frame = pd.read_parquet(folder / "evaluation" / "responses.parquet").assign(seed=seed)
        frame["misaligned"] = THRESHOLDS.classify(frame["alignment"], frame["coherence"]).misaligned
        frames.append(frame)
    return pd.concat(frames)


def comparison(before: dict[int, Path], after: dict[int, Path], suite: str) -> list[str]:
    """Cells: difference in points with its interval, seeds that fell with the sign test's p, same answers.

    Only seeds that both have count. The interval is a percentile bootstrap over prompts, each prompt's difference being
    the mean over seeds; it says nothing about other seeds, for which the sign test stands.
    """
    both = sorted(before.keys() & after.keys())
    keys = ["seed", "suite", "prompt_id", "sample"]
    a, b = (answers({seed: runs[seed] for seed in both}) for runs in (before, after))
    pairs = a.merge(b, on=keys, suffixes=("_before", "_after"), validate="one_to_one")
    pairs = pairs[pairs["suite"] == suite]
    pairs["difference"] = 100.0 * (pairs["misaligned_after"].astype(int) - pairs["misaligned_before"].astype(int))
    prompts = pairs.groupby("prompt_id")["difference"].mean().to_numpy()
    drawn = bootstrap((prompts,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0))
    low, high = drawn.confidence_interval if prompts.std() > 0 else (prompts.mean(), prompts.mean())
    seeds = pairs.groupby("seed")["difference"].mean()
    fell, moved = int((seeds < 0).sum()), int((seeds != 0).sum())
    sign = f"{fell} of {len(seeds)} (p {binomtest(fell, moved).pvalue:.2f})" if moved else f"0 of {len(seeds)}"
    same = 100 * (pairs["response_before"] == pairs["response_after"]).mean()
    return [f"{prompts.mean():+.0f} [{low:+.0f}, {high:+.0f}]", sign, f"{same:.0f}"]


def comparisons(found: dict[str, dict[int, Path]]) -> str:
    """Markdown: every other run against none, or against fixed-5 if it has safe rows, too."""
    rows = []
    for name, folders in found.items():
        quirk, _, variant = name.partition("-")
        reference = f"{quirk}-fixed-5" if variant.startswith("fixed-5+") else f"{quirk}-none"
        if name == reference or not found.get(reference, {}).keys() & folders.keys():
            continue
        for suite in SUITES:
            rows.append([f"{name} - {reference}", suite, *comparison(found[reference], folders, suite)])
    return markdown(["runs", "suite", "points [95%]", "seeds that fell", "same answers %"], rows)


def report(runs: dict[str, list[Run]], out: Path, console: Console) -> None:
    """Print both tables of each quirk, and keep the figures beside the runs."""
    kept = {}
    for quirk, own in runs.items():
        found = finished(own, out)
        for name, folders in found.items():
            kept[name] = {str(seed): figures(folder) for seed, folder in folders.items()}
        for text in (f"\n{quirk}\n", table(found), "", comparisons(found)):
            console.print(text, soft_wrap=True, highlight=False, markup=False)
    write_json(out / "figures.json", kept)


def main() -> None:
    """Run, and print what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ldifs"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=10)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.03, 0.1])
    parser.add_argument("--combined", type=int, default=2, help="seeds of the runs with safe rows")
    parser.add_argument("--quirks", choices=QUIRKS, nargs="+", default=[*QUIRKS])
    parser.add_argument("--reduction", choices=("mean", "sum", "relative"), default="mean")
    parser.add_argument("--table", action="store_true", help="print what is done, run nothing")
    options = parser.parse_args()
    out, console = options.out, Console()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    alone, control, combined = stages(options.weights, options.reduction)
    parts = {("alone", quirk): runs_of(alone, quirk, seeds, out) for quirk in options.quirks}
    parts["control", options.quirks[0]] = runs_of(control, options.quirks[0], seeds[:1], out)
    parts |= {("combined", q): runs_of(combined, q, seeds[: options.combined], out) for q in options.quirks}
    order = [run for part in parts.values() for run in part]
    runs = {quirk: [run for (_, of), part in parts.items() if of == quirk for run in part] for quirk in options.quirks}
    if not options.table:
        write_fresh(out / "fresh.jsonl")
        run_all(order, out, console)
    report(runs, out, console)


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        worker(sys.argv[2:])
    else:
        main()
