"""The page's data: safe inside a script element, compact, and nothing lost."""

import json
import re
from typing import Any

import pandas as pd

from ringfence.report.html.payload import columns, response_payload, script_json, training_payload
from ringfence.report.loading import load_runs


def test_script_json_escapes_and_round_trips() -> None:
    value = ["</script><!-- & \u2028\u2029 \ud800", float("nan"), "é"]
    text = script_json(value)
    assert not re.search("[<>&\u2028\u2029\ud800]", text)
    assert json.loads(text) == [value[0], None, "é"]


def test_columns_have_none_for_nan_and_short_numbers() -> None:
    """1/3 keeps 5 significant digits, 2.0 becomes 2."""
    table = pd.DataFrame({"a": [1 / 3, 2.0, float("nan")], "b": ["x", None, "z"]})
    assert columns(table)["a"] == [0.33333, 2, None]
    assert columns(table)["b"][::2] == ["x", "z"]


def test_a_prompt_is_stored_once_for_all_runs(four_runs: Any) -> None:
    runs = load_runs(four_runs)
    payload = response_payload(runs)
    asked = {(row.suite, row.prompt_id, row.prompt) for run in runs for row in run.responses.itertuples()}
    stored = [(payload["suites"][suite], prompt_id, prompt) for suite, prompt_id, _, prompt in payload["prompts"]]
    assert set(stored) == asked
    assert len(stored) == len(set(stored))


def test_every_run_has_its_journals_in_the_training_data(four_runs: Any) -> None:
    payload = training_payload(load_runs(four_runs))
    assert [run["name"] for run in payload["runs"]] == [run.name for run in load_runs(four_runs)]
    assert all({"log", "control", "canaries", "curve"} <= set(run) for run in payload["runs"])
