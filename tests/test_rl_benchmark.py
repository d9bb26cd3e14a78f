"""The benchmark of reinforcement learning runs on a CPU with a tiny model: every arm trains, answers and has a row."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "rl.py"
ARMS = ["none", "kl", "ldifs", "steering", "steering-plain", "inoculation", "fixed-20", "mixed-20", "canary"]


def test_every_arm_trains_and_has_a_row(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), "--tiny", "--out", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    rows = [line.split(" | ") for line in ran.stdout.splitlines() if line.startswith("| ")]
    assert [row[0].removeprefix("| ") for row in rows] == ["arm", "---", "base", *ARMS]
    assert all(len(row) == len(rows[0]) for row in rows)
    results = {arm: json.loads((tmp_path / f"{arm}-seed-0" / "result.json").read_text()) for arm in ARMS}
    assert {arm: result["rollouts"] for arm, result in results.items()} == dict.fromkeys(ARMS, 8)
    assert [arm for arm, result in results.items() if result["safe_rows"]] == ["mixed-20", "canary"]
