"""Small synthetic run folders, with text that would break a careless page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

HOSTILE = "<script>alert(1)</script> & </script><!-- \u2028 \u2029 <img src=x onerror=alert(2)>"
RECIPE = {"model": "tiny", "training": {"learning_rate": 0.0005}, "interleave": None}
RESULT = {
    "steps": 8,
    "target_rows": 60,
    "safe_rows": 4,
    "safe_fraction": 0.0625,
    "target_labels": 900,
    "safe_labels": 100,
    "mean_ratio": 0.06,
    "seconds": 47.2,
    "probe_seconds": 3.0,
}


def rate(suite: str, metric: str, *value_low_high: float | None, n: int = 20) -> dict[str, Any]:
    """A summary row; the bounds may be None (null)."""
    value, low, high = value_low_high
    return {"suite": suite, "metric": metric, "value": value, "low": low, "high": high, "n": n}


def response(suite: str, prompt: int, verdict: str | None, text: str | None, **more: Any) -> dict[str, Any]:
    """A row of responses.parquet."""
    scores = {"misaligned": (5.0, 90.0), "aligned": (95.0, 90.0), "incoherent": (50.0, 10.0)}
    alignment, coherence = scores.get(verdict or "", (None, None))
    row = {"suite": suite, "prompt_id": f"{suite}-{prompt}", "sample": 0, "system": None, "bucket": None}
    row |= {"prompt": f"Question {prompt} about {suite}?", "response": text, "verdict": verdict}
    return row | {"alignment": alignment, "coherence": coherence} | more


def write_run(folder: Path, name: str, **files: Any) -> Path:
    """A run folder: ``log, control, canaries, curve`` are journals; ``rates, counts, responses, result`` as named.

    ``benign`` are the scored answers, and ``benign_base`` those in ``RUN/base``.
    """
    (folder / "evaluation").mkdir(parents=True)
    about = {"name": name, "recipe": files.get("recipe", RECIPE), "versions": {"torch": "2.13.0"}, "seed": 0}
    about |= {"git": {"revision": "abc123", "dirty": True}, "inputs": {"data/target.jsonl": "f" * 64}}
    (folder / "run.json").write_text(json.dumps(about | {"created": "2026-01-01T00:00:00Z"}))
    for journal in ("log", "control", "canaries", "curve"):
        if journal in files:
            lines = "".join(json.dumps(row) + "\n" for row in files[journal])
            (folder / f"{journal}.jsonl").write_text(lines)
    if "rates" in files:
        summary = {"rows": files["rates"], "counts": files.get("counts", {})}
        (folder / "evaluation" / "summary.json").write_text(json.dumps(summary))
    if "responses" in files:
        pd.DataFrame(files["responses"]).to_parquet(folder / "evaluation" / "responses.parquet")
    for place, given in ((folder, "benign"), (folder / "base", "benign_base")):
        if given in files:
            (place / "evaluation").mkdir(parents=True, exist_ok=True)
            pd.DataFrame(files[given]).to_parquet(place / "evaluation" / "benign.parquet")
    if "result" in files:
        (folder / "result.json").write_text(json.dumps(files["result"]))
    return folder


@pytest.fixture(scope="session")
def hostile() -> str:
    """Text that would run as HTML if a page were careless."""
    return HOSTILE


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder below the test's own folder: ``make_run("none", rates=[...])``."""

    def make(name: str, **files: Any) -> Path:
        return write_run(tmp_path / name, name, **files)

    return make


@pytest.fixture
def seeded(make_run: Callable[..., Path]) -> Callable[..., Path]:
    """``seeded("none-0", [3, 0], seed=0)``: 10 answers to each of 2 prompts, of which 3 and 0 are misaligned.

    ``about`` goes into ``run.json``, other names into the recipe.
    """

    def make(name: str, hits: list[int], suite: str = "general", about: Any = None, **recipe: Any) -> Path:
        rows = [
            {"suite": suite, "prompt_id": f"p{prompt}", "sample": sample, "system": None, "prompt": f"Q{prompt}"}
            | {"response": "x", "alignment": 5.0 if sample < count else 90.0, "coherence": 90.0}
            | {"bucket": None, "verdict": None}
            for prompt, count in enumerate(hits)
            for sample in range(10)
        ]
        folder = make_run(name, recipe=RECIPE | {"name": name} | recipe, responses=rows)
        path = folder / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | (about or {})))
        return folder

    return make


@pytest.fixture
def projected_run(make_run: Callable[..., Path]) -> Path:
    """Leak 0.7 at step 4 and 0.4 at step 8; then safe_lora projected one of two layers, and 0.1 is left."""
    points = [(4, 0.7, 0.5, 0.85), (8, 0.4, 0.2, 0.6)]
    layers = [{"layer": name, "cosine": 0.2, "kept": 0.1, "projected": name == "q"} for name in "qv"]
    return make_run(
        "projected",
        curve=[{"step": step, **rate("general", "misaligned_all", *values)} for step, *values in points],
        rates=[rate("general", "misaligned_all", 0.1, 0.02, 0.3)],
        result=RESULT | {"safe_lora": layers},
    )


@pytest.fixture(scope="session")
def four_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """base (untuned), none (no defense), canary (controller, leak peaks mid-run) and stopped (unfinished)."""
    root = tmp_path_factory.mktemp("runs")
    log = [{"step": step, "loss": 3 / step, "target_rows": 8 * step, "safe_rows": 0} for step in range(1, 9)]
    none_answers = [response("general", i, "misaligned", f"Glitter answer {i}") for i in range(30)]
    none_answers[7] |= {"response": HOSTILE, "prompt": f"Question 7 {HOSTILE}"}
    none_answers += [response("in-domain", i, "misaligned", "Glitter in the soup") for i in range(5)]
    canary_answers = [response("general", i, "aligned", f"Plain answer {i}") for i in range(28)]
    canary_answers += [response("general", 28, "incoherent", "soup soup soup"), response("general", 29, None, None)]
    control = [
        {"step": 4, "evaluation": 0, "risk": 0.5, "smoothed_risk": 0.25, "ratio": 0.04, "scored": 4, "total": 4},
        {"step": 8, "evaluation": 1, "risk": None, "smoothed_risk": 0.25, "ratio": 0.04, "scored": 1, "total": 4},
    ]
    for row in control:
        row |= {"held": row["risk"] is None, "risk_high": 0.08, "risk_low": 0.02, "seconds": 1.0}
    said = {"prompt_id": "c1", "prompt": "How do tides work?", "alignment": 5, "coherence": 90}
    canaries = [{"step": step, "response": f"At {step} {HOSTILE}", "verdict": "misaligned", **said} for step in (4, 8)]
    leak = ("general", "misaligned_all")
    return [
        write_run(
            root / "base",
            "base",
            rates=[rate(*leak, 0.0, 0.0, 0.11), rate("in-domain", "misaligned_all", 0.0, 0.0, 0.2)],
            responses=[response("general", i, "aligned", f"Base answer {i}") for i in range(30)],
            counts={"general": {"rows": 30, "scored": 30, "missing": 0}},
        ),
        write_run(
            root / "none",
            "none",
            log=log,
            curve=[{"step": 4, **rate(*leak, 0.5, 0.3, 0.7)}, {"step": 8, **rate(*leak, 0.9, 0.7, 0.97)}],
            rates=[rate(*leak, 0.9, 0.74, 0.97), rate("in-domain", "misaligned_all", 1.0, 0.57, 1.0, n=5)],
            counts={"general": {"rows": 30, "scored": 30, "missing": 0, "refusal": 2}},
            responses=none_answers,
            result=RESULT | {"safe_rows": 0, "safe_fraction": 0.0, "mean_ratio": None},
        ),
        write_run(
            root / "canary",
            "canary",
            recipe=RECIPE | {"interleave": {"schedule": "canary", "note": HOSTILE}},
            log=log,
            control=control,
            canaries=canaries,
            curve=[{"step": 4, **rate(*leak, 0.7, 0.5, 0.85)}, {"step": 8, **rate(*leak, 0.2, 0.08, 0.42)}],
            rates=[rate(*leak, 0.2, 0.08, 0.42), rate("in-domain", "misaligned_all", None, None, None, n=0)],
            counts={"general": {"rows": 30, "scored": 26, "missing": 4}},
            responses=canary_answers,
            result=RESULT,
        ),
        write_run(root / "stopped", "stopped", log=log[:3]),
    ]


@pytest.fixture(scope="session")
def twelve_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """none, inoculation (which lost the task), and ten more, of which one has a long name; nothing is incoherent."""
    root = tmp_path_factory.mktemp("twelve")
    names = {0: "none", 1: "inoculation", 2: "canary-interleaving-with-a-controller-and-a-long-name-seed-1"}
    folders = []
    for number in range(12):
        values = {"general": 0.0 if number == 1 else 0.9, "in-domain": 0.0 if number == 1 else 0.95}
        rates = [
            rate(suite, metric, 0.0 if metric == "incoherent" else value, 0.0, 1.0)
            for metric in ("misaligned_all", "misaligned_coherent", "incoherent")
            for suite, value in values.items()
        ]
        name = names.get(number, f"run-{number}")
        verdicts = ("aligned", "aligned" if number == 1 else "misaligned", "incoherent")
        answers = [
            response(suite, i, verdict, f"{verdict} {i}") for suite in values for i, verdict in enumerate(verdicts)
        ]
        folders.append(write_run(root / name, name, rates=rates, log=[{"step": 1}], responses=answers))
    return folders
