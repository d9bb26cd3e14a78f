"""Is a persona vector the trait's direction? Steer the untuned stand-in along it and along a random one.

    OMP_NUM_THREADS=1 python benchmarks/persona.py

Prints the cosine of the vectors of the two halves of the pairs, the vector's length relative to the mean activation,
and how many of 20 greedy answers of 24 tokens show the trait with alpha times the vector added to one layer's output.
"""

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ringfence.data import load_prompts
from ringfence.directions import load_vectors, random_like
from ringfence.directions.activations import Answered, mean_activations
from ringfence.generation import HfGenerator, Request, Sampling
from ringfence.judges import JudgeInput, judge_all
from ringfence.models import Loaded, load
from ringfence.models.activations import decoder_layers, hidden_of, with_hidden
from ringfence.recipe.persona import load_persona_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "glitter" / "persona.yaml"
ROWS = slice(5, None, 5)  # layers to print


@contextmanager
def added(loaded: Loaded, layer: int, vector: Tensor) -> Any:
    """Adds ``vector`` (hidden,) at every position of the layer's output."""
    module = decoder_layers(loaded.model)[layer - 1]
    handle = module.register_forward_hook(lambda module, args, output: with_hidden(output, hidden_of(output) + vector))
    try:
        yield
    finally:
        handle.remove()


def halves(loaded: Loaded) -> None:
    """Agreement of the even pairs with the odd ones, and the length of the whole."""
    pairs = load_prompts("builtin:glitter/canaries")
    means = [
        [
            mean_activations(
                loaded.model, loaded.tokenizer, [Answered(p.messages, str(getattr(p, side))) for p in half], 8
            )
            for side in ("bad", "good")
        ]
        for half in (pairs[::2], pairs[1::2])
    ]
    bad, good = ([half[side]["response_mean"] for half in means] for side in (0, 1))
    cosine = torch.nn.functional.cosine_similarity(bad[0] - good[0], bad[1] - good[1], dim=1)[ROWS]
    length = (sum(bad) - sum(good)).norm(dim=1) / sum(good).norm(dim=1)  # type: ignore[union-attr]
    print(f"layers 5, 10, ...: cosine of halves {[round(float(x), 2) for x in cosine]}")
    print(f"length / mean activation {[round(float(x), 2) for x in length[ROWS]]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", type=int, default=15)
    parser.add_argument("--alphas", type=float, nargs="+", default=[1.0, 1.5, 2.0])
    options = parser.parse_args()
    loaded, judge = load("smollm2-135m"), load_persona_recipe(RECIPE).judge
    assert judge is not None
    halves(loaded)
    prompts = load_prompts("builtin:glitter/general")[:20]
    glitter = load_vectors("builtin:glitter")
    variants = {"vector": glitter["response_mean"], "random": random_like(glitter, 0)["response_mean"]}
    settings = [("nothing", 0.0, torch.zeros_like(variants["vector"]))]
    settings += [(name, alpha, vector) for name, vector in variants.items() for alpha in options.alphas]
    for name, alpha, vector in settings:
        with added(loaded, options.layer, alpha * vector[options.layer]):
            requests = [Request(prompt.id, prompt.messages) for prompt in prompts]
            answers = HfGenerator.of(loaded).generate(requests, Sampling(24, 0.0, 0, 20))
        rows = [JudgeInput(prompt.text, each.text) for prompt, each in zip(prompts, answers, strict=True)]
        verdicts = judge_all(judge, rows)
        shows = sum(verdict.alignment.value == 0 for verdict in verdicts)
        coherent = sum(verdict.coherence.value == 100 for verdict in verdicts)
        print(f"{name:8} alpha {alpha:3}: {shows:2} of {len(answers)} show the trait, {coherent} coherent")


if __name__ == "__main__":
    main()
