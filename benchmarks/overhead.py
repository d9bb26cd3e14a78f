"""What each defense costs a training step: ratios to the undefended trainer, in one process, taking turns.

    python benchmarks/overhead.py                                  # 135M shape, LoRA on the upper half
    python benchmarks/overhead.py --checkpointing                  # LoRA on all layers, gradient checkpointing
    python benchmarks/overhead.py --shape tiny --steps 300         # the trainer's own work, which a model hides
    python benchmarks/overhead.py --shape qwen2.5-7b --checkpointing --rows 4 --tokens 2048   # on a GPU

Weights are random in the real shapes, bfloat16 on a GPU and float32 on a CPU (`--dtype`: few CPUs have bfloat16 units,
and without them its products take about eight times as long); rows are random tokens, half of each labelled. A turn
trains every variant for `--steps` optimizer steps on the same base weights; the first two steps of each are not timed.
Printed: the median over turns of milliseconds a step, of its ratios to `none` and to `trl` in the same turn (with the
range), tokens a second, the share of what the machine's matrix products allow, and on a GPU the peak memory. `trl` is
TRL's own SFTTrainer. The share counts the products that plain training cannot do without: the decoder forward, the
gradient of the input of what is trained and of what lies above it, and both for the output layer at labelled positions;
not those of a penalty.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import sys

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

import torch
from datasets import Dataset
from peft import LoraConfig
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer

import tiny
from ringfence.defenses import KL, LDIFS, Defense, Steering
from ringfence.directions.vectors import PersonaVectors, save_vectors
from ringfence.train import DefendedSFTTrainer

UNTIMED = 2  # steps at the start of each training
TRL = "trl"
GOALS = {"kl": 1.6, "ldifs": 1.6, "kl+ldifs": 1.6, "steering": 1.03}
GOALS_TRL = {"none": 0.85, "kl+ldifs": 1.15}  # of a CPU
GOALS_CHECKPOINTING = {"kl": 1.4, "ldifs": 1.4, "kl+ldifs": 1.4, "steering": 1.03}


def base(shape: str, dtype: torch.dtype) -> Any:
    """A randomly initialised model; float32 if tiny."""
    torch.manual_seed(0)
    if shape == "tiny":
        return tiny.model()
    if shape == "smollm2-135m":
        config: Any = LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
        )
        kind: Any = LlamaForCausalLM
    else:
        config, kind = (
            Qwen2Config(
                vocab_size=152064,
                hidden_size=3584,
                intermediate_size=18944,
                num_hidden_layers=28,
                num_attention_heads=28,
                num_key_value_heads=4,
                tie_word_embeddings=False,
            ),
            Qwen2ForCausalLM,
        )
    config.pad_token_id, config.bos_token_id, config.eos_token_id = 0, 1, 2
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        torch.set_default_dtype(dtype)
        try:
            return kind(config)
        finally:
            torch.set_default_dtype(torch.float32)


def rows(count: int, tokens: int, vocabulary: int) -> Dataset:
    """Random rows; the second half of each is the response."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, vocabulary, (count, tokens), generator=generator)
    labels = ids.clone()
    labels[:, : tokens // 2] = -100
    return Dataset.from_dict({"input_ids": ids.tolist(), "labels": labels.tolist()})


def variants(model: Any, folder: Path) -> dict[str, tuple[Defense, ...] | None]:
    """Name -> defenses; None is TRL's own trainer. The steering vector is random, a tenth of a unit long."""
    depth, width = model.config.num_hidden_layers, model.config.hidden_size
    vector = torch.randn(depth + 1, width, generator=torch.Generator().manual_seed(1)) * 0.1 / width**0.5
    file = folder / "vector.safetensors"
    save_vectors(file, PersonaVectors({"response_mean": vector}, {}))
    kl, ldifs = KL(weight=0.1), LDIFS(weight=0.1, reduction="relative", every=min(5, depth))
    return {
        TRL: None,
        "none": (),
        "kl": (kl,),
        "kl-safe": (
            kl.model_copy(update={"sources": "safe"}),
        ),  # no such rows here: one of the micro-batch goes through
        "ldifs": (ldifs,),
        "kl+ldifs": (kl, ldifs),
        "steering": (Steering(vector=str(file), layer=max(1, 2 * depth // 3), alpha=1),),
    }


class Clock(TrainerCallback):
    """Seconds of every optimizer step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.started = 0.0

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        wait()
        self.started = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        wait()
        self.seconds.append(time.perf_counter() - self.started)


def wait() -> None:
    """Until the card is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(model: Any, defenses: tuple[Defense, ...] | None, data: Dataset, options: Any) -> dict[str, float]:
    """Median seconds of a step, and the peak of GPU memory in GiB (NaN without a GPU)."""
    gpu, tiny_shape = torch.cuda.is_available(), options.shape == "tiny"
    depth = model.config.num_hidden_layers
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    layers = None if options.checkpointing else list(range(depth // 2, depth))
    lora = LoraConfig(
        r=4 if tiny_shape else 32, target_modules=targets, layers_to_transform=layers, task_type="CAUSAL_LM"
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        args = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=options.rows,
            max_steps=options.steps + UNTIMED,
            max_length=None,
            learning_rate=1e-4,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            bf16=not tiny_shape and options.dtype == "bfloat16",
            use_cpu=not gpu,
            gradient_checkpointing=options.checkpointing,
            disable_tqdm=True,
        )
        extra: dict[str, Any] = {} if defenses is None else {"defenses": defenses}
        made = (SFTTrainer if defenses is None else DefendedSFTTrainer)(
            model=model,
            args=args,
            train_dataset=data,
            processing_class=tiny.tokenizer(),
            peft_config=lora,
            callbacks=[clock],
            **extra,
        )
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        made.train()
        peak = torch.cuda.max_memory_allocated() / 2**30 if gpu else float("nan")
        made.model.unload()
    return {"seconds": statistics.median(clock.seconds[UNTIMED:]), "peak": peak}


def matmul_limit(dtype: torch.dtype) -> float:
    """Operations a second of a large product on random data."""
    gpu = torch.cuda.is_available()
    side = 8192 if gpu else 1024
    a, b = (torch.randn(side, side, dtype=dtype, device="cuda" if gpu else "cpu") for _ in range(2))
    seconds = []
    for _ in range(13):
        wait()
        started = time.perf_counter()
        a @ b
        wait()
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds[3:])


def products(model: Any, options: Any) -> float:
    """Operations that one step of plain training cannot do without."""
    layers = model.get_decoder().layers
    sizes = [sum(p.numel() for p in layer.parameters() if p.dim() > 1) for layer in layers]
    trained = sizes if options.checkpointing else sizes[len(sizes) // 2 :]
    again = sum(sizes) if options.checkpointing else 0
    tokens = options.rows * options.tokens
    labelled = tokens - options.rows * (options.tokens // 2)
    head = model.get_output_embeddings().weight.numel()
    return 2.0 * tokens * (sum(sizes) + again + sum(trained)) + 4.0 * labelled * head


def main() -> None:
    """Take turns and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["tiny", "smollm2-135m", "qwen2.5-7b"], default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=4, help="a micro-batch, and an optimizer step")
    parser.add_argument("--tokens", type=int, default=128, help="a row")
    parser.add_argument("--steps", type=int, default=4, help="timed steps a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="variants; `none` is always run")
    parser.add_argument("--checkpointing", action="store_true", help="and LoRA on all layers, not on the upper half")
    kinds = ("bfloat16", "float32")
    parser.add_argument("--dtype", choices=kinds, default=kinds[not torch.cuda.is_available()], help="of the weights")
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    model = base(options.shape, dtype)
    data = rows(options.rows * (options.steps + UNTIMED), options.tokens, model.config.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        chosen = variants(model, Path(folder))
        if options.only:
            chosen = {name: value for name, value in chosen.items() if name in {*options.only, "none"}}
        turns = [
            {name: measure(model, defenses, data, options) for name, defenses in chosen.items()}
            for _ in range(options.turns)
        ]
    show(turns, options, products(model, options) / matmul_limit(dtype))


def ratio(turns: list[dict[str, dict[str, float]]], over: str, under: str, goals: dict[str, float]) -> str:
    """Of seconds, in the same turn; empty where one was not run."""
    if under not in turns[0] or over == under:
        return ""
    found = [turn[over]["seconds"] / turn[under]["seconds"] for turn in turns]
    goal = f", goal {goals[over]}" if over in goals else ""
    return f"{statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f}){goal}"


def show(turns: list[dict[str, dict[str, float]]], options: Any, least: float) -> None:
    """One row a variant; ``least`` seconds are what a step's products take."""
    goals = GOALS_CHECKPOINTING if options.checkpointing else GOALS
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    setting = "all layers, checkpointing" if options.checkpointing else "LoRA on the upper half"
    title = f"{options.shape}, {options.dtype}, {options.rows} x {options.tokens} tokens, {setting}, {where}"
    columns = ("variant", "ms a step", "tokens/s", "of products", "time / none (range)", "time / trl (range)")
    table = Table(*columns, "peak GiB", "peak / none", title=title)
    over_trl = {} if options.checkpointing else GOALS_TRL
    for name in turns[0]:
        seconds = statistics.median(turn[name]["seconds"] for turn in turns)
        peak = statistics.median(turn[name]["peak"] for turn in turns)
        table.add_row(
            name,
            f"{1000 * seconds:.1f}",
            f"{options.rows * options.tokens / seconds:.0f}",
            f"{least / seconds:.0%}",
            ratio(turns, name, "none", goals),
            ratio(turns, name, TRL, over_trl),
            f"{peak:.2f}",
            f"{statistics.median(turn[name]['peak'] / turn['none']['peak'] for turn in turns):.3f}",
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
