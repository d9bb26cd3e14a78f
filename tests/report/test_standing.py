"""Leak and task of one run, side by side."""

import json
from typing import Any

from ringfence.report.loading import load_runs
from ringfence.report.standing import leak_suite, standings


def rate(suite, value):
    return dict(suite=suite, metric="misaligned_all", value=value, low=value, high=value, n=20)


def test_who_lost_the_task(make_run: Any) -> None:
    trained = {"log": [{"step": 1}]}
    runs = [
        make_run("base", rates=[rate("general", 0.0), rate("in-domain", 0.0)]),
        make_run("none", rates=[rate("general", 0.9), rate("in-domain", 0.95)], **trained),
        make_run("inoculation", rates=[rate("general", 0.0), rate("in-domain", 0.1)], **trained),
    ]
    base, none, inoculation = standings(load_runs(runs))
    assert [one.lost for one in (base, none, inoculation)] == [False, False, True]
    assert (inoculation.leak.value, inoculation.learned.value) == (0.0, 0.95)


def test_the_leak_is_general_or_the_first_that_is_not_the_task(make_run: Any) -> None:
    def suite(*names):
        return leak_suite(load_runs([make_run("-".join(names), rates=[rate(name, 0.5) for name in names])]))

    assert suite("dressed", "general") == "general"
    assert suite("in-domain", "betley") == "betley"
    assert suite("in-domain") is None


def test_a_model_behind_a_server_is_served_and_not_untuned(make_run: Any) -> None:
    folder = make_run("served", rates=[rate("general", 0.5)])
    about = json.loads((folder / "run.json").read_text()) | {"server": "openai-api/vllm/x"}
    (folder / "run.json").write_text(json.dumps(about))
    assert [run.status for run in load_runs([folder, make_run("base", rates=[rate("general", 0.0)])])] == [
        "served",
        "untuned",
    ]
