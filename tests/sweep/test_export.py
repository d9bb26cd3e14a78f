"""A Snakefile has a rule a step, whose inputs are the steps before it."""

from pathlib import Path

import sweep_graphs
from ringfence.sweep.export import write_snakefile


def test_rules_and_their_order(tmp_path: Path) -> None:
    graph = sweep_graphs.graph(tmp_path / "out")
    write_snakefile(graph, tmp_path / "Snakefile")
    text = (tmp_path / "Snakefile").read_text()
    rules = {block.split(":")[0]: block for block in text.split("\nrule ")[1:]}
    assert set(rules) == {"all", *(f"run_{name}" for name in ("base", "a", "b", "c", "d"))}
    assert str(tmp_path / "out/steps/run-a/done.json") in rules["run_c"].split("output:")[0]
    assert "input:" not in rules["run_d"]
    assert f"python -m ringfence.sweep.task {tmp_path}/out/steps/run-d" in rules["run_d"]
    assert (tmp_path / "out/steps/run-d/step.json").is_file()
