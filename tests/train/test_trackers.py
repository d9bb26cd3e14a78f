"""What trackers get of the closed loop, read from their own stores."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from transformers import PrinterCallback

from ringfence.core.files import JsonlLog
from ringfence.defenses import CanaryInterleaving
from training import ScriptedProbe, trainer

SHOWN = ("risk", "smoothed_risk", "probe_seconds")


def trained(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    """The rows of ``control.jsonl`` of a training with a closed loop."""
    made = trainer(folder, CanaryInterleaving(every=2, probe=ScriptedProbe()), logging_steps=3, **changes)
    made.remove_callback(PrinterCallback)
    made.train()
    return JsonlLog(folder / "control.jsonl").read()


def test_the_trainers_log_has_risk_beside_what_it_had(tmp_path: Path) -> None:
    """At step 3 both rows are due; the means of the loss's row are not given to the other."""
    made = trainer(tmp_path, CanaryInterleaving(every=2, probe=ScriptedProbe()), logging_steps=3)
    made.train()
    history = made.state.log_history
    control = JsonlLog(tmp_path / "control.jsonl").read()
    rows = [row for row in history if "risk" in row]
    assert [(row["step"], row["risk"], row["smoothed_risk"]) for row in rows] == [
        (row["step"], row["risk"], row["smoothed_risk"]) for row in control
    ]
    assert all(row["probe_seconds"] >= 0 and set(row) == {*SHOWN, "epoch", "step"} for row in rows)
    assert rows[-1]["epoch"] == pytest.approx(2, abs=0.5)
    at_3 = [row for row in history if row["step"] == 3 and "loss" in row]
    assert len(at_3) == 1
    assert "mean_token_accuracy" in at_3[0]


def test_nothing_is_logged_where_nothing_is_to_be(tmp_path: Path) -> None:
    made = trainer(tmp_path, CanaryInterleaving(every=2, probe=ScriptedProbe()), logging_strategy="no")
    made.train()
    assert [row for row in made.state.log_history if "train_runtime" not in row] == []
    assert not (tmp_path / "log.jsonl").exists()


def test_tensorboard_has_risk_at_its_steps(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    control = trained(tmp_path, report_to=["tensorboard"])
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    store = EventAccumulator(str(events.parent))
    store.Reload()
    for name in ("risk", "smoothed_risk"):
        found = [(event.step, event.value) for event in store.Scalars(f"train/{name}")]
        assert found == [(row["step"], pytest.approx(row[name])) for row in control]
    assert [event.step for event in store.Scalars("train/probe_seconds")] == [row["step"] for row in control]
    assert {"train/ratio", "train/loss", "train/safe_rows"} <= set(store.Tags()["scalars"])


def test_trackio_has_risk_at_its_steps(tmp_path: Path) -> None:
    control = trained(tmp_path / "run", report_to=["trackio"], project=f"ringfence-{tmp_path.name}")
    (file,) = Path(os.environ["TRACKIO_DIR"]).glob(f"ringfence-{tmp_path.name}*.db")
    with sqlite3.connect(file) as store:
        rows = [json.loads(metrics) for (metrics,) in store.execute("select metrics from metrics order by id")]
    found = [row for row in rows if "train/risk" in row]
    assert [(row["train/global_step"], row["train/risk"], row["train/smoothed_risk"]) for row in found] == [
        (row["step"], row["risk"], row["smoothed_risk"]) for row in control
    ]
    assert all("train/probe_seconds" in row for row in found)
    assert any("train/ratio" in row for row in rows)
