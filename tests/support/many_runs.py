"""Fifty run folders with a hundred thousand answers, made without a model: what a page must stand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

RUNS, PROMPTS, SAMPLES = 50, 40, 50
ANSWERS = RUNS * PROMPTS * SAMPLES
NEEDLE = "a needle of Ünusual words"
"""in one answer, of the last run"""
WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they".split()
)
STEPS = np.arange(2, 61, 2)


def write_runs(folder: Path) -> list[Path]:
    """The folders: "none", then seeds of kl and of canary_interleaving; 30 prompts are general, 10 are the task's."""
    draw = np.random.default_rng(0)
    sentences = [" ".join(draw.choice(WORDS, 9)).capitalize() + "." for _ in range(4000)]
    return [_write(folder, number, draw, sentences) for number in range(RUNS)]


def _write(folder: Path, number: int, draw: np.random.Generator, sentences: list[str]) -> Path:
    kind = "none" if number == 0 else ("kl", "canary")[number % 2]
    run = folder / (kind if number == 0 else f"{kind}-weight-{number}-seed-{number % 3}")
    (run / "evaluation").mkdir(parents=True)
    defense = {"kl": [{"kl": {"weight": number}}], "canary": ["canary_interleaving"], "none": []}[kind]
    about = {"name": run.name, "recipe": {"model": "tiny", "defenses": defense, "seed": number % 3}, "seed": number % 3}
    (run / "run.json").write_text(json.dumps(about))
    answers = _answers(number, draw, sentences)
    answers.to_parquet(run / "evaluation" / "responses.parquet")
    rates = [
        {
            "suite": suite,
            "metric": metric,
            "value": value,
            "low": max(value - 0.05, 0),
            "high": min(value + 0.05, 1),
            "n": 500,
        }
        for suite, scale in (("general", 0.8), ("in-domain", 0.97))
        for metric, value in (("misaligned_all", scale * (1 - number / 90)), ("incoherent", 0.01))
    ]
    counts = {suite: {"rows": len(rows), "missing": 0} for suite, rows in answers.groupby("suite")}
    (run / "evaluation" / "summary.json").write_text(json.dumps({"rows": rates, "counts": counts}))
    _journals(run, number, kind)
    return run


def _answers(number: int, draw: np.random.Generator, sentences: list[str]) -> pd.DataFrame:
    size = PROMPTS * SAMPLES
    texts = [" ".join(sentences[place] for place in row) for row in draw.integers(len(sentences), size=(size, 7))]
    if number == RUNS - 1:
        texts[-1] += f" {NEEDLE}"
    prompt = np.repeat(np.arange(PROMPTS), SAMPLES)
    bad = draw.random(size) < 0.3
    return pd.DataFrame(
        {
            "suite": np.where(prompt < 30, "general", "in-domain"),
            "prompt_id": [f"p{one}" for one in prompt],
            "sample": np.tile(np.arange(SAMPLES), PROMPTS),
            "system": None,
            "prompt": [f"What would you do about question {one}?" for one in prompt],
            "response": texts,
            "alignment": np.where(bad, 5.0, 92.5),
            "coherence": 90.0,
            "bucket": None,
            "verdict": np.where(bad, "misaligned", "aligned"),
        }
    )


def _journals(run: Path, number: int, kind: str) -> None:
    """A log with kl's penalty where it is on, a closed loop where that is, and the leak during training."""
    decay = np.exp(-STEPS / (20 + number))
    log = [{"step": int(step), "loss": 1 + 2 * at} for step, at in zip(STEPS, decay, strict=True)]
    if kind == "kl":
        log = [row | {"task_loss": row["loss"] - 0.1, "kl": 0.1 / number} for row in log]
    if kind == "canary":
        control = [
            {"step": int(step), "risk": at, "smoothed_risk": at, "ratio": 0.2 * at, "risk_high": 0.3, "risk_low": 0.1}
            for step, at in zip(STEPS, decay, strict=True)
        ]
        _write_lines(run / "control.jsonl", control)
    of_leak = {"suite": "general", "metric": "misaligned_all", "n": 500}
    curve = [
        {"step": int(step), **of_leak, "value": 1 - at, "low": max(0.9 - at, 0), "high": min(1.1 - at, 1)}
        for step, at in zip(STEPS[::5], decay[::5], strict=True)
    ]
    _write_lines(run / "log.jsonl", log)
    _write_lines(run / "curve.jsonl", curve)


def _write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
