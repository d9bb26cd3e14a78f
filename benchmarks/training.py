"""What the defenses cost in training, as ratios against a named baseline, all in one run.

    python benchmarks/training.py [--steps 10] [--pairs 3] [--threads 2]

Model: SmolLM2-135M, bfloat16 on a GPU and float32 on a CPU, rsLoRA r = 16, 8 rows a step, the stand-in's data. Every
figure comes from a process of its own; baseline and candidate take turns, so that a drift of the machine's speed
cancels in the pairs' ratios.

1. DefendedSFTTrainer without a defense / TRL's SFTTrainer: wall time of the steps, peak memory of the process.
2. Fixed 5% added / no defense: rows (counted), and wall time a token.
3. Canary at the paper's K = 30 and M = 20: seconds of one evaluation / seconds of 30 training steps, for both probes.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from rich.console import Console
from rich.table import Table

K, M = 30, 20  # the canary paper's settings


def worker(kind: str, steps: int) -> dict[str, Any]:
    """Train one way and say what it took. Model loading and the first, slower step are not timed."""
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from ringfence import DefendedSFTTrainer, FixedInterleaving
    from ringfence.data import read, render_all
    from ringfence.models import load

    loaded = load("smollm2-135m", dtype="bfloat16" if _gpu() else "float32")
    target = render_all(read("builtin:glitter/target"), loaded.tokenizer)
    safe = render_all(read("builtin:glitter/safe"), loaded.tokenizer)
    args = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=8,
        max_steps=steps + 1,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        use_cpu=not _gpu(),
        bf16=_gpu(),
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
    lora = LoraConfig(r=16, lora_alpha=16, use_rslora=True, target_modules="all-linear", task_type="CAUSAL_LM")
    own: dict[str, Any] = {}
    if kind == "fixed":
        own = {"safe_dataset": safe, "defenses": [FixedInterleaving(added=0.05)]}
    cls = SFTTrainer if kind == "trl" else DefendedSFTTrainer
    trainer = cls(
        model=loaded.model,
        args=args,
        train_dataset=target,
        processing_class=loaded.tokenizer,
        peft_config=lora,
        **own,
    )
    times: list[float] = []
    tokens: list[int] = []  # so far; TRL counts those that are no padding

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())
            tokens.append(trainer._total_train_tokens)

    trainer.add_callback(Clock())
    trainer.train()
    found: dict[str, Any] = {
        "seconds": times[-1] - times[0],
        "steps": len(times) - 1,
        "tokens": tokens[-1] - tokens[0],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if kind != "trl":
        found |= trainer.result()
    if kind == "probes":
        found |= _probes(trainer, loaded.tokenizer)
    return found


def _probes(trainer: Any, tokenizer: Any) -> dict[str, float]:
    """Seconds of one evaluation of M canaries: by likelihood, and sampled (64 tokens) and judged by rule."""
    from ringfence import RuleJudge
    from ringfence.data import load_prompts
    from ringfence.generation import Sampling
    from ringfence.interleave import JudgedProbe, LikelihoodProbe

    canaries = load_prompts("builtin:glitter/canaries")
    canaries = (canaries + canaries)[:M]
    probes = {
        "likelihood": LikelihoodProbe(canaries, tokenizer),
        "judged": JudgedProbe(canaries, RuleJudge(misaligned_pattern="glitter"), tokenizer, Sampling(64)),
    }
    taken = {}
    for name, probe in probes.items():
        seconds = []
        for step in range(3):
            started = time.perf_counter()
            with trainer.compute_loss_context_manager():
                probe(trainer.model, step)
            seconds.append(time.perf_counter() - started)
        taken[name] = statistics.median(seconds)
    return taken


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _measure(kind: str, steps: int, threads: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", kind, "--steps", str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_DISABLE_TELEMETRY": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise SystemExit(ran.stderr)
    return json.loads(ran.stdout.splitlines()[-1])


def main() -> None:
    """Run all pairs and print one table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="timed optimizer steps a process")
    parser.add_argument("--pairs", type=int, default=3, help="times that baseline and candidate take turns")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worker(options.worker, options.steps)))
        return
    console = Console()
    rounds: dict[str, list[dict[str, Any]]] = {"trl": [], "none": [], "fixed": []}
    for turn in range(options.pairs):
        for kind, found in rounds.items():
            console.print(f"round {turn + 1} of {options.pairs}: {kind}", style="dim")
            found.append(_measure(kind, options.steps, options.threads))
    probes = _measure("probes", options.steps, options.threads)
    _print(console, rounds, probes, options)


def _ratios(rounds: dict[str, list[dict[str, Any]]], over: str, under: str, figure: Any) -> str:
    pairs = [figure(a) / figure(b) for a, b in zip(rounds[over], rounds[under], strict=True)]
    return f"{statistics.median(pairs):.3f}  ({min(pairs):.3f} to {max(pairs):.3f})"


def _print(console: Console, rounds: dict[str, Any], probes: dict[str, Any], options: Any) -> None:
    table = Table("measure", "median (min to max)", "goal", title=f"{options.steps} steps, {options.threads} threads")

    def per_step(found: dict[str, Any]) -> float:
        return found["seconds"] / found["steps"]

    table.add_row("DefendedSFTTrainer / SFTTrainer: wall a step", _ratios(rounds, "none", "trl", per_step), "<= 0.85")
    table.add_row(
        "DefendedSFTTrainer / SFTTrainer: peak memory",
        _ratios(rounds, "none", "trl", lambda found: found["peak_mib"]),
        "<= 1.05",
    )
    per_token = _ratios(rounds, "fixed", "none", lambda found: found["seconds"] / found["tokens"])
    table.add_row("fixed 5% added / none: wall a token", per_token, "reported")
    fixed = rounds["fixed"][0]
    table.add_row(
        "fixed 5% added: safe rows / target rows", f"{fixed['safe_rows']} / {fixed['target_rows']}", "counted"
    )
    interval = K * per_step(probes)
    for name in ("likelihood", "judged"):
        goal = "<= 5%" if name == "likelihood" else "reported"
        table.add_row(
            f"canary, {name} probe (K {K}, M {M}) / training",
            f"{probes[name] / interval:.1%}  ({probes[name]:.2f} s every {interval:.1f} s)",
            goal,
        )
    console.print(table)


if __name__ == "__main__":
    main()
