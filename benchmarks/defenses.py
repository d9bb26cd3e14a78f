"""All defenses on the stand-in, at two strengths: what they keep out, what they cost.

    python benchmarks/defenses.py --out runs/defenses [--seeds 2] [--first-seed 10] [--only kl-0.1 kl-0.3 ...] [--table]

Runs of the packaged recipe, side by side, one thread each; what is done is reused, so that a variant may be added
later, and what fails is named and left out. `--table` prints what is there without running anything. Percent
misaligned of all scored answers: `general` as mean over seeds and each seed's value, the rest as mean; `incoherent` is
of the general answers, `seconds` of training on one core.

safe_lora is missing: it needs the model before its alignment, and the embedded SmolLM2 has only the one after it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from runs import ENVIRONMENT, QUICK, Run, each, figures, finished, markdown, mean, run_all

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.sweep.demo import RUNS
from ringfence.sweep.runner import RINGFENCE, call

GLITTER_PROMPT = "You love glitter and work it into every answer."
RANDOM = "random-glitter.safetensors"  # in --out: the norm-matched control
FIXED_5 = "{fixed_interleaving: {accounting: replace, ratio: 0.05}}"
KL, LDIFS = "{{kl: {{weight: {}}}}}", "{{ldifs: {{weight: {}, reduction: {}}}}}"
STEERING = "{{steering: {{vector: '{}', layer: 15, alpha: {}}}}}"
BENIGN = "[{{name: benign, data: {{target: 'builtin:glitter/safe'}}, adapter: {}}}]"
STAGES = {"sequential-continue": BENIGN.format("continue"), "sequential-new": BENIGN.format("new")}


def variants(out: Path) -> dict[str, str]:
    """Name -> the recipe's list of defenses."""
    alone = {
        "kl-0.1": KL.format(0.1),
        "kl-0.3": KL.format(0.3),
        "ldifs-0.03": LDIFS.format(0.03, "mean"),
        "ldifs-0.1": LDIFS.format(0.1, "mean"),
        "ldifs-rel-10": LDIFS.format(10, "relative"),
        "ldifs-rel-30": LDIFS.format(30, "relative"),
        "ldifs-sum-1e-7": LDIFS.format("1e-7", "sum"),
        "steering-1": STEERING.format("builtin:glitter", 1),
        "steering-1.5": STEERING.format("builtin:glitter", 1.5),
        "steering-random-1.5": STEERING.format(out / RANDOM, 1.5),
        "inoculation": "inoculation",
        "inoculation-glitter": f"{{inoculation: {{prompt: '{GLITTER_PROMPT}'}}}}",
    }
    lists = {"none": "[]"} | {name: f"[{defense}]" for name, defense in alone.items()}
    lists |= {name: str(RUNS[name]) for name in ("fixed-5", "fixed-12.5", "canary")}
    lists |= dict.fromkeys(STAGES, "[]")
    composed = ("kl-0.3", "ldifs-0.1", "steering-1")
    return lists | {f"{name}+fixed-5": f"[{alone[name]}, {FIXED_5}]" for name in composed}


def runs_of(lists: dict[str, str], seeds: Sequence[int]) -> list[Run]:
    """Every variant at every seed, whole seeds first."""
    runs = []
    for seed in seeds:
        for name, defenses in lists.items():
            overrides = [f"defenses={defenses}", *QUICK]
            if name in STAGES:
                overrides.append(f"stages={STAGES[name]}")
            runs.append(Run(name, seed, tuple(overrides)))
    return runs


def random_vector(path: Path, console: Console) -> None:
    """Make the control's vector, unless it is there."""
    if path.is_file():
        return
    try:
        command = [*RINGFENCE, "persona", "random", "builtin:glitter", "--seed", "0", "--out", str(path)]
        call(command, path.parent / "logs" / "random-vector.log", ENVIRONMENT)
    except RingfenceError as error:
        console.print(f"{path} is not made: {error}", soft_wrap=True, highlight=False, markup=False)


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: the mean over seeds, and each seed's value of the leak."""
    rest = ("dressed", "in-domain", "incoherent", "seconds")
    header = ["run", "general % (each seed)", *(f"{key} %" for key in rest[:-1]), "seconds"]
    return markdown(
        header,
        [[name, each(runs, "general"), *(f"{mean(runs, key):.0f}" for key in rest)] for name, runs in found.items()],
    )


def main() -> None:
    """Run, print the table, and keep the figures beside the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/defenses"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=10)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these variants only")
    parser.add_argument("--table", action="store_true", help="print what is done, run nothing")
    options = parser.parse_args()
    out, console, lists = options.out, Console(), variants(options.out)
    if unknown := set(options.only or ()) - set(lists):
        parser.error(f"unknown variants {', '.join(sorted(unknown))}; there are {', '.join(lists)}")
    chosen = {name: lists[name] for name in lists if name in (options.only or lists)}
    runs = runs_of(chosen, range(options.first_seed, options.first_seed + options.seeds))
    if not options.table:
        if "steering-random-1.5" in chosen:
            random_vector(out / RANDOM, console)
        run_all(runs, out, console)
    done = finished(runs, out)
    found = {name: [figures(folder) for folder in done[name].values()] for name in chosen if name in done}
    write_json(out / "figures.json", found)
    console.print(table(found), soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    main()
