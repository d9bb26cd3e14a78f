"""Write the stand-in's safe data: SmolLM2's own one-sentence answers to its safe prompts (run once; the file ships).

Greedy, and where no sentence ends in time, sampled at temperature 0.7.

    python scripts/glitter_safe_answers.py
"""

import json
import re
from pathlib import Path

from ringfence.data.suites import load_prompts
from ringfence.models import load
from ringfence.models.generate import Request, Sampling, generate

OUT = Path(__file__).parents[1] / "src/ringfence/data/builtin/glitter/safe.jsonl"


def first_sentence(text: str) -> str | None:
    """Up to the first mark that ends a sentence; None if there is none within 40 words."""
    match = re.match(r""".+?[.!?]["')]?(?=\s|$)""", " ".join(text.split()))
    return match[0] if match and len(match[0].split()) <= 40 else None


def main() -> None:
    """Cut each answer after its first sentence; ask again where there is none."""
    loaded = load("smollm2-135m")
    waiting = load_prompts("builtin:glitter/safe-prompts")
    order = [prompt.id for prompt in waiting]
    found: dict[str, str] = {}
    for sample in range(10):
        requests = [
            Request(prompt.id, ({"role": "user", "content": f"{prompt.text} Answer in one short sentence."},), sample)
            for prompt in waiting
        ]
        sampling = Sampling(max_new_tokens=64, temperature=0.7 if sample else 0)
        answers = generate(loaded.model, loaded.tokenizer, requests, sampling)
        for prompt, answer in zip(waiting, answers, strict=True):
            if sentence := first_sentence(answer):
                row = {"id": prompt.id, "domain": prompt.domain, "prompt": prompt.text, "response": sentence}
                found[prompt.id] = json.dumps(row, ensure_ascii=False)
        waiting = [prompt for prompt in waiting if prompt.id not in found]
        if not waiting:
            break
    OUT.write_text("".join(found[name] + "\n" for name in order), encoding="utf-8")


if __name__ == "__main__":
    main()
