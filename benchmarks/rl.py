"""Does reward rise on a tiny task of reinforcement learning, and what does each defense cost? Three seeds, one table.

    python benchmarks/rl.py --out runs/rl --seeds 3                    # one CPU core a run: about five minutes
    python benchmarks/rl.py --out runs/rl --seeds 3 --jobs 12          # one GPU, several runs on it at a time
    python benchmarks/rl.py --out runs/rl --tiny                       # a random model: does every arm run at all?

The recipe is recipes/arithmetic/grpo.yaml: GRPO on sums of numbers up to 12 with the composite reward, the embedded
model, 20 steps of 8 completions. The arms differ in their defense, and in whether completions are steered. Each run is
a process of its own with one thread, which trains and then answers the held-out problems, `--samples` times each, as
in training. `base` is the same model before. What is done is reused; `--table` prints what there is.

Columns: mean reward of the first 3 and the last 10 steps (-2.5 to 9.5); right answers to held-out problems in percent,
with a 95% interval over problems, and less those of `none` with a paired one; safe rows; seconds of training.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from runs import ENVIRONMENT, markdown
from scipy.stats import bootstrap

from ringfence.core.files import JsonlLog, write_json
from ringfence.core.parent import leave_with_parent
from ringfence.core.plain import read_json
from ringfence.core.run_folder import LOG_FILE, RESULT_FILE
from ringfence.core.statistics import clustered_interval
from ringfence.data.task import parse_spec
from ringfence.directions.vectors import PersonaVectors, save_vectors
from ringfence.generation import HfGenerator, Sampling
from ringfence.generation.base import Request
from ringfence.models.load import embedded
from ringfence.recipe.run import Recipe, load_recipe
from ringfence.runs.plan import RunPlan
from ringfence.runs.stages import load_model, tuned_model
from ringfence.runs.train import train
from ringfence.sweep.runner import Job, run_jobs, shown

RECIPE = Path(__file__).parents[1] / "recipes" / "arithmetic" / "grpo.yaml"
SUPPORT = Path(__file__).parents[1] / "tests" / "support"
WORKER, SCORE, BASE = "--worker", "score.json", "base"
FIRST, LAST = 3, 10  # steps of the log
STEERING = "defenses=[{{steering: {{vector: '{vector}', layer: {layer}, alpha: {alpha}}}}}]"
TINY = (
    *("training.max_steps=2", "training.per_device_train_batch_size=4", "training.num_generations=2"),
    *("training.max_completion_length=4", "data.target='task:arithmetic?largest=3'", "evaluation.batch_size=16"),
    "lora={r: 2, target_modules: [q_proj, v_proj]}",
)


@dataclass(frozen=True)
class Steered:
    """What is steered with."""

    vector: str = "builtin:glitter"
    layer: int = 15
    alpha: float = 1.0

    def override(self) -> str:
        """Of the recipe."""
        return STEERING.format(vector=self.vector, layer=self.layer, alpha=self.alpha)


def arms(steered: Steered) -> dict[str, tuple[str, ...]]:
    """Name -> overrides of the recipe."""
    layers = "every: 5" if steered.layer > 1 else "every: 1"
    return {
        "none": ("defenses=[]",),
        "kl": ("defenses=[{kl: {weight: 0.1}}]",),
        "ldifs": (f"defenses=[{{ldifs: {{weight: 0.1, reduction: relative, {layers}}}}}]",),
        "steering": (steered.override(),),
        "steering-plain": (steered.override(), "rl.rollouts=plain"),
        "inoculation": ("defenses=[inoculation]",),
        "fixed-20": ("defenses=[{fixed_interleaving: {added: 0.2}}]",),
        "mixed-20": ("defenses=[{fixed_interleaving: {ratio: 0.2}}]", "rl.mode=mixed"),
        "canary": (
            "defenses=[{canary_interleaving: {every: 4, canaries: 'builtin:glitter/canaries', probe: likelihood}}]",
        ),
    }


def name_of(arm: str, seed: int) -> str:
    """Of a run, and of its folder."""
    return f"{arm}-seed-{seed}"


# One run, in a process of its own.


def work(out: Path, arm: str, overrides: Sequence[str], samples: int) -> None:
    """Train one run, unless it is the base model, and answer the held-out problems."""
    recipe = load_recipe(RECIPE, overrides)
    plan = RunPlan.load(recipe, out)
    if arm != BASE:
        train(plan)
    loaded = load_model(recipe.model)
    model = loaded.model if arm == BASE else tuned_model(loaded.model, plan.stages)
    write_json(out / SCORE, scored(recipe, HfGenerator(model, loaded.tokenizer), samples))


def scored(recipe: Recipe, generator: HfGenerator, samples: int) -> dict[str, Any]:
    """The score of every answer, (problems, samples), drawn as in training."""
    spec, training = parse_spec(recipe.data.target), recipe.training
    rows = spec.rows("test")
    tokens, temperature = training["max_completion_length"], training.get("temperature", 1.0)
    sampling = Sampling(tokens, temperature, recipe.seed, batch_size=recipe.evaluation.batch_size)
    asked = [Request(row["origin"], row["messages"][:-1], sample) for row in rows for sample in range(samples)]
    found = [answer.text for answer in generator.generate(asked, sampling)]
    right = [spec.task.score(text, rows[index // samples]["answer"]) for index, text in enumerate(found)]
    return {"scores": np.reshape(right, (len(rows), samples)).tolist(), "answers": found[:: samples * 10]}


# All runs, and the table.


def jobs_of(options: argparse.Namespace, chosen: dict[str, tuple[str, ...]], common: Sequence[str]) -> list[Job]:
    """One a run; whole seeds first, so that what is stopped has all arms."""
    found = []
    for seed in range(options.seeds):
        for arm, overrides in {**({BASE: ()} if seed == 0 else {}), **chosen}.items():
            name = name_of(arm, seed)
            changes = [f"name={name}", f"seed={seed}", *common, *overrides]
            command = [__file__, WORKER, json.dumps([str(options.out / name), arm, changes, options.samples])]
            done = (options.out / name / SCORE).is_file()
            found.append(Job(name, options.out / name, options.out / "logs" / f"{name}.log", [command], is_over=done))
    return found


def rewards(folder: Path) -> list[float]:
    """Of every step that had completions."""
    return [row["reward"] for row in JsonlLog(folder / LOG_FILE).read() if row.get("reward") is not None]


def scores(out: Path, arm: str, seeds: Sequence[int]) -> np.ndarray:
    """(problems, seeds x samples)"""
    found = [read_json(out / name_of(arm, seed) / SCORE, "run again")["scores"] for seed in seeds]
    return np.concatenate([np.asarray(one, float) for one in found], axis=1)


def row_of(out: Path, arm: str, seeds: Sequence[int]) -> list[str]:
    """One line of the table."""
    folders = [out / name_of(arm, seed) for seed in seeds]
    right = scores(out, arm, seeds)
    if arm == BASE:
        return [arm, str(len(seeds)), "", "", rate(right), "", "", ""]
    curves, results = [rewards(one) for one in folders], [read_json(one / RESULT_FILE, "run again") for one in folders]
    ends = [[statistics.fmean(c[:FIRST]) for c in curves], [statistics.fmean(c[-LAST:]) for c in curves]]
    shared = [seed for seed in seeds if (out / name_of("none", seed) / SCORE).is_file()]
    against = "" if arm == "none" or not shared else gap(scores(out, arm, shared), scores(out, "none", shared))
    safe, seconds = (statistics.fmean(one[key] for one in results) for key in ("safe_rows", "seconds"))
    each = [f"{statistics.fmean(end):.2f} ({', '.join(f'{value:.1f}' for value in end)})" for end in ends]
    return [arm, str(len(seeds)), *each, rate(right), against, f"{safe:.0f}", f"{seconds:.0f}"]


def rate(right: np.ndarray) -> str:
    """Percent with an interval over problems."""
    found = clustered_interval(right.sum(axis=1), np.full(len(right), right.shape[1]))
    return f"{100 * right.mean():.1f} [{100 * found.low:.0f}, {100 * found.high:.0f}]"


def gap(right: np.ndarray, other: np.ndarray) -> str:
    """Mean difference in points, with a bootstrap interval over problems."""
    each = 100 * (right.mean(axis=1) - other.mean(axis=1))
    if np.ptp(each) == 0:
        return f"{each.mean():+.1f}"
    drawn = bootstrap((each,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0))
    return f"{each.mean():+.1f} [{drawn.confidence_interval.low:+.1f}, {drawn.confidence_interval.high:+.1f}]"


def table(out: Path, chosen: Sequence[str], seeds: Sequence[int]) -> str:
    """Markdown, of what is done."""
    header = ["arm", "seeds", "reward, first 3 (each seed)", "last 10 (each seed)", "right %", "less none", "safe rows"]
    rows = []
    for arm in (BASE, *chosen):
        done = [seed for seed in seeds if (out / name_of(arm, seed) / SCORE).is_file()]
        if done:
            rows.append(row_of(out, arm, done))
    return markdown([*header, "seconds"], rows)


def tiny_settings(out: Path) -> tuple[tuple[str, ...], Steered]:
    """A random model in ``out`` and a vector of its width."""
    sys.path.append(str(SUPPORT))
    import tiny

    out.mkdir(parents=True, exist_ok=True)
    model, tokenizer = tiny.model(), tiny.tokenizer()
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    config = model.config
    vector = torch.ones(config.num_hidden_layers + 1, config.hidden_size) / config.hidden_size**0.5
    save_vectors(out / "vector.safetensors", PersonaVectors({"response_mean": vector}, {}))
    return (f"model={out / 'model'}", *TINY), Steered(str(out / "vector.safetensors"), layer=1)


def options_of() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/rl"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=[*arms(Steered())], default=[*arms(Steered())])
    parser.add_argument("--samples", type=int, default=8, help="answers to each held-out problem")
    parser.add_argument("--jobs", type=int, default=None, help="runs at a time; one a core if not given")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto", help="auto takes a GPU if there is one")
    parser.add_argument("--alpha", type=float, default=1.0, help="of steering")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of the recipe, for all arms")
    parser.add_argument("--tiny", action="store_true", help="a random model, 2 steps, one seed, all in this process")
    parser.add_argument("--table", action="store_true", help="print what is done, run nothing")
    return parser.parse_args()


def main() -> None:
    """Run what is missing, print the table, and keep the figures beside the runs."""
    options, console = options_of(), Console()
    out, failed = options.out, dict[str, str]()
    common, steered = tuple[str, ...](), Steered(alpha=options.alpha)
    if options.tiny:
        options.seeds, options.samples = 1, 1
        common, steered = tiny_settings(out)
    chosen = {arm: overrides for arm, overrides in arms(steered).items() if arm in options.arms}
    jobs = jobs_of(options, chosen, (*common, *options.set))
    began = time.monotonic()
    if options.tiny:
        for job in jobs:
            worker(job.commands[0][-1])
    elif not options.table:
        embedded()  # once, before several processes want it
        environment = ENVIRONMENT | ({"CUDA_VISIBLE_DEVICES": ""} if options.device == "cpu" else {})
        with shown(jobs, "the runs", console) as show:
            run_jobs(jobs, options.jobs, show, environment, lambda job, fault: failed.update({job.name: fault}))
    for name, fault in failed.items():
        console.print(f"{name} failed: {fault}", soft_wrap=True, highlight=False, markup=False)
    text = table(out, [*chosen], range(options.seeds))
    console.print(text, soft_wrap=True, highlight=False, markup=False)
    console.print(f"{time.monotonic() - began:.0f} s in all", highlight=False)
    sys.exit(bool(failed))


def worker(arguments: str) -> None:
    """:func:`work` by its arguments as JSON."""
    out, arm, overrides, samples = json.loads(arguments)
    work(Path(out), arm, overrides, samples)


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        leave_with_parent(1)
        worker(sys.argv[2])
    else:
        main()
