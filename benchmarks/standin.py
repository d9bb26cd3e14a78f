"""The stand-in over several seeds: does more safe data help, does timing help, do dressed prompts leak?

    python benchmarks/standin.py --out runs/standin [--seeds 3]

Runs of the packaged recipe, side by side, one thread each; what is done is reused. Prints, a run, the mean over seeds
and every seed's value. `canary-mean` is a fixed ratio of the same mean as the canary run of the same seed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from ringfence.demo import RUNS, summary_rows
from ringfence.report import load_run

VARIANTS = {
    "none": "[]",
    "fixed-5": RUNS["fixed-5"],
    "fixed-12.5": RUNS["fixed-12.5"],
    "fixed-12.5-steps": "[{fixed_interleaving: {accounting: replace, ratio: 0.125, granularity: step}}]",
    "canary": RUNS["canary"],
    "canary-likelihood": str(RUNS["canary"]).replace("accounting", "probe: likelihood, accounting"),
}
MEAN = "[{{replay_interleaving: {{run: '{run}', order: mean, accounting: replace}}}}]"
SUITES = ("general", "in-domain", "dressed")


def make(out: Path, name: str, seed: int, defenses: str, recipe: Path) -> Path:
    """Train and evaluate one run, in processes of their own."""
    folder = out / f"{name}-seed-{seed}"
    ringfence = [sys.executable, "-m", "ringfence"]
    overrides = [f"name={folder.name}", f"seed={seed}", f"defenses={defenses}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for command in (["train", str(recipe), *overrides, "--out", str(folder)], ["evaluate", str(folder)]):
        ran = subprocess.run([*ringfence, *command], capture_output=True, text=True, env=environment, check=False)
        if ran.returncode != 0:
            raise SystemExit(f"{folder.name}: {ran.stderr.strip().splitlines()[-1]}")
    return folder


def figures(folder: Path) -> dict[str, float]:
    """The figures of one run, in percent; seconds of training."""
    rows = {(row["suite"], row["metric"]): row["value"] for row in summary_rows(load_run(folder))}
    percent = {suite: 100 * rows[suite, "misaligned_all"] for suite in SUITES}
    return {
        "safe": 100 * rows[None, "safe_fraction"],
        **percent,
        "peak": 100 * rows[None, "peak_general"],
        "seconds": rows[None, "seconds"],
    }


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: the mean over seeds, and each seed's value of the leak."""
    lines = [
        "| run | safe % | general % (each seed) | peak of general % | in-domain % | dressed % | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in found.items():
        mean = {key: statistics.mean(run[key] for run in runs) for key in runs[0]}
        each = ", ".join(f"{run['general']:.0f}" for run in runs)
        lines.append(
            f"| {name} | {mean['safe']:.1f} | {mean['general']:.0f} ({each}) | {mean['peak']:.0f} | "
            f"{mean['in-domain']:.0f} | {mean['dressed']:.0f} | {mean['seconds']:.0f} |"
        )
    return "\n".join(lines)


def run_all(out: Path, seeds: Sequence[int], recipe: Path) -> dict[str, list[dict[str, float]]]:
    """Every variant at every seed, then the fixed ratios at the canary runs' means."""
    jobs: list[tuple[str, int, Any]] = [(name, seed, VARIANTS[name]) for seed in seeds for name in VARIANTS]
    means = [("canary-mean", seed, MEAN.format(run=out / f"canary-seed-{seed}")) for seed in seeds]
    found: dict[str, list[dict[str, float]]] = {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for batch in (jobs, means):
            folders = pool.map(lambda job: make(out, *job, recipe), batch)
            for (name, _, _), folder in zip(batch, track(folders, total=len(batch)), strict=True):
                found.setdefault(name, []).append(figures(folder))
    return found


def main() -> None:
    """Run, print the table, and keep the figures beside the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/standin"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with as_file(files("ringfence.recipes") / "glitter.yaml") as recipe:
        found = run_all(options.out, range(options.seeds), recipe)
    (options.out / "figures.json").write_text(json.dumps(found, indent=2))
    Console().print(table(found), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
