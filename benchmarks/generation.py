"""What evaluation costs over bare generation: our runner and the Inspect provider, in one process, taking turns.

    python benchmarks/generation.py                    # embedded model: 24 prompts x 20 samples x 24 tokens
    python benchmarks/generation.py --samples 100 --tokens 60 --batch 480   # on a GPU

`bare` is transformers' own `generate` on batches of the same prompts, sampling at temperature 1; `runner` is
`ringfence.evaluate.evaluate` with a judge that does nothing; `inspect` is the provider under Inspect's `eval`, logs
included. Printed: the median over turns of seconds, and of the ratio to `bare` in the same turn (with the range).
Goal: runner at most 1.15. Tokens that end an answer are made impossible, so that all three generate equally many.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.hooks import RemovableHandle

from ringfence.data import Prompt, load_prompts
from ringfence.data.encode import prompt_ids
from ringfence.evaluate import evaluate
from ringfence.evaluate.answers import Protocol, requests_of
from ringfence.generation import HfGenerator, Sampling
from ringfence.judges import JudgeInput, Score
from ringfence.models import Loaded, load
from ringfence.models.inference import left_padded

GOAL = 1.15


class Silent:
    """A judge that finds everything well."""

    def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
        return [Score(100.0, 1.0, None, "")] * len(rows)


def without_end(loaded: Loaded) -> RemovableHandle:
    """Keep every answer from ending early, until the handle is removed: all variants then do the same work."""
    ends = [loaded.tokenizer.eos_token_id, loaded.tokenizer.pad_token_id]

    def push_down(_: object, __: object, logits: torch.Tensor) -> torch.Tensor:
        logits[..., ends] = -torch.inf
        return logits

    return loaded.model.get_output_embeddings().register_forward_hook(push_down)


def bare(loaded: Loaded, prompts: Sequence[Prompt], protocol: Protocol) -> None:
    """Batches of equal prompts, longest first, as anybody would write them."""
    rows = [prompt_ids(loaded.tokenizer, prompt.messages) for prompt in prompts for _ in range(protocol.samples)]
    rows.sort(key=len, reverse=True)
    size, tokens = protocol.sampling.batch_size, protocol.sampling.max_new_tokens
    for start in range(0, len(rows), size):
        inputs = left_padded(rows[start : start + size], loaded.tokenizer.pad_token_id, loaded.model.device)
        with torch.no_grad():
            output = loaded.model.generate(
                **inputs, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=tokens
            )
        loaded.tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def by_inspect(loaded: Loaded, prompts: Sequence[Prompt], protocol: Protocol) -> None:
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import get_model

    from ringfence.generation.inspect import task_of
    from ringfence.integrations.inspect.provider import Live

    live = Live(loaded.model, loaded.tokenizer)
    model = get_model("ringfence/benchmark", live=live, batch_size=protocol.sampling.batch_size, memoize=False)
    with tempfile.TemporaryDirectory() as folder:
        (log,) = inspect_eval(
            task_of("general", requests_of({"general": prompts}, protocol), protocol.sampling),
            model=model,
            log_dir=folder,
            display="none",
            log_realtime=False,
            ctl_server=False,
            acp_server=False,
            max_connections=2 * protocol.sampling.batch_size,
        )
    assert log.status == "success", log.error


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--batch", type=int, default=60)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()

    loaded = load(arguments.model, dtype=arguments.dtype)
    without_end(loaded)
    prompts = load_prompts("builtin:glitter/general")[: arguments.prompts]
    protocol = Protocol(
        Sampling(max_new_tokens=arguments.tokens, temperature=1.0, batch_size=arguments.batch), arguments.samples
    )
    work: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(loaded, prompts, protocol),
        "runner": lambda: evaluate(HfGenerator.of(loaded), {"general": prompts}, protocol, Silent()),
        "inspect": lambda: by_inspect(loaded, prompts, protocol),
    }
    for first in (bare, by_inspect):  # which is slow, and imports
        first(loaded, prompts[:2], protocol)
    turns = [{name: seconds(one) for name, one in work.items()} for _ in range(arguments.turns)]
    table = Table(title=f"{len(prompts)} prompts x {arguments.samples} samples x {arguments.tokens} tokens")
    for column in ("", "seconds", "over bare", "range", "goal"):
        table.add_column(column, justify="right")
    for name in work:
        ratios = [turn[name] / turn["bare"] for turn in turns]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        middle = statistics.median(turn[name] for turn in turns)
        goal = f"{GOAL}" if name == "runner" else ""
        table.add_row(name, f"{middle:.1f}", f"{statistics.median(ratios):.2f}", spread, goal)
    Console().print(table)


if __name__ == "__main__":
    main()
