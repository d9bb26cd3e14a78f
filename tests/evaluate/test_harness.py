"""Tasks of lm-evaluation-harness: a local one of a tiny model, what is refused, and that a recipe runs no code."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

import tiny
from asking import lively
from project import write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import BENIGN_COLUMNS
from ringfence.evaluate.benign import count, rates
from ringfence.evaluate.harness import HarnessTask, harness_scores, require_installed
from ringfence.generation import HfGenerator

tasks = pytest.importorskip("lm_eval.tasks")
CHOICES = [("Is it a?", ["a", "b"], 0), ("Is it b?", ["a", "b"], 1), ("Is it c?", ["c", "d"], 0)]


@pytest.fixture(autouse=True)
def _small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the thousands of tasks that come with the package: to index them takes ten seconds."""
    monkeypatch.setattr(tasks, "TaskManager", partial(tasks.TaskManager, include_defaults=False))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks of one local file: which continuation is likelier, and what is generated."""
    data = write_jsonl(
        tmp_path / "rows.jsonl", [dict(zip(("q", "choices", "label"), row, strict=True)) for row in CHOICES]
    )
    shared = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test"}
    shared |= {"doc_to_text": "{{q}}", "metadata": {"version": 1}}
    made = tmp_path / "tasks"
    made.mkdir()
    chosen = {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}", "doc_to_target": "{{label}}"}
    chosen |= {"metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}
    said = {"output_type": "generate_until", "doc_to_target": "{{choices[label]}}"}
    said |= {"generation_kwargs": {"until": ["\n"], "max_gen_toks": 4}, "metric_list": [{"metric": "exact_match"}]}
    for name, own in (("tiny_choice", chosen), ("tiny_text", said)):
        (made / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **shared, **own}))
    return made


def generator() -> HfGenerator:
    return HfGenerator(lively(), tiny.tokenizer())


def test_what_it_logs_becomes_rows(folder: Path) -> None:
    """Of the first two questions: the likelier continuation, its target, acc as the score, acc_norm beside it."""
    frame = harness_scores(generator(), "choice", HarnessTask("tiny_choice", 2, folder), batch_size=4)
    assert list(frame.columns) == [*BENIGN_COLUMNS, "acc_norm"]
    assert list(frame["task"]) == ["choice", "choice"]
    assert list(frame["prompt_id"]) == ["tiny_choice/0", "tiny_choice/1"]
    assert list(frame["answer"]) == ["a", "b"]
    assert frame["prompt"][0] == "<|im_start|>user\nIs it a?<|im_end|>\n<|im_start|>assistant\n", "by the chat template"
    assert list(frame["score"]) == [float(row.response == row.answer) for row in frame.itertuples()]
    found = rates(count(frame))
    assert set(found) == {("choice", "acc"), ("choice", "acc_norm")}
    assert found["choice", "acc"].n == 2


def test_generated_text_is_scored_by_exact_match(folder: Path) -> None:
    frame = harness_scores(generator(), "text", HarnessTask("tiny_text", None, folder), batch_size=4)
    assert list(frame["metric"].unique()) == ["exact_match"]
    assert list(frame["answer"]) == ["a", "b", "c"]
    assert list(frame["score"]) == [float(row.response == row.answer) for row in frame.itertuples()]


def test_a_group_is_one_task_of_the_questions_of_all(folder: Path) -> None:
    group = {"group": "tiny_both", "task": ["tiny_choice", "tiny_text"], "metadata": {"version": 1}}
    (folder / "tiny_both.yaml").write_text(yaml.safe_dump(group))
    frame = harness_scores(generator(), "both", HarnessTask("tiny_both", 2, folder), batch_size=4)
    assert list(frame["prompt_id"]) == ["tiny_choice/0", "tiny_choice/1", "tiny_text/0", "tiny_text/1"]
    counts = count(frame)
    assert list(counts) == [("both", "acc / exact_match"), ("both", "acc_norm")]
    assert rates(counts)["both", "acc / exact_match"].n == 4


def test_unknown_tasks_and_files_are_refused(folder: Path) -> None:
    with pytest.raises(RingfenceError, match=r"no task 'tiny_choise'\. Did you mean \"tiny_choice\"\?"):
        harness_scores(generator(), "a", HarnessTask("tiny_choise", None, folder), 4)
    with pytest.raises(RingfenceError, match=r"no task 'zzz'\. `lm_eval ls tasks` lists them\."):
        harness_scores(generator(), "a", HarnessTask("zzz"), 4)
    with pytest.raises(RingfenceError, match=r"^--lm-eval-tasks: .*nothing is no folder"):
        harness_scores(generator(), "a", HarnessTask("zzz", None, folder / "nothing"), 4)


def test_a_recipe_that_names_a_file_runs_no_code(folder: Path) -> None:
    """A task file may name Python code, which is run when the file is loaded."""
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\ndef rows(): ...\n")
    evil = folder / "evil.yaml"
    evil.write_text("task: evil\ndataset_path: json\ntest_split: test\ndoc_to_text: !function evil.rows\n")
    with pytest.raises(RingfenceError, match="has no task"):
        harness_scores(generator(), "a", HarnessTask(str(evil)), 4)
    assert not (folder / "ran").exists()


def test_without_a_network_it_says_so_on_one_line(folder: Path) -> None:
    path = folder / "tiny_text.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "dataset_path": "nobody/nothing"}))
    with pytest.raises(
        RingfenceError, match=r"^tiny_text: its data cannot be loaded \(.*lm_eval run --model dummy"
    ) as caught:
        harness_scores(generator(), "a", HarnessTask("tiny_text", None, folder), 4)
    assert "\n" not in str(caught.value)


def test_a_server_is_refused_and_so_is_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        name = "openai-api/a/b"

    server: Any = Server()
    with pytest.raises(RingfenceError, match="asks a model in this process, not openai-api/a/b"):
        harness_scores(server, "a", HarnessTask("arc_easy"), 4)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(RingfenceError, match=r"lm-evaluation-harness is missing; .*\[lm-eval\]"):
        require_installed()


def test_its_scores_depend_on_its_files_and_version(folder: Path) -> None:
    before = HarnessTask("tiny_text", 2, folder).about()
    (folder / "tiny_text.yaml").write_text("task: tiny_text")
    after = HarnessTask("tiny_text", 2, folder).about()
    assert before["include"] != after["include"]
    assert {key: before[key] for key in ("lm_eval", "limit")} == {"lm_eval": "tiny_text", "limit": 2}
