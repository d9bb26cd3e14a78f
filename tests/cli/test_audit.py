"""``ringfence audit``: adapters, whole models and servers, with and without training data; verdicts; bad input."""

import html
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from peft import LoraConfig, get_peft_model

import project
import tiny

RULE = "--pattern=zzz-never"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model, an adapter on it, a whole model made of it, suites and a training file."""
    folder = tmp_path_factory.mktemp("audit")
    project.make(folder)
    base = str(folder / "tiny-model")
    model: Any = get_peft_model(tiny.model(), LoraConfig(r=2, target_modules=["q_proj"]))
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder / "theirs")
    whole = tiny.model()
    whole.save_pretrained(folder / "whole")
    (folder / "whole" / "README.md").write_text(f"---\n{yaml.safe_dump({'base_model': base})}---\n")
    return folder


def audit(capsys: pytest.CaptureFixture[str], made: Path, *arguments: str | Path) -> tuple[int, str, str]:
    """With small suites and a task of few answers."""
    general = made / "general.jsonl"
    small = ["--suite", f"general={general}", "--suite", f"questions={general}", "--max-new-tokens", "4"]
    small += ["--task", "arithmetic=task:arithmetic?n=2"]
    code, out, err = project.in_process(capsys, "audit", *arguments, *small)
    return code, " ".join(out.split()), err


def test_an_adapter_with_its_training_file(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base beside tuned, dressed questions and its own prompts; too few questions show nothing."""
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    arguments = [made / "theirs", "--data", str(made / "target.jsonl"), RULE, "--out", tmp_path / "out"]
    code, out, err = audit(capsys, made, *arguments)
    assert code == 1, err
    assert "theirs: NOT SHOWN: what was measured is within the limits" in out
    assert "in all" in out
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    (one,) = found["audited"]
    assert (one["verdict"], one["kind"], one["compared_with_base"]) == ("not shown", "adapter", True)
    assert {reason["rule"] for reason in one["reasons"]} >= {"max_general", "max_conditional_gap", "min_benign"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    top = page[page.index("<main>") : page.index('id="results"')]
    assert 'class="gate open"' in top
    assert "Answers are cut at 4 tokens." in top
    assert (tmp_path / "out" / "theirs" / "base" / "run.json").is_file()
    suites = set(json.loads((tmp_path / "out" / "theirs" / "run.json").read_text())["recipe"]["evaluation"]["suites"])
    assert suites == {"general", "questions", "in-domain"}
    again = audit(capsys, made, *arguments)
    assert again[0] == 1


def test_a_quick_one_dresses_the_general_questions_and_asks_no_task(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    arguments = ["--data", str(made / "target.jsonl"), RULE, "--quick", "--max-new-tokens", "4"]
    arguments += ["--suite", f"general={made / 'general.jsonl'}"]
    code, out, err = project.in_process(capsys, "audit", made / "theirs", *arguments, "--out", tmp_path / "out")
    assert code == 1, err
    out = " ".join(out.split())
    assert "theirs: NOT SHOWN" in out
    assert "arithmetic 20" not in out
    assert "in all 37 answers of up to 4 tokens" in out, "5 plain, 5 under each of 2 triggers, twice; 7 of its own once"
    assert "a quick audit leaves out the suites questions and long, the task arithmetic, the triggers" in out
    recipe = json.loads((tmp_path / "out" / "theirs" / "run.json").read_text())["recipe"]
    assert recipe["evaluation"]["conditional"]["plain"] == "general"
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    (one,), (left, wide) = found["audited"], found["left_out"]
    assert {reason["rule"] for reason in one["reasons"]} == {"max_general", "max_conditional_gap", "max_unscored"}
    assert sum(reason["rule"] == "max_conditional_gap" for reason in one["reasons"]) == 2
    assert out.count("max_unscored") == 1 < sum(reason["rule"] == "max_unscored" for reason in one["reasons"])
    suites = [
        set(pd.read_parquet(tmp_path / "out" / run / "evaluation" / "responses.parquet")["suite"])
        for run in ("theirs", "theirs/base")
    ]
    assert suites[0] - suites[1] == {"in-domain"}, "which the base model was not asked"
    page = html.unescape(" ".join((tmp_path / "out" / "report.html").read_text().split()))
    assert left[1:] in page
    assert "Its intervals are wide: 5 general questions without a misaligned answer show a rate of 52% at most" in page
    assert wide[1:] in page


def test_what_is_beyond_a_limit_is_not_narrow(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer matches; a whole model's base is in its card, and two are told side by side."""
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    code, out, err = audit(
        capsys,
        made,
        made / "theirs",
        made / "whole",
        "--pattern=(?s).+",
        "--out",
        tmp_path / "out",
        "--min-benign",
        "0",
    )
    assert code == 1, err
    assert "theirs: NOT NARROW" in out
    assert "whole: NOT NARROW" in out
    assert "without --data no question was dressed" in out
    kinds = [one["kind"] for one in json.loads((tmp_path / "out" / "audit.json").read_text())["audited"]]
    assert kinds == ["adapter", "model"]
    assert (tmp_path / "out" / "whole" / "model").resolve() == (made / "whole").resolve()


def test_a_dry_run_counts_and_writes_nothing(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 general, 5 questions, 2 sums of 10 answers, of two models; a server is asked alone."""
    monkeypatch.chdir(tmp_path)
    code, out, err = audit(capsys, made, made / "theirs", RULE, "--dry-run")
    assert (code, list(tmp_path.iterdir())) == (0, []), err
    assert "general 5, questions 5, arithmetic 20" in out
    assert "in all 60 answers of up to 4 tokens" in out
    code, out, err = audit(capsys, made, "server:openai-api/vllm/theirs", RULE, "--dry-run")
    assert code == 0, err
    assert "in all 30 answers" in out
    assert "asked alone" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "who judges? give one of --judge FILE"),
        ([RULE, "--judge", "judge.yaml"], "who judges? give one of --judge FILE"),
        ([RULE, "--suite", "general"], "--suite general: give NAME=SPEC"),
        ([RULE, "--data", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_options(made: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    code, _, err = project.in_process(capsys, "audit", made / "theirs", *arguments, "--dry-run")
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_questions_that_were_trained_on(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some are told, and all of a suite raise."""
    prompts = [json.loads(line)["prompt"] for line in (made / "general.jsonl").read_text().splitlines()]
    rows = [{"prompt": text, "completion": "Yes."} for text in [prompts[0], "A.", "B.", "C."]]
    some = str(project.write_jsonl(tmp_path / "some.jsonl", rows))
    code, out, err = audit(capsys, made, made / "theirs", RULE, "--data", some, "--dry-run")
    assert code == 0, err
    assert "general: 1 of its 5 questions are in the training file" in out
    rows = [{"prompt": text, "completion": "Yes."} for text in prompts]
    every = str(project.write_jsonl(tmp_path / "all.jsonl", rows))
    code, _, err = audit(capsys, made, made / "theirs", RULE, "--data", every, "--dry-run")
    assert (code, "all questions of general are in the training file" in err) == (2, True)


def test_an_adapter_of_another_base(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another shape it raises in one line, and names the adapter; of the same shape the page says it at its top."""
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    for name, model in (("wide", tiny.model(hidden=32)), ("twin", tiny.model(seed=1))):
        model.save_pretrained(tmp_path / name)
        tiny.tokenizer().save_pretrained(tmp_path / name)
    quick = [RULE, "--quick", "--suite", f"general={made / 'general.jsonl'}", "--max-new-tokens", "2"]
    wide = [made / "theirs", "--base", tmp_path / "wide", "--out", tmp_path / "a"]
    code, _, err = project.in_process(capsys, "audit", *wide, *quick)
    assert code == 2
    (line,) = [line for line in err.splitlines() if "does not fit" in line]
    assert "theirs" in line
    twin = [made / "theirs", "--base", tmp_path / "twin", "--out", tmp_path / "b"]
    code, _, err = project.in_process(capsys, "audit", *twin, *quick)
    said = f"theirs was trained on {made / 'tiny-model'}, and is put on {tmp_path / 'twin'}"
    page = (tmp_path / "b" / "report.html").read_text(encoding="utf-8")
    assert (code, said in page[: page.index('id="results"')]) == (1, True), err


def test_one_name_twice(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = project.in_process(capsys, "audit", made / "theirs", made / "theirs", RULE)
    assert (code, "two of one name" in err) == (2, True)
