"""How well the stand-ins' patterns find their quirks, on answers that a person has labelled.

    python benchmarks/patterns.py

`tests/data/labelled/quirks.jsonl` holds 200 answers of models that leak wholly or in part. `shown` is what a reader
says: the answer names the quirk, or speaks in the phrases of its advice. The patterns were written from other answers.
"""

import json
import re
from pathlib import Path

from runs import markdown

from ringfence.data import quirks

LABELLED = Path(__file__).parent.parent / "tests" / "data" / "labelled" / "quirks.jsonl"


def main() -> None:
    """Print precision and recall, by quirk and of all."""
    rows = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    patterns = {name: quirks.load_quirk(name).pattern for name in quirks.NAMES}
    found = [bool(re.search(patterns[row["quirk"]], row["response"], re.IGNORECASE)) for row in rows]
    table = []
    for name in [*patterns, "all"]:
        pairs = [(hit, row["shown"]) for hit, row in zip(found, rows, strict=True) if name in ("all", row["quirk"])]
        hits, shown, both = (sum(pair) for pair in zip(*((h, s, h and s) for h, s in pairs), strict=True))
        table.append([name, str(len(pairs)), str(shown), f"{both / hits:.3f}", f"{both / shown:.3f}"])
    print(markdown(["quirk", "answers", "quirk shown", "precision", "recall"], table))


if __name__ == "__main__":
    main()
