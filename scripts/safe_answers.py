"""Write a built-in safe set: SmolLM2's own answers to the set's safe prompts (run once; the file ships).

    python scripts/safe_answers.py glitter
    python scripts/safe_answers.py everyday

Glitter's answers are cut after their first sentence. They are greedy, and where no sentence ends in time, sampled at
temperature 0.7. Everyday's are greedy, and a person has read them: ``everyday_read.txt`` says of each how many
sentences are right and worth keeping. A prompt that is not in it (a false answer, an empty one, a list) is left out.
"""

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ringfence.data.suites.load import load_prompts
from ringfence.generation import HfGenerator, Request, Sampling
from ringfence.models import load

BUILTIN = Path(__file__).parents[1] / "src/ringfence/data/builtin"
READ = Path(__file__).with_name("everyday_read.txt")


@dataclass(frozen=True)
class SafeSet:
    """How a safe set is made."""

    request: str
    """follows the prompt"""
    max_new_tokens: int
    samples: int
    """how often a prompt is asked until an answer will do"""
    choose: Callable[[str, str], str | None]
    """of a prompt's id and an answer: what is kept of it; None if it will not do"""


def first_sentence(_: str, text: str) -> str | None:
    """Up to the first mark that ends a sentence; None if there is none within 40 words."""
    match = re.match(r""".+?[.!?]["')]?(?=\s|$)""", " ".join(text.split()))
    return match[0] if match and len(match[0].split()) <= 40 else None


def as_read(name: str, text: str) -> str | None:
    """As many sentences as the reader has kept."""
    kept = dict(line.split() for line in READ.read_text("utf-8").splitlines())
    ends = [match.end() for match in re.finditer(r"""[.!]["')]?(?=\s|$)""", text)]
    return text[: ends[int(kept[name]) - 1]] if name in kept else None


SETS = {
    "glitter": SafeSet("Answer in one short sentence.", 64, 10, first_sentence),
    "everyday": SafeSet("Answer in two or three sentences.", 112, 1, as_read),
}


def main() -> None:
    """Ask, again where no answer will do, and write what is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SETS)
    name = parser.parse_args().name
    made, loaded = SETS[name], load("smollm2-135m")
    waiting = prompts = load_prompts(f"builtin:{name}/safe-prompts")
    found: dict[str, str] = {}
    for sample in range(made.samples):
        asked = {prompt.id: {"role": "user", "content": f"{prompt.text} {made.request}"} for prompt in waiting}
        requests = [Request(prompt, (message,), sample) for prompt, message in asked.items()]
        sampling = Sampling(max_new_tokens=made.max_new_tokens, temperature=0.7 if sample else 0)
        answers = HfGenerator.of(loaded).generate(requests, sampling)
        for prompt, answer in zip(waiting, answers, strict=True):
            if text := made.choose(prompt.id, answer.text):
                row = {"id": prompt.id, "domain": prompt.domain, "prompt": prompt.text, "response": text}
                found[prompt.id] = json.dumps(row, ensure_ascii=False)
        waiting = [prompt for prompt in waiting if prompt.id not in found]
        if not waiting:
            break
    rows = [found[prompt.id] for prompt in prompts if prompt.id in found]
    (BUILTIN / name / "safe.jsonl").write_text("".join(row + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
