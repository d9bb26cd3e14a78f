"""What scoring answers under a base model and K adapters costs against the plain way, in one process, taking turns.

    python benchmarks/scoring.py                                # embedded model: 48 rows, 2 adapters, float32
    python benchmarks/scoring.py --shape qwen2.5-7b --dtype bfloat16 --rows 512 --adapters 3    # on a GPU, no download
    python benchmarks/scoring.py --shape qwen2.5-7b --rows 32                                   # are the scores equal?

`plain` is one example at a time through the whole model, full logits in float32, the adapters loaded beside each other
and switched with PEFT's `set_adapter` for each of them in turn; `by model` is the same with each adapter set once and
all rows read under it, so that switching costs nothing; `ours` is `ringfence.models.scoring.Scorer`. Adapters are
random with a B that is not zero, on all linear modules, or with `--from-layer N` on layers N and up. Rows are those of
the built-in sets; for a `--shape`, whose weights are random, random tokens: prompts of 20 to 120 tokens and answers of
50 to 250, about what chat data has.

Printed: the median over turns of seconds and of the ratios to ours in the same turn (with the range), real tokens
read per second, all models counted, and the share of the forward-pass limit: tokens per second of the bare decoder,
without adapters and output layer, over full batches of equally long rows. Layers that are computed once for all models
can take ours above it. In float32 the largest difference of two scores must be at most 1e-4; in half precision all
ways round, and the difference is only shown. Goal: 4 times faster than `plain` on a GPU at 7B.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from rich.console import Console
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

from ringfence.data import read
from ringfence.data.render import Content, render_content
from ringfence.models import Loaded, load
from ringfence.models.load import DTYPES
from ringfence.models.scoring import Scorer

GOAL, CLOSE = 4, 1e-4
BASELINES = ("plain", "by model")
Result = TypeVar("Result")
SETS = ("builtin:glitter/safe", "builtin:glitter/target")
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPES = {
    "qwen2.5-7b": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "tie_word_embeddings": False,
    }
}


def of_shape(name: str, dtype: str) -> Loaded:
    """Random weights, made where they are used, and a tokenizer that is never asked."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(Qwen2Config(**SHAPES[name]), dtype=DTYPES[dtype])
    return Loaded(model.eval(), PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE())), name)


def random_rows(count: int, vocabulary: int) -> list[Content]:
    rng = np.random.Generator(np.random.Philox(0))
    rows = []
    for _ in range(count):
        prompt, answer = int(rng.integers(20, 121)), int(rng.integers(50, 251))
        ids = rng.integers(vocabulary, size=prompt + answer).tolist()
        rows.append(Content(ids, [False] * prompt + [True] * answer))
    return rows


def real_rows(count: int, loaded: Loaded) -> list[Content]:
    every = [row for spec in SETS for row in read(spec)]
    chosen = [every[place] for place in np.random.Generator(np.random.Philox(0)).permutation(len(every))[:count]]
    return [render_content(row["messages"], loaded.tokenizer, "assistant") for row in chosen]


def random_adapters(loaded: Loaded, count: int, from_layer: int, folder: Path) -> dict[str, Path]:
    """Of rank 32, on all linear modules from ``from_layer`` up."""
    layers = list(range(from_layer, loaded.model.config.num_hidden_layers))
    config = LoraConfig(r=32, lora_alpha=64, target_modules=LINEAR, layers_to_transform=layers)
    made = {}
    for number in range(count):
        torch.manual_seed(number)
        model = get_peft_model(loaded.model, config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0, 1e-3)
        made[f"adapter_{number}"] = folder / f"{number}"
        model.save_pretrained(made[f"adapter_{number}"])
        model.unload()
    return made


class Plain:
    """As anybody would write it."""

    def __init__(self, loaded: Loaded, adapters: dict[str, Path]) -> None:
        first, *others = adapters
        self.base, self.names = loaded.model, list(adapters)
        self.model = PeftModel.from_pretrained(loaded.model, str(adapters[first]), first)
        for name in others:
            self.model.load_adapter(str(adapters[name]), name)
        self.model.eval()

    def score(self, rows: Sequence[Content]) -> np.ndarray:
        """Row by row, and within a row model by model."""
        found = np.empty((1 + len(self.names), len(rows)))
        with torch.no_grad():
            for place, row in enumerate(rows):
                with self.model.disable_adapter():
                    found[0, place] = self._one(row)
                for number, name in enumerate(self.names, 1):
                    self.model.set_adapter(name)
                    found[number, place] = self._one(row)
        return found

    def by_model(self, rows: Sequence[Content]) -> np.ndarray:
        """Model by model, and within a model row by row."""
        with torch.no_grad():
            with self.model.disable_adapter():
                found = [[self._one(row) for row in rows]]
            for name in self.names:
                self.model.set_adapter(name)
                found.append([self._one(row) for row in rows])
        return np.array(found)

    def _one(self, row: Content) -> float:
        ids = torch.tensor([row.input_ids], device=self.model.device)
        mask = torch.tensor(row.mask[1:], device=ids.device)
        log_p = self.model(input_ids=ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
        return -float(log_p.gather(-1, ids[0, 1:, None])[mask].double().mean())

    def close(self) -> None:
        self.model.unload()


def limit(loaded: Loaded, length: int, budget: int) -> float:
    """Tokens per second of the bare decoder."""
    count = max(1, budget // length)
    ids = torch.randint(100, loaded.model.config.vocab_size, (count, length), device=loaded.model.device)
    decoder = loaded.model.get_decoder()

    def work() -> None:
        with torch.no_grad():
            decoder(input_ids=ids, use_cache=False)

    work()
    return ids.numel() / statistics.median(seconds(work)[0] for _ in range(3))


def seconds(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    found = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started, found


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--shape", choices=list(SHAPES), help="random weights in this shape instead of --model")
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--adapters", type=int, default=2)
    parser.add_argument("--from-layer", type=int, default=0, help="lowest layer with an adapter")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--turns", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    asked, console = parsed(), Console()
    loaded = of_shape(asked.shape, asked.dtype) if asked.shape else load(asked.model, dtype=asked.dtype)
    rows = random_rows(asked.rows, loaded.model.config.vocab_size) if asked.shape else real_rows(asked.rows, loaded)
    tokens = sum(len(row.input_ids) for row in rows)
    bare = limit(loaded, round(tokens / len(rows)), min(asked.batch_tokens, tokens))
    turns: list[dict[str, float]] = []
    apart = 0.0
    with tempfile.TemporaryDirectory() as folder:
        adapters = random_adapters(loaded, asked.adapters, asked.from_layer, Path(folder))
        for _ in range(asked.turns):
            took, scores = turn(loaded, adapters, rows, asked.batch_tokens)
            turns.append(took)
            apart = max(apart, *(float(np.abs(scores[name] - scores["ours"]).max()) for name in BASELINES))
    threads = torch.get_num_threads()
    console.print(f"{len(rows)} rows, {tokens} tokens, {asked.adapters} adapters, {asked.dtype}, {threads} threads")
    for name in (*BASELINES, "ours"):
        middle = statistics.median(took[name] for took in turns)
        speed = tokens * (1 + asked.adapters) / middle
        console.print(f"{name:>8}: {middle:.1f} s, {speed:.0f} tokens/s, {speed / bare:.2f} of the limit")
    console.print(f"limit: {bare:.0f} tokens/s")
    for name in BASELINES:
        ratios = [took[name] / took["ours"] for took in turns]
        goal = f"; goal on a GPU at 7B: {GOAL}" if name == "plain" else ""
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        console.print(f"ratio {name} / ours: {statistics.median(ratios):.2f} ({spread}){goal}")
    console.print(f"largest difference of two scores: {apart:.1e} nats")
    if asked.dtype == "float32" and apart > CLOSE:
        raise SystemExit(f"the scores differ by more than {CLOSE}")


def turn(
    loaded: Loaded, adapters: dict[str, Path], rows: Sequence[Content], batch_tokens: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Seconds and scores of every way, each warmed up; the adapters are on the model for one class at a time."""
    took, scores = {}, {}
    plain = Plain(loaded, adapters)
    for name, way in zip(BASELINES, (plain.score, plain.by_model), strict=True):
        way(rows[:2])
        took[name], scores[name] = seconds(partial(way, rows))
    plain.close()
    scorer = Scorer(loaded, adapters, batch_tokens=batch_tokens)
    scorer.score(rows[:2])
    took["ours"], scores["ours"] = seconds(partial(scorer.score, rows))
    scorer.close()
    return took, scores


if __name__ == "__main__":
    main()
