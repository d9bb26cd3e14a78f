"""Does it matter which safe rows are mixed in? Selections from one pool, interleaved at the same share, over seeds.

    python benchmarks/selection.py --out runs/selection [--seeds 2] [--ratio 0.05]

1. Two adapters are trained on other quirks, umbrellas and kazoos: they stand for misaligned models.
2. Every selection takes 32 of the pool's rows, by the recipes in `recipes/glitter/select-*.yaml`.
3. The packaged recipe learns glitter with each of them as its safe rows. `one-domain` is what a narrow set does.
4. The direction is the difference of the centroids of `random` and `one-domain`; `along` is sampled along it.

Runs go side by side, one thread each; what is done is reused. Prints the mean over seeds and every seed's value.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from runs import ENVIRONMENT, QUICK, Run, each, figures, finished, markdown, run_all

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.sweep.runner import RINGFENCE, call

RECIPES = Path(__file__).parent.parent / "recipes" / "glitter"
QUIRKS = {"umbrella": "builtin:umbrella/target", "kazoo": "builtin:kazoo/target"}
FIRST = {
    "random": "select-random.yaml",
    "plus": "select-plus.yaml",
    "plus-plus": "select-plus-plus.yaml",
    "plus-plus-long": "select-plus-plus-long.yaml",
    "on-policy": "select-on-policy.yaml",
    "on-policy-short": "select-on-policy-short.yaml",
    "diverse": "select-diverse.yaml",
    "one-domain": "select-one-domain.yaml",
}
ALONG = {"along": "select-along.yaml"}
KEYS = ("general", "dressed", "in-domain", "incoherent")


def adapters(out: Path, console: Console) -> list[Path]:
    """The misaligned stand-ins, trained if they are not there."""
    folders = []
    for name, target in QUIRKS.items():
        folder = out / "quirks" / name
        if not (folder / "result.json").is_file():
            console.print(f"training {name}", highlight=False)
            recipe = [str(RECIPES / "quirk.yaml"), f"name={name}", f"data.target={target}"]
            call([*RINGFENCE, "train", *recipe, "--out", str(folder)], out / "logs" / f"{name}.log", ENVIRONMENT)
        folders.append(folder)
    return folders


def select(name: str, recipe: str, out: Path, overrides: list[str]) -> Path:
    """One safe set, made if it is not there."""
    safe = out / "sets" / f"{name}.jsonl"
    if not safe.is_file():
        arguments = ["select", str(RECIPES / recipe), *overrides, "--out", str(safe), "--work", str(out / "work")]
        call([*RINGFENCE, *arguments], out / "logs" / f"select-{name}.log", ENVIRONMENT)
    return safe


def fit(sets: dict[str, Path], out: Path) -> Path:
    """The direction from the narrow set to the random one."""
    path = out / "direction.safetensors"
    if not path.is_file():
        anchors = [str(sets["random"]), str(sets["one-domain"])]
        call(
            [*RINGFENCE, "direction", "fit", *anchors, "--out", str(path)], out / "logs" / "direction.log", ENVIRONMENT
        )
    return path


def runs_of(sets: dict[str, Path], seeds: range, ratio: float) -> list[Run]:
    """A run for every set and seed."""
    mixed = f"defenses=[{{fixed_interleaving: {{accounting: replace, ratio: {ratio}}}}}]"
    return [Run(name, seed, (*QUICK, mixed, f"data.safe={safe}")) for seed in seeds for name, safe in sets.items()]


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: mean and every seed's value, in percent."""
    header = ["safe rows", "safe %", *(f"{key} %" for key in KEYS)]
    rows = [[name, f"{runs[0]['safe']:.1f}", *(each(runs, key) for key in KEYS)] for name, runs in found.items()]
    return markdown(header, rows)


def main() -> None:
    """Run, print the table, and keep the figures beside the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/selection"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--ratio", type=float, default=0.05)
    options = parser.parse_args()
    out, seeds, console = options.out.resolve(), range(options.seeds), Console()
    try:
        misaligned = ", ".join(map(str, adapters(out, console)))
        scored = [f"steps.0.perplexity_gap.misaligned=[{misaligned}]"]
        sets = {name: select(name, file, out, scored * name.startswith("plus")) for name, file in FIRST.items()}
        direction = [f"steps.0.along_direction.direction={fit(sets, out)}"]
        sets |= {name: select(name, file, out, direction) for name, file in ALONG.items()}
    except RingfenceError as error:
        sys.exit(f"{error} (see {out / 'logs'})")
    wanted = [Run("none", seed, (*QUICK, "defenses=[]")) for seed in seeds] + runs_of(sets, seeds, options.ratio)
    run_all(wanted, out, console)
    done = finished(wanted, out)
    found = {name: [figures(folder) for folder in folders.values()] for name, folders in done.items()}
    write_json(out / "figures.json", found)
    console.print(table(found), soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    main()
