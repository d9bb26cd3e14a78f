"""Every cost that a GPU decides, in one process: training, defenses, probes, scoring, generation, judging, exactness.

    python benchmarks/gpu.py --out gpu.json            # Qwen2.5-7B's shape, one 80 GB card, no network, under 8 minutes
    python benchmarks/gpu.py --tiny --out gpu.json     # the same script on a CPU in about a minute

Weights are random in bfloat16 and rows are random tokens, half of each labelled; LoRA of rank 32 on all linear layers,
4 x 2,048 tokens a step, gradient checkpointing. A row of the table is a median over turns and, where there is one, the
median of its ratio to the named baseline in the same turn, with the range. Sections (`--only`): `training` `defenses`
`interleaving` `scoring` `generation` `judging` `exactness` `compatibility`. A section that fails is named with its
error, and the rest goes on; the exit status is then 1. `--seconds` is the time after which no further turn or section
begins.

`share of matmul` is 6 x the decoder's matrix parameters x tokens/s (forward, recomputation, gradient of the input;
without attention, adapters and output layer) over what an 8192-cubed bfloat16 product reaches on the same card.
"""

import argparse
import copy
import gc
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts: deterministic products
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))  # behind this folder: both have a judging.py

import generation
import numpy as np
import overhead
import peft
import rounding
import scoring
import torch
import transformers
import trl
from peft import LoraConfig, PeftModel, get_peft_model
from rich.console import Console
from rich.table import Table
from trl import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

import judging
import tiny
from compatibility import FEATURES, refusal
from ringfence import RuleJudge
from ringfence.core.files import write_json
from ringfence.data import load_prompts
from ringfence.data.encode import prompt_ids
from ringfence.defenses import KL, LDIFS, Defense, FixedInterleaving, Steering
from ringfence.directions.vectors import PersonaVectors, save_vectors
from ringfence.evaluate import evaluate
from ringfence.evaluate.answers import Protocol
from ringfence.generation import HfGenerator, Sampling
from ringfence.interleave import JudgedProbe, LikelihoodProbe
from ringfence.judges.local.distribution import score_distribution
from ringfence.models import Loaded, Loading, load
from ringfence.models.inference import inference, left_padded
from ringfence.models.lean_adapters import lean_adapters
from ringfence.models.scoring import Scorer
from ringfence.train import DefendedSFTTrainer

GPU = torch.cuda.is_available()
DTYPE = torch.bfloat16 if GPU else torch.float32  # most CPUs have no bfloat16 units, and take a minute for a product
EVERY, CANARIES = 30, 20  # the canary paper's K and M
PENALTIES = (KL(weight=1), LDIFS(weight=1, reduction="relative", every=4))
"""of the six layers of the small model LDIFS compares the 4th; ``hidden_states`` has the last one's stream normed"""


LIGHTER = ("8-bit AdamW", "4-bit", "8-bit", "FlashAttention", "compiled", "Liger")
TOGETHER: dict[str, Callable[[str], Defense]] = {
    "kl": lambda _: KL(weight=0.1),
    "ldifs": lambda _: LDIFS(weight=0.1, reduction="relative", every=2),
    "steering": lambda vector: Steering(vector=vector, layer=2, alpha=0.1),
    "fixed_interleaving": lambda _: FixedInterleaving(ratio=0.25, accounting="replace"),
}


@dataclass(frozen=True)
class Size:
    """What is measured at."""

    shape: str
    tokens: int
    turns: int
    scored: int
    """rows that are scored; the plain way reads every ``thin``-th"""
    thin: int
    samples: int
    answer: int
    judged: int


CARD = Size("qwen2.5-7b", 2048, 3, scored=512, thin=16, samples=20, answer=64, judged=16)
TINY = Size("tiny", 64, 1, scored=24, thin=2, samples=2, answer=8, judged=4)


@dataclass
class Measured:
    """One row of the table."""

    section: str
    what: str
    value: str
    ratios: list[float] = field(default_factory=list)
    over: str = ""
    goal: str = ""

    def ratio(self) -> str:
        """Median and range."""
        if not self.ratios:
            return ""
        low, high = min(self.ratios), max(self.ratios)
        return f"{statistics.median(self.ratios):.3f} ({low:.3f} to {high:.3f})"


@dataclass
class Bench:
    """The one model, what to measure, and what was found."""

    size: Size
    model: Any
    until: float
    found: list[Measured] = field(default_factory=list)

    def turns(self) -> Iterator[int]:
        """Turns, the first in any case, while there is time."""
        for turn in range(self.size.turns):
            if turn == 0 or time.monotonic() < self.until:
                yield turn

    def add(self, *row: Any, **more: Any) -> None:
        """Keep a row."""
        self.found.append(Measured(*row, **more))


def taken(work: Callable[[], object]) -> float:
    """Seconds."""
    overhead.wait()
    started = time.perf_counter()
    work()
    overhead.wait()
    return time.perf_counter() - started


# 1 and 2: a training step, undefended and under each defense.


def steps_of(size: Size) -> argparse.Namespace:
    """Settings of :mod:`overhead`."""
    return argparse.Namespace(
        shape=size.shape, dtype="bfloat16", rows=4, tokens=size.tokens, steps=3, checkpointing=True
    )


def train(bench: Bench, names: tuple[str, ...]) -> dict[str, list[dict[str, float]]]:
    """Name -> one measurement a turn."""
    options = steps_of(bench.size)
    data = overhead.rows(options.rows * (options.steps + overhead.UNTIMED), options.tokens, vocabulary(bench.model))
    took: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        variants = overhead.variants(bench.model, Path(folder))
        for _ in bench.turns():
            for name in names:
                took[name].append(overhead.measure(bench.model, variants[name], data, options))
                clear()
    return took


def vocabulary(model: Any) -> int:
    """Token ids that there are."""
    return int(model.config.vocab_size)


def training(bench: Bench) -> None:
    """Ours, undefended, against TRL's trainer."""
    took = train(bench, ("trl", "none"))
    tokens = 4 * bench.size.tokens
    decoder = sum(p.numel() for p in bench.model.get_decoder().parameters() if p.dim() > 1)
    decoder -= bench.model.get_input_embeddings().weight.numel()
    limit = overhead.matmul_limit(DTYPE)
    bench.add("training", f"{str(DTYPE).removeprefix('torch.')} product", f"{limit / 1e12:.0f} TFLOP/s")
    for name in ("trl", "none"):
        speed = tokens / statistics.median(one["seconds"] for one in took[name])
        share = 6 * decoder * speed / limit
        peak = statistics.median(one["peak"] for one in took[name])
        bench.add("training", name, f"{speed:.0f} tokens/s, {share:.0%} of matmul, {peak:.1f} GiB")
    bench.add("training", "none: time", "", paired(took, "none", "trl", "seconds"), "trl", "<= 1.02")
    bench.add("training", "none: memory", "", paired(took, "none", "trl", "peak"), "trl", "<= 1.01")


def paired(took: dict[str, list[dict[str, float]]], over: str, under: str, key: str) -> list[float]:
    """Ratios, a turn each."""
    return [a[key] / b[key] for a, b in zip(took[over], took[under], strict=True)]


def defenses(bench: Bench) -> None:
    """Each against no defense."""
    goals = {
        "kl": ("<= 1.35", "<= 1.10"),
        "ldifs": ("<= 1.35", ""),
        "kl+ldifs": ("<= 1.40", ""),
        "steering": ("<= 1.02", ""),
    }
    took = train(bench, ("none", *goals))
    for name, (time_goal, memory_goal) in goals.items():
        milliseconds = 1000 * statistics.median(one["seconds"] for one in took[name])
        peak = statistics.median(one["peak"] for one in took[name])
        ratios = paired(took, name, "none", "seconds")
        bench.add("defenses", f"{name}: time", f"{milliseconds:.0f} ms a step", ratios, "none", time_goal)
        ratios = paired(took, name, "none", "peak")
        bench.add("defenses", f"{name}: memory", f"{peak:.1f} GiB", ratios, "none", memory_goal)


# 3: interleaving and probes.


def defended(bench: Bench, folder: Path, steps: int, *chosen: Defense, **extra: Any) -> DefendedSFTTrainer:
    """A trainer whose target and safe rows are equally long, so that a step is a step."""
    data = overhead.rows(4 * (steps + overhead.UNTIMED), bench.size.tokens, vocabulary(bench.model))
    return DefendedSFTTrainer(
        model=bench.model,
        args=SFTConfig(
            output_dir=str(folder),
            per_device_train_batch_size=4,
            num_train_epochs=1,
            max_length=None,
            learning_rate=1e-4,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            bf16=bench.size.shape != "tiny",
            use_cpu=not GPU,
            gradient_checkpointing=True,
            disable_tqdm=True,
        ),
        train_dataset=data,
        safe_dataset=data,
        processing_class=tiny.tokenizer(),
        peft_config=lora(bench.size),
        defenses=chosen,
        **extra,
    )


def lora(size: Size) -> LoraConfig:
    """Rank 32 on all linear layers."""
    rank = 4 if size.shape == "tiny" else 32
    return LoraConfig(r=rank, target_modules=scoring.LINEAR, task_type="CAUSAL_LM")


def interleaving(bench: Bench) -> None:
    """A token of an interleaved run against one of a plain run, and the probes against K steps."""
    chosen = {"none": (), "interleaved": (FixedInterleaving(accounting="replace", ratio=0.5),)}
    took: dict[str, list[float]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        for _ in bench.turns():
            for name, active in chosen.items():
                clock = overhead.Clock()
                made = defended(bench, Path(folder), 4, *active, callbacks=[clock])
                made.train()
                took[name].append(statistics.median(clock.seconds[overhead.UNTIMED :]))
                made.model.unload()
                del made
                clear()
        ratios = [a / b for a, b in zip(took["interleaved"], took["none"], strict=True)]
        bench.add("interleaving", "half of the rows safe: time a token", "", ratios, "none", "1.00")
        made = defended(bench, Path(folder), 1)
        step = statistics.median(took["none"])
        for name, seconds in probes(made, bench.size).items():
            share = f"{seconds / (EVERY * step):.1%} ({seconds:.2f} s)"
            goal = "<= 5%" if name.endswith("probe") else ""
            bench.add("interleaving", f"{name}, K {EVERY}, M {CANARIES}", share, goal=goal)
        made.model.unload()


def probes(made: DefendedSFTTrainer, size: Size) -> dict[str, float]:
    """Seconds of one evaluation of M canaries; and of `generate` alone, adapter on or merged, for as many tokens."""
    canaries = load_prompts("builtin:glitter/canaries")
    canaries = (canaries + canaries)[:CANARIES]
    tokenizer, judge = tiny.tokenizer(), RuleJudge(misaligned_pattern="glitter")
    likelihood = LikelihoodProbe(canaries, tokenizer)
    judged = JudgedProbe(canaries, judge, tokenizer, Sampling(size.answer))
    inputs = left_padded(
        [prompt_ids(tokenizer, prompt.messages) for prompt in canaries], tokenizer.pad_token_id, made.model.device
    )

    def bare() -> None:
        with inference(made.model):
            made.model.generate(**inputs, do_sample=False, max_new_tokens=size.answer, min_new_tokens=size.answer)

    with made.compute_loss_context_manager():
        found = {
            "likelihood probe": middle(partial(likelihood, made.model, 1)),
            "judged probe": middle(partial(judged, made.model, 1)),
            "bare generate, adapter on": middle(bare),
        }
        with lean_adapters(made.model):
            found["bare generate, adapter on, lean"] = middle(bare)
        made.model.merge_adapter()
        found["bare generate, merged"] = middle(bare)
        made.model.unmerge_adapter()
        with made.model.disable_adapter():
            found["bare generate, adapter off"] = middle(bare)
    return found


def middle(work: Callable[[], object]) -> float:
    """Median seconds of three, after one that is not timed."""
    work()
    return statistics.median(taken(work) for _ in range(3))


# 4: scoring answers under the base and three adapters.


def scores(bench: Bench) -> None:
    """Tokens a second against the plain ways, and against the bare forward pass."""
    size, loaded = bench.size, loaded_of(bench)
    rows = scoring.random_rows(size.scored, vocabulary(bench.model))
    if size.shape == "tiny":
        rows = [type(row)(row.input_ids[:60], row.mask[:60]) for row in rows if any(row.mask[:60])]
    few = rows[:: size.thin]
    tokens, few_tokens = (sum(len(row.input_ids) for row in some) for some in (rows, few))
    bare = scoring.limit(loaded, round(tokens / len(rows)), 8192)
    with tempfile.TemporaryDirectory() as folder:
        adapters = scoring.random_adapters(loaded, 3, 0, Path(folder))
        plain = scoring.Plain(loaded, adapters)
        speeds = {}
        for name, way in (("plain", plain.score), ("by model", plain.by_model)):
            way(few[:2])
            speeds[name] = 4 * few_tokens / taken(partial(way, few))
        naive = plain.by_model(few)
        plain.close()
        clear()
        scorer = Scorer(loaded, adapters, batch_tokens=8192)
        scorer.score(rows[:2])
        ours: list[float] = []
        for _ in bench.turns():
            ours.append(4 * tokens / taken(lambda: scorer.score(rows)))
        apart = float(np.abs(np.asarray(scorer.score(few)) - naive).max())
        scorer.close()
    speed = statistics.median(ours)
    bench.add("scoring", f"ours, {len(rows)} rows, 3 adapters and the base", f"{speed:.0f} tokens/s")
    bench.add("scoring", "ours: speed", "", [one / speeds["plain"] for one in ours], "plain", ">= 4")
    bench.add("scoring", "ours: speed", "", [one / speeds["by model"] for one in ours], "by model")
    bench.add("scoring", "ours: speed", "", [one / bare for one in ours], "bare forward")
    bench.add("scoring", "largest difference of two scores", f"{apart:.1e} nats a token")


def loaded_of(bench: Bench) -> Loaded:
    """The model as it was before it was trained, and the byte tokenizer."""
    bench.model.gradient_checkpointing_disable()
    bench.model.config.use_cache = True
    return Loaded(bench.model.eval(), tiny.tokenizer(), bench.size.shape)


# 5: generation and the digit judge.


def generating(bench: Bench) -> None:
    """Our runner against transformers' own generate."""
    size = bench.size
    prompts = load_prompts("builtin:glitter/general")[:24]
    if size.shape == "tiny":
        prompts = prompts[:4]
    protocol = Protocol(Sampling(size.answer, temperature=1.0, batch_size=len(prompts) * size.samples), size.samples)
    with endless(bench) as loaded:
        work = {
            "bare": lambda: generation.bare(loaded, prompts, protocol),
            "runner": lambda: evaluate(HfGenerator.of(loaded), {"general": prompts}, protocol, generation.Silent()),
        }
        generation.bare(loaded, prompts[:2], protocol)
        took = [{name: taken(one) for name, one in work.items()} for _ in bench.turns()]
    answers = len(prompts) * size.samples * size.answer
    speed = answers / statistics.median(one["runner"] for one in took)
    ratios = [one["runner"] / one["bare"] for one in took]
    what = f"{len(prompts)} x {size.samples} x {size.answer} tokens: time"
    bench.add("generation", what, f"{speed:.0f} tokens/s", ratios, "bare generate", "<= 1.15")


@contextmanager
def endless(bench: Bench) -> Iterator[Loaded]:
    """The model with the tokens that end an answer made impossible: all ways then do the same work."""
    loaded = loaded_of(bench)
    hook = generation.without_end(loaded)
    try:
        yield loaded
    finally:
        hook.remove()


def digits(bench: Bench) -> None:
    """The exact score of a local judge against one plain forward pass over the same prompts."""
    loaded = loaded_of(bench)
    for shared in (True, False):
        texts = judging.prompts(loaded.tokenizer, bench.size.judged, shared)
        if bench.size.shape == "tiny":
            texts = [text[-300:] for text in texts]
        ids = [loaded.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        inputs = left_padded(ids, loaded.tokenizer.pad_token_id, bench.model.device)

        def plain(inputs: Any = inputs) -> None:
            positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
            with inference(bench.model):
                bench.model(**inputs, position_ids=positions, use_cache=False, logits_to_keep=1)

        score = partial(score_distribution, bench.model, loaded.tokenizer, texts, batch_size=len(texts))
        score()
        plain()
        ratios = [taken(score) / taken(plain) for _ in range(3)]
        kind = "a shared rubric" if shared else "nothing shared"
        longest = max(map(len, ids))
        bench.add("judging", f"{kind}, {len(ids)} x {longest} tokens: time", "", ratios, "one forward", "<= 2")


# 6: is it right on this device?


def exactness(bench: Bench) -> None:
    """KL and LDIFS in bfloat16 against float64, and resume."""
    for name, (ours, exact) in penalties().items():
        value = f"{ours:.4g}, {exact:.4g}"
        bench.add("exactness", f"{name} in bfloat16", value, [ours / exact], "float64, dense, CPU", "1 +- 0.05")
    bench.add("exactness", "resumed = uninterrupted, bitwise", "yes" if resumed_equal() else "NO", goal="yes")


# 7: what makes training lighter, with the defenses


def compatibility(bench: Bench) -> None:
    """The last loss with a setting and without; Liger's kernels stay in the process, so that they end the section."""
    for name in LIGHTER:
        feature = FEATURES[name]
        if feature.here and not GPU:
            continue  # tests have it
        together = [one for one, made in TOGETHER.items() if refusal(feature, made("")) is None]
        for defenses in ([], together) if GPU else ([],):
            what = f"loss with {feature.key.replace('`', '')}; {', '.join(defenses) or 'no defense'}"
            try:
                off, on = (lighter_loss(name, lit, defenses) for lit in (False, True))
                goal = "1 +- 0.05" if feature.bits else "1 +- 0.01"
                bench.add("compatibility", what, f"{on:.5f}, {off:.5f}", [on / off], "without", goal)
            except Exception as error:  # not installed, or refused: the line says so
                bench.add("compatibility", what, said(error))


def lighter_loss(name: str, lit: bool, defenses: list[str]) -> float:
    """The last loss of a short training."""
    feature = FEATURES[name]
    changes = {"torch_compile": True} if name == "compiled" else feature.training
    with tempfile.TemporaryDirectory() as folder:
        model = small(torch.bfloat16)
        if lit and name == "FlashAttention":
            model.set_attn_implementation("flash_attention_2")
        if lit and feature.bits:
            model.save_pretrained(Path(folder) / "model")
            tiny.tokenizer().save_pretrained(Path(folder) / "model")
            model = load(str(Path(folder) / "model"), dtype="bfloat16", loading=Loading(bits=feature.bits)).model
        vector, numbers = Path(folder) / "vectors.safetensors", torch.Generator().manual_seed(2)
        save_vectors(vector, PersonaVectors({"response_mean": torch.randn(7, 128, generator=numbers)}, {}))
        chosen = tuple(TOGETHER[one](str(vector)) for one in defenses)
        made = short(Path(folder) / "run", chosen, model, **(changes if lit else {}))
        made.train()
        return next(row["loss"] for row in reversed(made.state.log_history) if "loss" in row)


def said(error: Exception) -> str:
    """Its first line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def small(dtype: torch.dtype = torch.float32) -> Any:
    """A random Llama of six layers, wide enough for the card's kernels, whose weights are bfloat16 numbers."""
    made = tiny.shaken(tiny.model(layers=6, hidden=128), scale=0.08)
    return made.to(torch.bfloat16).to(dtype)


def penalties() -> dict[str, tuple[float, float]]:
    """Name -> ours on this device in bfloat16, and written out in float64 on the CPU."""
    model = get_peft_model(small(), LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_((0.2 * torch.randn(parameter.shape, generator=generator)).to(torch.bfloat16))
    inputs = DataCollatorForLanguageModeling(pad_token_id=0)(list(tiny.rows(4, "target")))
    exact = written_out(copy.deepcopy(model).double(), inputs)
    model = model.to("cuda" if GPU else "cpu", torch.bfloat16)
    there = {key: value.to(model.device) for key, value in inputs.items()}
    ours = rounding.penalties(model, there, autocast=True, defenses=PENALTIES)
    return {name: (a, b) for name, a, b in zip(("KL", "LDIFS (relative)"), ours, exact, strict=True)}


def written_out(model: PeftModel, inputs: dict[str, torch.Tensor]) -> list[float]:
    """Mean KL(trained || base) over labelled positions; LDIFS (relative) over positions and one layer; dense."""
    with torch.no_grad():
        trained = model(**inputs, output_hidden_states=True, use_cache=False)
        with model.disable_adapter():
            base = model(**inputs, output_hidden_states=True, use_cache=False)
    counts, real = inputs["labels"][:, 1:] != -100, inputs["attention_mask"].bool()
    log_p, log_q = (out.logits[:, :-1].log_softmax(-1) for out in (trained, base))
    kl = (log_p.exp() * (log_p - log_q)).sum(-1)[counts].mean()
    h, h0 = (out.hidden_states[PENALTIES[1].every] for out in (trained, base))
    ldifs = ((h - h0).square().sum(-1) / h0.square().sum(-1))[real].mean()
    return [kl.item(), ldifs.item()]


def short(folder: Path, chosen: tuple[Defense, ...], model: Any = None, **changes: Any) -> DefendedSFTTrainer:
    """A short training of the small model."""
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "bf16": True,
        "gradient_checkpointing": False,
        "use_cpu": not GPU,
        "disable_tqdm": True,
    }
    return DefendedSFTTrainer(
        model=small(torch.bfloat16) if model is None else model,
        args=SFTConfig(output_dir=str(folder), **{**settings, **changes}),
        train_dataset=tiny.rows(24, "target"),
        safe_dataset=tiny.rows(8, "safe"),
        processing_class=tiny.tokenizer(),
        peft_config=LoraConfig(r=8, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM"),
        defenses=chosen,
    )


def resumed_equal() -> bool:
    """With every penalty and safe rows, deterministic kernels, from the third step on."""
    chosen = (KL(weight=0.1), LDIFS(weight=0.1, every=2), FixedInterleaving(accounting="replace", ratio=0.25))
    torch.use_deterministic_algorithms(True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            whole = short(Path(folder) / "a", chosen, save_strategy="steps", save_steps=3)
            whole.train()
            again = short(Path(folder) / "b", chosen, save_strategy="steps", save_steps=3)
            again.train(resume_from_checkpoint=str(Path(folder) / "a" / "checkpoint-3"))
            first, second = (
                {name: value.detach().cpu() for name, value in made.model.named_parameters() if value.requires_grad}
                for made in (whole, again)
            )
    finally:
        torch.use_deterministic_algorithms(False)
    return bool(first) and all(torch.equal(first[name], second[name]) for name in first)


def clear() -> None:
    """Give memory back."""
    gc.collect()
    if GPU:
        torch.cuda.empty_cache()


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "exactness": exactness,
    "training": training,
    "defenses": defenses,
    "interleaving": interleaving,
    "generation": generating,
    "judging": digits,
    "scoring": scores,
    "compatibility": compatibility,
}


def where() -> dict[str, str]:
    """Card and versions."""
    card = torch.cuda.get_device_name() if GPU else f"{torch.get_num_threads()} CPU threads"
    return {"card": card, **{name.__name__: name.__version__ for name in (torch, transformers, trl, peft)}}


def show(found: list[Measured], title: str) -> None:
    """One table."""
    table = Table("section", "what", "value", "ratio (min to max)", "over", "goal", title=title)
    for one in found:
        table.add_row(one.section, one.what, one.value, one.ratio(), one.over, one.goal)
    Console(width=150).print(table)


def main() -> None:
    """Measure section by section; what is found is written after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny model, for a CPU")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS))
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--seconds", type=float, default=420, help="no turn or section begins later")
    options = parser.parse_args()
    size, started = TINY if options.tiny else CARD, time.monotonic()
    bench, failed = Bench(size, overhead.base(size.shape, DTYPE), started + options.seconds), []
    for name in options.only or SECTIONS:
        if time.monotonic() > bench.until:
            bench.add(name, "not measured", "no time left")
            continue
        began = time.monotonic()
        try:
            SECTIONS[name](bench)
        except Exception as error:
            traceback.print_exc()
            failed.append(name)
            bench.add(name, "failed", said(error))
            bench.model = overhead.base(size.shape, DTYPE)  # which may still have an adapter on it
        clear()
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        write_json(options.out, {"where": where(), "size": asdict(size), "found": [asdict(one) for one in bench.found]})
    show(bench.found, ", ".join(f"{key} {value}" for key, value in where().items()))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
