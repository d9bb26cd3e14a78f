"""The GPU command runs on a CPU with a tiny model: every section measures, and what is exact there is exact here."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
SECTIONS = {"exactness", "training", "defenses", "interleaving", "generation", "judging", "scoring", "compatibility"}


def test_every_section_measures_and_exactness_holds(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), "--tiny", "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(out.read_text())["found"]
    assert {row["section"] for row in found} == SECTIONS
    assert not [row for row in found if row["what"] in ("failed", "not measured")]
    exact = [row for row in found if row["section"] == "exactness"]
    assert [row["value"] for row in exact if row["what"].startswith("resumed")] == ["yes"]
    ratios = [row["ratios"][0] for row in exact if row["ratios"]]
    assert len(ratios) == 2
    assert all(abs(ratio - 1) < 0.05 for ratio in ratios)


def test_an_unknown_section_is_refused() -> None:
    ran = subprocess.run([sys.executable, str(SCRIPT), "--only", "speed"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "invalid choice: 'speed'" in ran.stderr
