"""The demo's bookkeeping on the small project; the real demo is `make demo`."""

import io
import json
import math
import re
from importlib import resources
from pathlib import Path

import pytest
from rich.console import Console

import project
from ringfence.core import progress
from ringfence.core.errors import RingfenceError
from ringfence.recipe.run import load_recipe
from ringfence.report import load_run
from ringfence.sweep import demo

KEYS = {"run", "suite", "metric", "value", "low", "high", "n"}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo with the small project's recipe and two runs."""
    recipe = project.make(tmp_path, name="x")
    monkeypatch.setattr(demo, "RUNS", {"base": None, "none": "[]"})
    monkeypatch.setattr(demo, "ORDER", ("none", "base"))
    monkeypatch.setattr(demo, "embedded", lambda: tmp_path)
    monkeypatch.setattr(demo, "files", lambda _: tmp_path)
    monkeypatch.setattr(demo, "as_file", lambda path: _Here(recipe))
    return tmp_path


class _Here:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        return None


def test_the_demo_makes_what_is_missing_and_reuses_the_rest(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, pipe = small / "demo", io.StringIO()
    monkeypatch.setattr(progress, "EVERY", 0.0)
    demo.run_demo(out, 2, Console(file=pipe, width=80))
    lines = [line for line in pipe.getvalue().splitlines() if line.startswith("percent of the demo")]
    assert re.fullmatch(r"percent of the demo: 0 of 100 \(none 0%, base 0%\)", lines[0])
    assert lines[-1] == "percent of the demo: 100 of 100 (none 100%, base 100%)"
    rows = json.loads((out / "summary.json").read_text())
    assert all(set(row) == KEYS for row in rows)
    assert {row["run"] for row in rows} == {"base", "none"}
    found = {(row["run"], row["suite"], row["metric"]): row for row in rows}
    for run in ("base", "none"):
        for suite in ("general", "in-domain"):
            for metric in ("misaligned_all", "misaligned_coherent", "incoherent"):
                assert (run, suite, metric) in found
        for metric in ("safe_fraction", "seconds", "peak_general"):
            assert (run, None, metric) in found
    assert found["none", None, "safe_fraction"]["value"] == 0
    assert found["none", None, "seconds"]["value"] > 0
    assert found["base", None, "safe_fraction"]["value"] is None, "nothing was trained on: no fraction, and not 0"
    assert (out / "report.html").stat().st_size > 100_000
    untouched = (out / "none" / "result.json").stat().st_mtime_ns
    demo.run_demo(out, 1, Console(quiet=True))
    assert (out / "none" / "result.json").stat().st_mtime_ns == untouched


def test_the_peak_is_the_worst_moment_and_not_the_last(small: Path) -> None:
    """Curve 0.2, 0.9, 0.4 with a final 0.6: the peak is 0.9."""
    run = small / "r"
    (run / "evaluation").mkdir(parents=True)
    point = {"suite": "general", "metric": "misaligned_all", "low": 0.1, "high": 1.0, "n": 10}
    (run / "run.json").write_text(json.dumps({"name": "r"}))
    curve = [{"step": step, "value": value, **point} for step, value in ((1, 0.2), (2, 0.9), (3, 0.4))]
    project.write_jsonl(run / "curve.jsonl", curve)
    summary = {"rows": [{"value": 0.6, **point}], "counts": {"general": {"rows": 10, "missing": 0}}}
    (run / "evaluation" / "summary.json").write_text(json.dumps(summary))
    rows = {row["metric"]: row for row in demo.summary_rows(load_run(run)) if row["suite"] is None}
    assert rows["peak_general"]["value"] == 0.9
    assert rows["peak_general"]["n"] == 10
    assert rows["seconds"]["value"] == 0.0
    assert not math.isnan(rows["seconds"]["value"])


def test_a_failed_run_names_its_log(small: Path) -> None:
    (small / "tiny-model" / "model.safetensors").unlink()
    with pytest.raises(RingfenceError, match=r"the run none failed: .*without weights.*none\.log"):
        demo.run_demo(small / "demo", 1, Console(quiet=True))


def test_the_packaged_recipe_and_every_run_of_the_demo_parse() -> None:
    path = Path(str(resources.files("ringfence.recipe.builtin") / "glitter.yaml"))
    for name, defenses in demo.RUNS.items():
        overrides = [f"name={name}"] + ([f"defenses={defenses}"] if defenses else [])
        assert load_recipe(path, overrides).name == name
    canary = load_recipe(path, [f"defenses={demo.RUNS['canary']}"]).defenses[0]
    assert (canary.every, canary.ratio_init, canary.ratio_max, canary.max_canaries) == (4, 0, 0.20, 16)
    assert (canary.accounting, canary.granularity) == ("replace", "example")
