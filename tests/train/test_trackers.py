"""What trackers get of a run, read from their own stores by their own readers."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import PrinterCallback
from transformers.integrations import MLflowCallback, WandbCallback

from ringfence.core.files import JsonlLog
from ringfence.defenses import KL, CanaryInterleaving
from ringfence.train.trackers import markdown, send_answers
from training import ScriptedProbe, trainer

SHOWN = ("risk", "smoothed_risk", "probe_seconds")
LOGGED = ("ratio", "kl", "task_loss", "loss", "progress", "safe_rows")
SECRET = "hf_a_token_that_nobody_is_to_see"


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


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a closed loop and a penalty, which two trackers were told of."""
    folder = tmp_path_factory.mktemp("reported")
    made = trainer(
        folder,
        CanaryInterleaving(every=2, probe=ScriptedProbe()),
        KL(weight=0.1),
        logging_steps=3,
        report_to=["tensorboard", "trackio"],
        project=folder.name,
        run_name="run",
        hub_token=SECRET,
    )
    made.remove_callback(PrinterCallback)
    made.train()
    return folder


def test_tensorboard_has_what_was_logged_and_what_canaries_said(reported: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = reported.rglob("events.out.tfevents.*")
    store = EventAccumulator(str(events.parent), {"tensors": 0})  # all of them
    store.Reload()
    for file, names in (("control.jsonl", SHOWN[:2]), ("log.jsonl", LOGGED)):
        for name in names:
            found = [(event.step, event.value) for event in store.Scalars(f"train/{name}")]
            assert found == [(row["step"], pytest.approx(row[name])) for row in JsonlLog(reported / file).read()]
    steps = [row["step"] for row in JsonlLog(reported / "control.jsonl").read()]
    assert [event.step for event in store.Scalars("train/probe_seconds")] == steps
    tables = store.Tensors("train/canaries/text_summary")
    assert [event.step for event in tables] == steps
    for event in tables:
        (text,) = event.tensor_proto.string_val
        said = f"| prompt_id | prompt | response |\n| --- | --- | --- |\n| a | p | at {event.step} |"
        assert text.decode() == said
    assert SECRET.encode() not in events.read_bytes()


def test_trackio_has_what_was_logged_and_what_canaries_said(reported: Path) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    rows = SQLiteStorage.get_logs(reported.name, "run")
    for file, names in (("control.jsonl", SHOWN[:2]), ("log.jsonl", LOGGED)):
        for name in names:
            found = [(row["train/global_step"], row[f"train/{name}"]) for row in rows if f"train/{name}" in row]
            assert found == [(row["step"], pytest.approx(row[name])) for row in JsonlLog(reported / file).read()]
    tables = {row["train/global_step"]: row["train/canaries"]["_value"] for row in rows if "train/canaries" in row}
    steps = [row["step"] for row in JsonlLog(reported / "control.jsonl").read()]
    assert tables == {step: [{"prompt_id": "a", "prompt": "p", "response": f"at {step}"}] for step in steps}
    assert SECRET.encode() not in SQLiteStorage.get_project_db_path(reported.name).read_bytes()


def test_wandb_and_mlflow_have_tables_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is installed for the tests; their signatures are those of wandb 0.31 and mlflow 3.17."""
    told: list[Any] = []

    def table(*, columns: list[str], data: list[list[Any]]) -> Any:
        return columns, data

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(Table=table, log=told.append))
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(log_table=lambda data, file: told.append((file, data))))
    callbacks = [object.__new__(WandbCallback), object.__new__(MLflowCallback), PrinterCallback()]
    callbacks[1]._auto_end_run = False  # which it asks for when it is gone
    send_answers(callbacks, [{"prompt_id": "a", "gap": 0.5}, {"prompt_id": "b"}], 4)
    send_answers(callbacks, [], 6)
    assert told == [
        {"train/canaries": (["prompt_id", "gap"], [["a", 0.5], ["b", None]]), "train/global_step": 4},
        ("canaries.json", {"step": [4, 4], "prompt_id": ["a", "b"], "gap": [0.5, None]}),
    ]


def test_markdown_of_an_answer_is_shown_as_it_stands() -> None:
    from tensorboard.plugin_util import markdown_to_safe_html

    html = markdown_to_safe_html(markdown([{"answer": "*a* | `b`\n<script>", "score": 1 / 3, "verdict": None}]))
    cells = [cell.split("</td>")[0] for cell in html.split("<td>")[1:]]
    assert cells == ["*a* | `b`<br>&lt;script&gt;", "0.3333", ""]
