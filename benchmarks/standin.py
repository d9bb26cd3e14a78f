"""The stand-in over several seeds: does more safe data help, does timing help, do dressed prompts leak?

    python benchmarks/standin.py --out runs/standin [--seeds 3] [--only none canary]

Runs of the packaged recipe, side by side, one thread each; what is done is reused. Prints, a run, the mean over seeds
and every seed's value. `canary-mean` is a fixed ratio of the same mean as the canary run of the same seed.
"""

import argparse
from pathlib import Path

from rich.console import Console
from runs import Run, each, figures, finished, markdown, mean, run_all

from ringfence.core.files import write_json
from ringfence.sweep.demo import RUNS

VARIANTS = {
    "none": "[]",
    "fixed-5": RUNS["fixed-5"],
    "fixed-12.5": RUNS["fixed-12.5"],
    "fixed-12.5-steps": "[{fixed_interleaving: {accounting: replace, ratio: 0.125, granularity: step}}]",
    "canary": RUNS["canary"],
    "canary-likelihood": str(RUNS["canary"]).replace("accounting", "probe: likelihood, accounting"),
}
MEAN = "[{{replay_interleaving: {{run: '{run}', order: mean, accounting: replace}}}}]"


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: the mean over seeds, and each seed's value of the leak."""
    header = ["run", "safe %", "general % (each seed)", "peak of general %", "in-domain %", "dressed %", "seconds"]
    rows = [
        [
            name,
            f"{mean(runs, 'safe'):.1f}",
            each(runs, "general"),
            *(f"{mean(runs, key):.0f}" for key in ("peak", "in-domain", "dressed", "seconds")),
        ]
        for name, runs in found.items()
    ]
    return markdown(header, rows)


def main() -> None:
    """Run, print the table, and keep the figures beside the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/standin"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--only", choices=VARIANTS, nargs="+", default=[*VARIANTS], help="make these; print all there are"
    )
    options = parser.parse_args()
    out, seeds, console = options.out, range(options.seeds), Console()
    runs = [Run(name, seed, (f"defenses={VARIANTS[name]}",)) for seed in seeds for name in VARIANTS]
    wanted = [run for run in runs if run.variant in options.only]
    replays = {seed: MEAN.format(run=out / f"canary-seed-{seed}") for seed in seeds}
    means = [Run("canary-mean", seed, (f"defenses={replay}",)) for seed, replay in replays.items()]
    for batch in (wanted, means):  # the second replays the first
        run_all(batch, out, console)
    done = finished([*runs, *means], out)
    found = {name: [figures(folder) for folder in folders.values()] for name, folders in done.items()}
    write_json(out / "figures.json", found)
    console.print(table(found), soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    main()
