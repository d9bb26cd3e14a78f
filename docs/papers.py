"""The page about sweeps: their keys, and the tables and figures of papers that are there, from the files themselves."""

import textwrap
from collections.abc import Callable
from pathlib import Path

from ringfence.sweep.config import Input, SweepConfig, is_sweep, load_sweep
from ringfence.sweep.plan import run_names
from ringfence.sweep.published import FILE, load_published

RECIPES = Path(__file__).parents[1] / "recipes"
TITLES = {
    "kaczer-2025": "Kaczer et al. 2025",
    "fars-2026": "FARS 2026, the canary paper",
    "interleaving-2026": '"When does interleaving prevent EM?"',
    "dubinski-2026": "Dubinski et al. 2026",
}

UNBROKEN = {"break_long_words": False, "break_on_hyphens": False}

HEAD = """\
# Sweeps, and the tables of papers

<!-- Written by docs/reference.py (`make docs`); do not edit. -->

A sweep is one YAML file: a table or a figure as a grid over one recipe. Those of four papers are in `recipes/PAPER/`,
each beside the paper's own numbers in `published.csv`.

```yaml
shows: "two defenses by their strength"
source: "ours"
recipe: base.yaml               # relative to this file; all runs start from it
changes: {data.target: "data/{data}.jsonl"}
grid:
  data: {legal: {}, medical: {}}
  method:
    untrained: base             # the model as it is
    none: {}
    kl: {defenses: [kl: {weight: 0.1}]}
seeds: [0, 1, 2]
inputs:
  data/{name}.jsonl: {yours: "6,000 rows of {name}, from ..."}
```

That is 2 x 3 x 3 runs, `legal-untrained-s0` to `medical-kl-s2`. `{data}` is the run's level on that axis, in any text.

```console
ringfence sweep recipes/kaczer-2025/table-2.yaml --dry-run
ringfence sweep recipes/kaczer-2025/table-2.yaml --only 'legal-*' --out runs/kaczer-2025
ringfence sweep recipes/kaczer-2025/table-2.yaml --only 'legal-*' --recipes recipes-of-table-2
ringfence train recipes-of-table-2/legal-kl.yaml --out runs/legal-kl
```

[Running sweeps](sweeps.md) has what happens then. `--dry-run` checks every recipe and lists the runs; the readings
taken where the paper is silent or contradicts itself; the commands that make the files that runs need (selected sets,
vectors, misaligned adapters), in their order; and each file that is missing: what it is, where it is from, and how to
check it. `--recipes` writes one recipe a run and trains nothing. In Python they are
`ringfence.sweep.plan.SweepPlan.load(path).runs`, each with its name and recipe.

Two runs of one name, a cycle, a file that nothing says the source of, an unknown key, and a grid of more than 10,000
runs (without `--yes`) are refused.

## `published.csv`

A paper's numbers as facts: `table` (the sweep's file), `row` (a run's name without its seed and without the axes that
are `averaged`, or a set's name), `column` (`SUITE/METRIC`, as in the tables of runs), `value` and `spread` as printed,
and `source`, the place in the paper. Numbers that the text of a paper does not give with certainty are left out, and
the file's first lines say so. A number without a run, a doubled one, and what is no number are refused.
"""


def render(section: Callable[..., str]) -> str:
    """The whole page; ``section`` makes one of a model's keys."""
    papers = [path for name in TITLES if (path := RECIPES / name).is_dir()]
    parts = [
        HEAD,
        *(f"## {TITLES[paper.name]}\n\n{listed(paper)}" for paper in papers),
        section("The keys of a sweep", SweepConfig),
        section("`inputs`", Input),
    ]
    return "\n".join(parts)


def listed(paper: Path) -> str:
    """A table of the paper's sweeps, and the readings that they take."""
    published = load_published(paper / FILE)
    rows, readings = [], dict[str, list[str]]()
    for path in sorted(paper.glob("*.yaml"), key=_order):
        if not is_sweep(path.read_text()):
            continue
        config, numbers = load_sweep(path), sum(one.table == path.stem for one in published)
        runs = f"{len(run_names(path))}" if not config.sets else f"{len(config.sets)} sets"
        rows.append(f"| `{path.stem}` | {config.shows} | {runs} | {numbers or 'none'} |")
        for reading in config.readings:
            readings.setdefault(reading, []).append(path.stem)
    told = [f"{', '.join(names)}: {reading}." for reading, names in readings.items()]
    parts = [f"In `recipes/{paper.name}/`:\n", "| sweep | what it shows | runs | published numbers |"]
    parts += ["| --- | --- | --- | --- |", *rows, "\nReadings taken:\n"]
    parts += [textwrap.fill(one, 120, initial_indent="- ", subsequent_indent="  ", **UNBROKEN) for one in told]
    return "\n".join(parts) + "\n"


def _order(path: Path) -> tuple[str, int]:
    name, _, number = path.stem.rpartition("-")
    return (name, int(number)) if number.isdecimal() else (path.stem, 0)
