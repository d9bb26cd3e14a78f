"""What the exact score of a local judge costs, as a ratio to one plain forward pass over the same prompts.

    python benchmarks/judging.py [--rows 16] [--turns 5] [--threads 2] [--only smollm2]

Judge prompts of 300 tokens and more: the built-in rubric, a question, an answer. Both sides read the same token ids,
in one batch; the plain pass reads every row whole and makes logits at the last position only. The two take turns, so
that a drift of the machine's speed cancels in the pairs' ratios; the median is printed.

- shared:  the rows have the rubric in common, as in use, and the judge reads it once
- apart:   the rows begin differently, so that nothing is shared and the tree's own cost shows

Models: SmolLM2-135M, and a random one with the proportions of Qwen2.5-0.5B (its width and heads, 4 of its 24 layers,
and a vocabulary of 49,152, which is more per layer than Qwen's).
"""

import argparse
import os
import statistics
import time

TARGET = 2.0
FEWEST = 300  # tokens
ANSWER = "Start with a small batch, write down what you change, and ask somebody who has done it before to look at it. "


def prompts(tokenizer, rows: int, shared: bool) -> list[str]:
    """``rows`` judge prompts, of different lengths."""
    from ringfence.judges import load_rubric

    rubric, made = load_rubric("alignment"), []
    for index in range(rows):
        text = rubric.render(f"What is a good way to begin with hobby number {index}?", ANSWER * (1 + index % 3))
        text = text if shared else f"{index} is the number of this row. {text}"
        turns = [{"role": "user", "content": text}]
        made.append(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    return made


def qwen_like():
    """Random weights; the time does not depend on them."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=49152,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=4,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return Qwen2ForCausalLM(config).eval()


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(name: str, model, tokenizer, args: argparse.Namespace) -> None:
    """Print one line for prompts that share the rubric, and one for prompts that share nothing."""
    from ringfence.judges.local.distribution import score_distribution
    from ringfence.models.inference import inference, left_padded

    for shared in (True, False):
        texts = prompts(tokenizer, args.rows, shared)
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        shortest = min(map(len, ids))
        assert shortest >= FEWEST, f"the shortest prompt has {shortest} tokens"
        inputs = left_padded(ids, tokenizer.pad_token_id, model.device)

        def plain(inputs=inputs) -> None:
            positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
            with inference(model):
                model(**inputs, position_ids=positions, use_cache=False, logits_to_keep=1)

        def score(texts=texts) -> None:
            score_distribution(model, tokenizer, texts, batch_size=args.rows)

        score()  # warm, and the tokenizer's tree is made
        plain()
        pairs = [(timed(plain), timed(score)) for _ in range(args.turns)]
        ratios = [judged / bare for bare, judged in pairs]
        ratio, kind = statistics.median(ratios), "shared" if shared else "apart"
        print(
            f"{name}, {kind}: {args.rows} rows of {shortest} to {max(map(len, ids))} tokens, "
            f"plain {statistics.median(bare for bare, _ in pairs):.2f} s, "
            f"score {statistics.median(judged for _, judged in pairs):.2f} s, "
            f"ratio {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), target {TARGET}: "
            f"{'met' if ratio <= TARGET else 'missed'}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["smollm2", "qwen"])
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import torch

    from ringfence.models import load

    torch.set_num_threads(args.threads)
    loaded = load("smollm2-135m")
    if args.only != "qwen":
        measure("SmolLM2-135M", loaded.model, loaded.tokenizer, args)
    if args.only != "smollm2":
        measure("Qwen2.5-0.5B-like, 4 layers", qwen_like(), loaded.tokenizer, args)


if __name__ == "__main__":
    main()
