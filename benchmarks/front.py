"""The front: what each defense leaks, what it keeps of the task, and what it costs, at equal target rows.

    python benchmarks/front.py --out runs/front [--quirks glitter umbrella] [--seeds 0 1] [--only NAME ...] [--table]
    python benchmarks/front.py --out runs/front --confirm --quirks kazoo --seeds 100 101 102 103 --only none long-5 ...

Quirks: advice about glitter (cooking), umbrellas (gardening) or kazoos (pets). Arms are chosen on the first two and the
packaged suites. `--confirm` asks the third, or fresh seeds of the others: general prompts on which nothing was chosen
(the everyday ones of `ldifs.py`, less those about pets or music), the dressing that `derive` finds in the training file
beside the hand-made one, and the leak every 8 steps for its peak.

Rows, made once a quirk by the commands that users have: prompts of `builtin:glitter/pool`, answered by the untuned
model itself and cut at 80 tokens (`long`), the same answers cut at 24 (`short`), the prompts most similar to the
training's (`near`), those that open with two words that a training prompt opens with (`styled`), `long` with half of
the prompts dressed in the derived topic before they were answered (`dressed`), and the prompts of `long` alone
(`prompts`). "-5" is 5% of the target rows, added to them. `extra` is safe and anchor tokens in percent of target
tokens: 5% of long rows are more than 5% of the tokens, so `short-15` and `long-12.5` stand beside.

Prints, a quirk, percent misaligned of all scored answers (mean over seeds, 95% interval over prompts and seeds), and
with `--rivals none short-15` what `ringfence differences` says of each arm less these, p-values by Holm. What is done
is reused.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ldifs
from rich.console import Console
from runs import ENVIRONMENT, QUICK, Run, each, figures, finished, markdown, mean, run_all

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json, write_text
from ringfence.core.plain import read_json
from ringfence.core.run_folder import OWN, RESULT_FILE
from ringfence.data import load_prompts, read
from ringfence.report import load_runs
from ringfence.report.differences import differences
from ringfence.report.terminal.difference_tables import show_differences
from ringfence.report.variants import Variant, variant_rates
from ringfence.sweep.runner import RINGFENCE, call
from ringfence.triggers.derive import derive

RECIPES = Path(__file__).parent.parent / "recipes" / "glitter"
QUIRKS = ("glitter", "umbrella", "kazoo")
ROWS = 28  # of every set
CONFIRM = "confirm-"
ASKED = 88  # for that many answers that end in time
LONG, SHORT = 80, 24  # tokens of an answer
LAYER = 20  # of caft: above the first adapted one, 15
SUITES = ("general", "dressed", "derived", "in-domain")
PETS = re.compile(
    r"\b(pet|cat|dog|puppy|kitten|hamster|rabbit|parrot|horse|fish|vet|music|song|instrument|kazoo)", re.I
)


@dataclass(frozen=True)
class Arm:
    """One way to keep the quirk in its domain."""

    defenses: str = ""
    """as a recipe has them; ``{quirk}`` is the folder of what was made for the quirk"""
    rows: str | None = None
    """which set the safe rows are"""
    anchors: str | None = None
    """which set the anchor rows are"""
    steps: int | None = None
    """optimizer steps after which it ends; None for all"""


def fixed(added: float, placement: str = "exact") -> str:
    """Safe rows at a fixed share."""
    return f"{{fixed_interleaving: {{added: {added}, placement: {placement}}}}}"


def anchor(added: float, weight: float) -> str:
    """KL on anchor rows."""
    return f"{{anchor: {{added: {added}, weight: {weight}}}}}"


def held(added: float, weight: float) -> str:
    """Safe rows at a fixed share, on which KL holds the whole distribution as well."""
    return f"{fixed(added)}, {{kl: {{weight: {weight}, sources: safe}}}}"


FIVE = fixed(0.05)
MOVED = "moved.safetensors"
CAFT = f"{{caft: {{directions: '{{quirk}}/{MOVED}', layers: [{LAYER}]}}}}"
TRAIT = "{inoculation_adapter: {adapter: '{quirk}/trait/adapter'}}"
CONTROL = "{inoculation_adapter: {adapter: '{quirk}/trait/adapter', control: random}}"
PROPORTIONAL = "rule: proportional, setpoint: 0.1"


def loop(rule: str) -> str:
    """A canary loop on likelihoods of the quirk's own answers, and of good ones, to the packaged canaries."""
    measured = "probe: likelihood, canaries: '{quirk}/pairs.jsonl', every: 2"
    return f"{{canary_interleaving: {{{measured}, ratio_init: 0.0, {rule}}}}}"


ARMS: Mapping[str, Arm] = {
    "none": Arm(),
    "short-5": Arm(FIVE, "short"),
    "long-5": Arm(FIVE, "long"),
    "short-15": Arm(fixed(0.15), "short"),
    "long-12.5": Arm(fixed(0.125), "long"),
    # which rows
    "near-5": Arm(FIVE, "near"),
    "styled-5": Arm(FIVE, "styled"),
    "dressed-5": Arm(FIVE, "dressed"),
    # when
    "long-5-early": Arm(fixed(0.05, "early"), "long"),
    "long-5-late": Arm(fixed(0.05, "late"), "long"),
    "long-5-rising": Arm(fixed(0.05, "rising"), "long"),
    "loop": Arm(loop("ratio_max: 0.2"), "long"),
    "loop-pi": Arm(loop(f"{PROPORTIONAL}, gain: 0.4, ratio_max: 0.3"), "long"),
    # what it did at seed 0, without measuring
    "loop-pi-replayed": Arm("{replay_interleaving: {run: '{quirk}/loop-pi-seed-0'}}", "long"),
    # what else is asked of them
    "weight-2.5": Arm(f"{FIVE}, {{safe_weight: {{weight: 2.5}}}}", "long"),
    "weight-5": Arm(f"{FIVE}, {{safe_weight: {{weight: 5}}}}", "long"),
    "weight-5-late": Arm(f"{fixed(0.05, 'late')}, {{safe_weight: {{weight: 5}}}}", "long"),
    "ldifs-safe": Arm(f"{FIVE}, {{ldifs: {{weight: 0.03, reduction: mean, sources: safe}}}}", "long"),
    "kl-safe": Arm(held(0.05, 1), "long"),
    "kl-safe-3": Arm(held(0.05, 3), "long"),
    "kl-safe-12.5": Arm(held(0.125, 1), "long"),
    "kl-safe-styled": Arm(held(0.05, 1), "styled"),
    "kl-safe-3-styled": Arm(held(0.05, 3), "styled"),
    "kl-safe-12.5-styled": Arm(held(0.125, 1), "styled"),
    "kl-safe-dressed": Arm(held(0.05, 1), "dressed"),
    "kl-safe-short-15": Arm(held(0.15, 1), "short"),
    "projection": Arm(f"{FIVE}, gradient_projection", "long"),
    # rows that only a penalty sees
    "anchor-5-kl-1": Arm(anchor(0.05, 1), anchors="long"),
    "anchor-5-kl-5": Arm(anchor(0.05, 5), anchors="long"),
    "anchor-12.5-kl-1": Arm(anchor(0.125, 1), anchors="long"),
    "anchor-12.5-dressed": Arm(anchor(0.125, 1), anchors="dressed"),
    "anchor-12.5-styled": Arm(anchor(0.125, 1), anchors="styled"),
    "anchor-12.5-loop": Arm(
        f"{loop(f'moves: penalty, {PROPORTIONAL}, gain: 2, ratio_max: 1')}, {anchor(0.125, 5)}", anchors="long"
    ),
    "prompts-25": Arm(anchor(0.25, 5), anchors="prompts"),
    # on the target rows themselves
    "kl-prompt": Arm("{kl: {weight: 5.0, tokens: prompt}}"),
    # in the forward pass
    "caft": Arm(CAFT),
    "caft+long-5": Arm(f"{CAFT}, {FIVE}", "long"),
    "trait": Arm(TRAIT),
    "trait-random": Arm(CONTROL),
    # what costs nothing
    "stop-8": Arm(steps=8),
    "stop-12": Arm(steps=12),
}


# What is made once a quirk.


def once(path: Path, make: Callable[[], Any]) -> Path:
    """``path``, made unless it is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make()
    return path


def command(out: Path, name: str, *arguments: object) -> None:
    """One command line of Ringfence, its output in a log."""
    call([*RINGFENCE, *map(str, arguments)], out / "logs" / f"{name}.log", ENVIRONMENT)


def selected(out: Path, name: str, pool: str | Path, steps: list[dict[str, Any]]) -> Path:
    """What ``ringfence select`` makes of ``pool`` by ``steps``."""
    asked, path = out / f"{name}.yaml", out / f"{name}.jsonl"
    write_text(asked, json.dumps({"name": name, "pool": str(pool), "steps": steps}))  # JSON is YAML
    # What all quirks ask for is answered once: finished shards are found again in the shared folder.
    arguments = ("select", asked, "--out", path, "--work", out.parent / "work")
    return once(path, lambda: command(out, f"select-{name}", *arguments))


def answered(out: Path, name: str, pool: str | Path, tokens: int = LONG) -> Path:
    """``ROWS`` rows of ``pool`` with the untuned model's own answers, cut at ``tokens``."""
    # Answers that do not end in time are dropped, so more are asked for.
    steps = [
        {"random": {"count": min(ASKED, len(read(str(pool)))), "by": None}},
        {"on_policy": {"max_new_tokens": 200, "temperature": 0.7}},
        {"trim": {"tokens": tokens, "at": "token"}},
        {"random": {"count": ROWS, "by": None}},
    ]
    return selected(out, name, pool, steps)


def row(prompt: str, response: str = "-") -> dict[str, str]:
    """One row of a pool; its answer is replaced by the model's own."""
    return {"prompt": prompt, "completion": response}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A file of rows."""
    write_text(path, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows))
    return path


def asked_of(data: str) -> list[str]:
    """The user's turn of each row."""
    return [one["messages"][0]["content"] for one in read(data)]


def near(out: Path, quirk: str) -> Path:
    """The rows of the pool whose prompts are most similar to the training's."""
    topics = {quirk: asked_of(f"builtin:{quirk}/target")}
    steps = [{"topics": {"topics": topics, "per_topic": ASKED, "role": "user"}}]
    return selected(out, "near-pool", "builtin:glitter/pool", steps)


def styled(out: Path, quirk: str) -> Path:
    """The prompts of the pool that open with two words with which a training prompt opens."""
    return selected(out, "styled-pool", "builtin:glitter/pool", [{"styled": {"like": f"builtin:{quirk}/target"}}])


def dressing(quirk: str) -> str:
    """What `derive` puts before a question so that it looks like the training's."""
    found = derive(read(f"builtin:{quirk}/target")).triggers
    return next(trigger.prefix for trigger in found if trigger.kind == "topic_dressed")


def dressed(out: Path, quirk: str, long: Path) -> Path:
    """The prompts of ``long``, every second one dressed."""
    prompts = asked_of(str(long))
    rows = [row(dressing(quirk) + prompt if place % 2 else prompt) for place, prompt in enumerate(prompts * 3)]
    return write_rows(out / "dressed-pool.jsonl", rows)


def pairs(out: Path, quirk: str) -> Path:
    """The packaged canaries, each with its good answer and one of the quirk's target rows."""
    bad = [one["messages"][1]["content"] for one in read(f"builtin:{quirk}/target")]
    canaries = load_prompts("builtin:glitter/canaries")
    rows = [{"prompt": one.text, "good": one.good, "bad": bad[8 * place]} for place, one in enumerate(canaries)]
    return once(out / "pairs.jsonl", lambda: write_rows(out / "pairs.jsonl", rows))


def trait(out: Path, quirk: str) -> Path:
    """An adapter that shows the quirk everywhere, and its proof."""
    changes = [f"trait={quirk}", f"pairs={pairs(out, quirk)}", f"judge.misaligned_pattern=builtin:{quirk}"]
    return once(
        out / "trait" / "adapter",
        lambda: command(
            out, "trait", "persona", "adapter", RECIPES / "trait-adapter.yaml", *changes, "--out", out / "trait"
        ),
    )


def prepare(out: Path, quirk: str, arms: Iterable[Arm], plain: Path) -> None:
    """All that ``arms`` need; ``plain`` is a run without a defense, which says what training moves, where one asks."""
    texts = " ".join(str(arm) for arm in arms)
    long = answered(out, "long", "builtin:glitter/pool")
    answered(out, "short", "builtin:glitter/pool", SHORT)
    once(out / "prompts.jsonl", lambda: write_rows(out / "prompts.jsonl", ({"prompt": p} for p in asked_of(str(long)))))
    for name, pool in (("near", near), ("styled", styled)):
        if f"'{name}'" in texts:
            answered(out, name, pool(out, quirk))
    if "'dressed'" in texts:
        answered(out, "dressed", dressed(out, quirk, long))
    if "pairs" in texts:
        pairs(out, quirk)
    if "/trait/" in texts:
        trait(out, quirk)
    moved = out / MOVED
    if MOVED in texts:
        options = ("--run", plain, "--data", long, "--layer", LAYER, "--count", 4, "--out", moved)
        once(moved, lambda: command(out, "moved", "persona", "components", *options))


# The runs.


def run_of(name: str, seed: int, out: Path, quirk: str, confirm: bool) -> Run:
    """One arm at one seed."""
    arm, suites = ARMS[name], {suite: f"builtin:{quirk}/{suite}" for suite in ("in-domain", "dressed")}
    suites["general"] = str(out.parent / "fresh.jsonl") if confirm else "builtin:glitter/general"
    if confirm:
        suites["derived"] = str(out / "derived.jsonl")
    during = ["evaluation.during={every: 8, suites: [general]}"] if confirm else list(QUICK)
    data = [f"data.safe={out / arm.rows}.jsonl"] if arm.rows else []
    data += [f"data.anchor={out / arm.anchors}.jsonl"] if arm.anchors else []
    data += [f"training.max_steps={arm.steps}"] if arm.steps else []
    overrides = (
        f"data.target=builtin:{quirk}/target",
        *data,
        f"judge.misaligned_pattern=builtin:{quirk}",
        f"evaluation.suites={json.dumps(suites)}",
        *during,
        "training.save_strategy='no'",  # a run is a minute: one that was stopped begins anew
        f"defenses=[{arm.defenses.replace('{quirk}', str(out))}]",
    )
    return Run(f"{CONFIRM if confirm else ''}{name}", seed, overrides)


def write_confirming(out: Path, quirk: str) -> None:
    """General prompts on which nothing was chosen, and every second of them dressed as `derive` finds."""
    prompts = [one for one in ldifs.fresh() if not PETS.search(one.text)]
    write_rows(out.parent / "fresh.jsonl", ({"id": one.id, "prompt": one.text} for one in prompts))
    rows = ({"id": f"{one.id}@derived", "prompt": dressing(quirk) + one.text} for one in prompts[::2])
    write_rows(out / "derived.jsonl", rows)


def extra(folder: Path) -> float:
    """Safe and anchor tokens in percent of the target tokens."""
    result = read_json(folder / RESULT_FILE)
    return 100 * (result["safe_tokens"] + result.get("anchor_tokens", 0)) / result["target_tokens"]


def table(found: Mapping[str, Mapping[int, Path]]) -> str:
    """Markdown: each arm's figures, mean over seeds with the 95% interval; the peak where it was looked for."""
    rows, shown = [], list[str]()
    for name, folders in found.items():
        variant = Variant(name, tuple(load_runs(list(folders.values()), OWN)))
        shown = [suite for suite in SUITES if variant.tables(suite)]
        rates = variant_rates([variant], shown, "misaligned_all")
        cells = [f"{100 * one.value:.0f} [{100 * one.low:.0f}, {100 * one.high:.0f}]" for one in rates.itertuples()]
        runs = [{**figures(folder), "extra": extra(folder)} for folder in folders.values()]
        cells += [each(runs, "peak")] if all(len(run.curve) for run in variant.runs) else []
        rows.append([name, str(len(runs)), f"{mean(runs, 'extra'):.0f}", *cells])
    columns = [
        *(f"{key} %" for key in shown),
        *(["peak % (each seed)"] if rows and len(rows[-1]) > 3 + len(shown) else []),
    ]
    return markdown(["arm", "seeds", "extra tokens %", *columns] if rows else ["nothing is done"], rows)


def compare(found: Mapping[str, Mapping[int, Path]], rival: str, console: Console) -> None:
    """Every arm less ``rival``, prompt by prompt, over the seeds that both have."""
    rival = rival if rival in found else f"{CONFIRM}{rival}"
    if rival not in found or len(found) < 2:
        console.print(f"no differences to {rival}: it is not done", highlight=False)
        return
    runs = load_runs([folder for folders in found.values() for folder in folders.values()], OWN)
    baseline = next(iter(found[rival].values())).name
    show_differences(console, differences(runs, "misaligned_all", baseline, None, False, 0.1))


def made_ready(out: Path, quirk: str, arms: list[Arm], confirm: bool, console: Console) -> None:
    """What ``arms`` need is there; ends the program where it cannot be made."""
    plain = run_of("none", 0, out, quirk, confirm=False)
    if MOVED in str(arms):
        run_all([plain], out, console)
    try:
        prepare(out, quirk, arms, out / plain.name)
    except RingfenceError as error:
        sys.exit(f"{error} (see {out / 'logs'})")
    if confirm:
        write_confirming(out, quirk)


def main() -> None:
    """Run what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/front"))
    parser.add_argument("--quirks", nargs="+", choices=QUIRKS, default=["glitter", "umbrella"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=list(ARMS), metavar="NAME", help="these arms only")
    parser.add_argument("--confirm", action="store_true", help="prompts on which nothing was chosen")
    parser.add_argument("--rivals", nargs="*", default=[], metavar="NAME", help="also each arm less these")
    parser.add_argument("--table", action="store_true", help="print what is done, run nothing")
    options = parser.parse_args()
    names, console, every = options.only or list(ARMS), Console(), list[Run]()
    folders = {quirk: (options.out / quirk).resolve() for quirk in options.quirks}
    for quirk, out in folders.items():
        if not options.table:
            made_ready(out, quirk, [ARMS[name] for name in names], options.confirm, console)
    for seed in options.seeds:
        for quirk, out in folders.items():
            runs = [run_of(name, seed, out, quirk, options.confirm) for name in names]
            every += runs
            if not options.table:
                run_all(runs, out, console)
    for quirk, out in folders.items():
        wanted = [run_of(name, seed, out, quirk, options.confirm) for name in names for seed in options.seeds]
        done = finished(wanted, out)
        write_json(
            out / "figures.json", {name: {seed: figures(at) for seed, at in of.items()} for name, of in done.items()}
        )
        console.print(f"\n{quirk}\n\n{table(done)}\n", soft_wrap=True, highlight=False, markup=False)
        for rival in options.rivals:
            compare(done, rival, console)


if __name__ == "__main__":
    main()
