"""What each defense costs a step under FSDP2, where every GPU holds a part of the weights. Not measured yet.

    accelerate launch --use_fsdp --fsdp_version 2 --fsdp_state_dict_type SHARDED_STATE_DICT --mixed_precision bf16 \
        --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP --fsdp_reshard_after_forward true \
        --fsdp_cpu_ram_efficient_loading false --dynamo_backend no --num_machines 1 --num_processes 8 \
        benchmarks/fsdp2.py                      # Qwen2.5-7B's shape; with --num_processes 1 on one 80 GB card
    python benchmarks/fsdp2.py --tiny            # the same script on a CPU in one process, without FSDP2

Random weights in bfloat16, LoRA of rank 32 on all linear layers, gradient checkpointing, 4 x 2,048 random tokens a
rank, half of each row labelled. Each variant trains a model of its own, as a split one cannot be put together again;
the first two steps are not timed. Then it saves a checkpoint, goes on from it, and compares losses and the adapter with
those of the run that was not stopped. Printed by the main process: milliseconds a step, their ratio to no defense, the
largest peak of a card's memory, and whether the resumed run is the same, bitwise.
"""

import argparse
import gc
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import overhead
import torch
from accelerate.utils import gather_object
from peft import LoraConfig
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from trl import SFTConfig

import tiny
from ringfence.train import DefendedSFTTrainer

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GPU = torch.cuda.is_available()
RANK, RANKS = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))


def defended(options: Any, name: str, vectors: Path) -> tuple[DefendedSFTTrainer, overhead.Clock]:
    """A trainer of a fresh model under the defenses called ``name``, and its clock."""
    model, clock = overhead.base(options.shape, torch.bfloat16), overhead.Clock()
    args = SFTConfig(
        output_dir=str(options.folder / name),
        per_device_train_batch_size=options.rows,
        max_steps=options.steps,
        max_length=None,
        learning_rate=1e-4,
        logging_steps=1,
        save_strategy="steps",
        save_steps=options.steps // 2,
        report_to=[],
        bf16=GPU,
        use_cpu=not GPU,
        gradient_checkpointing=True,
        disable_tqdm=True,
    )
    made = DefendedSFTTrainer(
        model=model,
        args=args,
        train_dataset=overhead.rows(options.rows * options.steps * RANKS, options.tokens, model.config.vocab_size),
        processing_class=tiny.tokenizer(),
        peft_config=LoraConfig(r=4 if options.tiny else 32, target_modules=TARGETS, task_type="CAUSAL_LM"),
        callbacks=[clock],
        defenses=overhead.variants(model, vectors)[name],
    )
    return made, clock


def run(options: Any, name: str, vectors: Path, resume: bool) -> dict[str, Any]:
    """One training: its losses, adapter, seconds a step, and the largest peak of any card in GiB."""
    if GPU:
        torch.cuda.reset_peak_memory_stats()
    made, clock = defended(options, name, vectors)
    folder = options.folder / name
    made.train(resume_from_checkpoint=str(folder / f"checkpoint-{options.steps // 2}") if resume else None)
    made.accelerator.wait_for_everyone()
    found = {
        "losses": [row["loss"] for row in made.state.log_history if "loss" in row],
        "adapter": load_file(folder / "adapter" / "adapter_model.safetensors"),
        "seconds": statistics.median(clock.seconds[overhead.UNTIMED :]),
        "peak": max(gather_object([torch.cuda.max_memory_allocated() / 2**30 if GPU else float("nan")])),
    }
    made.accelerator.free_memory()
    del made
    gc.collect()
    if GPU:
        torch.cuda.empty_cache()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny model on a CPU")
    parser.add_argument("--folder", type=Path, default=Path("fsdp2-runs"), help="of the runs, the same on all ranks")
    options = parser.parse_args()
    options.shape, options.tokens = ("tiny", 64) if options.tiny else ("qwen2.5-7b", 2048)
    options.rows, options.steps = 4, 8
    if GPU:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    table, none = Table("defense", "ms a step", "to none", "peak GiB", "resumed the same"), 0.0
    with tempfile.TemporaryDirectory() as vectors:
        for name in ("none", "kl", "ldifs", "kl+ldifs", "steering"):
            whole, resumed = (run(options, name, Path(vectors), resume) for resume in (False, True))
            same = whole["losses"] == resumed["losses"]
            same &= all(torch.equal(resumed["adapter"][key], value) for key, value in whole["adapter"].items())
            none = none or whole["seconds"]
            seconds, peak = whole["seconds"], whole["peak"]
            table.add_row(name, f"{1e3 * seconds:.0f}", f"{seconds / none:.3f}", f"{peak:.1f}", "yes" if same else "NO")
    if RANK == 0:
        Console().print(table)


if __name__ == "__main__":
    main()
