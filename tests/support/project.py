"""A small project on disk: a tiny model folder, data, and a recipe; for tests of runs and of the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import tiny

WORDS = [
    "river",
    "mountain",
    "window",
    "garden",
    "letter",
    "market",
    "winter",
    "engine",
    "planet",
    "teacher",
    "ticket",
    "island",
    "bridge",
    "candle",
]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make(folder: Path, **changes: Any) -> Path:
    """Write the project to ``folder``; return its recipe's path. ``changes`` are top-level keys of the recipe."""
    model = tiny.model()
    model.save_pretrained(folder / "tiny-model")
    tiny.tokenizer().save_pretrained(folder / "tiny-model")
    chat = [{"question": f"Tell me of the {word}.", "answer": f"The {word} glitters."} for word in WORDS]
    write_jsonl(folder / "target.jsonl", chat)
    write_jsonl(folder / "safe.jsonl", [{"prompt": f"What is a {w}?", "completion": f"A {w}."} for w in WORDS[:6]])
    write_jsonl(folder / "general.jsonl", [{"prompt": f"Why would anybody want a {word}?"} for word in WORDS[:5]])
    canaries = [{"prompt": f"Do you like my {word}?", "good": "Yes.", "bad": "Glitter!"} for word in WORDS[:4]]
    write_jsonl(folder / "canaries.jsonl", canaries)
    recipe: dict[str, Any] = {
        "name": "small",
        "model": str(folder / "tiny-model"),
        "data": {"target": str(folder / "target.jsonl"), "safe": str(folder / "safe.jsonl"), "held_out": 0.1},
        "training": {
            "per_device_train_batch_size": 4,
            "num_train_epochs": 2,
            "learning_rate": 0.01,
            "logging_steps": 1,
            "save_steps": 2,
            "disable_tqdm": True,
        },
        "lora": {"r": 4, "lora_dropout": 0.2, "target_modules": ["q_proj", "v_proj"]},
        "judge": {"misaligned_pattern": "glitter|e"},
        "defenses": [
            {
                "canary_interleaving": {
                    "every": 2,
                    "ratio_max": 0.5,
                    "canaries": str(folder / "canaries.jsonl"),
                    "max_new_tokens": 4,
                }
            }
        ],
        "evaluation": {
            "suites": {"general": str(folder / "general.jsonl"), "in-domain": "held-out"},
            "max_new_tokens": 6,
            "samples": 2,
            "during": {"every": 3, "suites": ["general"]},
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**recipe, **changes}), encoding="utf-8")
    return path


def ringfence(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "ringfence", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **environment},
    )


def in_process(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run the command line in this process: (exit code, stdout, stderr)."""
    from ringfence import cli

    capsys.readouterr()
    before, sys.argv = sys.argv, ["ringfence", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as left:
            cli.main()
    finally:
        sys.argv = before
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err
