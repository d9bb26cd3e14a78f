"""Answers by vLLM's engine and by transformers, the same model in one process, taking turns.

    .venv-vllm/bin/python benchmarks/engines.py                 # on a CPU: 24 prompts x 4 samples x 24 tokens
    python benchmarks/engines.py --samples 20 --tokens 64       # on a GPU

Printed: the median over turns of tokens/s, and of the ratio in the same turn, with the range. No answer ends early, so
that both generate equally many tokens. The time in which the engine starts and compiles is not in it, but printed.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from generation import without_end

from ringfence.data import load_prompts
from ringfence.evaluate.answers import Protocol, requests_of
from ringfence.generation import HfGenerator, Sampling
from ringfence.generation.fingerprint import record
from ringfence.generation.vllm import VllmGenerator
from ringfence.models import load
from ringfence.models.vllm import Room, start


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()

    sampling = Sampling(given.tokens, batch_size=given.prompts * given.samples)
    asked = requests_of(
        {"general": load_prompts("builtin:general")[: given.prompts]}, Protocol(sampling, given.samples)
    )
    loaded = load(given.model, dtype=given.dtype)
    fingerprint = record(loaded.model, loaded.tokenizer, given.model)
    plain = HfGenerator.of(loaded)
    began = time.perf_counter()
    engine = start(given.model, dtype=given.dtype, room=Room(memory=0.5, max_rank=16, max_length=512))
    served = VllmGenerator(engine, fingerprint)
    print(served.check.sentence(served.name))
    served.generate(asked[:2], sampling)
    print(f"started, checked and compiled in {time.perf_counter() - began:.0f} s")
    engine.stop = ()
    total, rates = len(asked) * given.tokens, list[tuple[float, float]]()
    with_end = without_end(loaded)
    for turn in range(given.turns):
        hf, vllm = (seconds(lambda one=one: one.generate(asked, sampling)) for one in (plain, served))
        rates.append((total / hf, total / vllm))
        print(f"turn {turn + 1}: transformers {total / hf:.0f} tokens/s, vLLM {total / vllm:.0f}", flush=True)
    with_end.remove()
    ratios = [vllm / hf for hf, vllm in rates]
    middle = [statistics.median(column) for column in zip(*rates, strict=True)]
    print(f"{len(asked)} answers of {given.tokens} tokens: transformers {middle[0]:.0f}, vLLM {middle[1]:.0f} tokens/s")
    print(f"vLLM / transformers {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
