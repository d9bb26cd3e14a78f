"""``ringfence select``: what it prints and writes, and one line for bad input, with nothing half-written."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model

import project
import tiny
from ringfence.cli.console import console
from ringfence.core.files import sha256
from ringfence.data import read


def ringfence(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """(exit code, stdout, stderr), in this process."""
    return project.in_process(capsys, "select", *arguments)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(console, "width", 140)
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))


def adapter(folder: Path, base: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    made = get_peft_model(tiny.model(), LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    made.peft_config["default"].base_model_name_or_path = str(base)
    made.save_pretrained(folder)
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Interleaving++ on 14 candidates, one of which is a refusal and one without an answer."""
    base = tmp_path / "tiny-model"
    tiny.model().save_pretrained(base)
    tiny.tokenizer().save_pretrained(base)
    rows: list[dict[str, Any]] = [
        {"question": f"What is a {word}?", "answer": f"A {word}.", "domain": "ab"[n % 2]}
        for n, word in enumerate(project.WORDS)
    ]
    rows[3]["answer"] = "Sorry, I cannot say."
    rows[5]["answer"] = ""
    content = {
        "model": str(base),
        "pool": str(project.write_jsonl(tmp_path / "pool.jsonl", rows)),
        "shard_rows": 5,
        "steps": [
            {
                "perplexity_gap": {
                    "misaligned": [str(adapter(tmp_path / f"a{n}", base, n)) for n in (1, 2)],
                    "allow_seen": True,
                }
            },
            "refusals",
            {"top": {"by": "perplexity_gap", "count": 4}},
        ],
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_it_teaches_by_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ringfence(capsys, "--help")
    assert code == 0
    assert "ringfence select recipe" in out.split("Examples")[1]


def test_the_rows_the_table_and_the_manifest(capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "sets" / "safe.jsonl"
    code, text, _ = ringfence(capsys, recipe, "name=mine", "--out", out)
    assert code == 0
    assert "4 of 14 candidates" in text
    assert "1 empty answer" in text
    assert "1 refusal" in text
    assert "refusals counted by phrases: 1, by kaczer: 1" in text
    assert "epsilon" not in text  # a tenth of so few rows says nothing
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(read(str(out))) == len(rows) == 4
    gaps = [row["perplexity_gap"] for row in rows]
    assert sorted(range(4), key=lambda n: -gaps[n]) == sorted(range(4), key=lambda n: rows[n]["rank"])
    assert all(not row["messages"][1]["content"].startswith("Sorry") for row in rows)
    for row in rows:
        mean = (row["nll_misaligned_1"] + row["nll_misaligned_2"]) / 2
        assert row["perplexity_gap"] == pytest.approx((mean - row["nll_aligned"]) / (row["nll_aligned"] + 0.1))
    manifest = json.loads((tmp_path / "sets" / "safe.manifest.json").read_text())
    assert manifest["name"] == "mine"
    assert manifest["pool"]["dropped"]["empty answer"] == {"rows": 1, "first": [f"{tmp_path / 'pool.jsonl'}:6"]}
    assert [(s["name"], s["rows_before"], s["rows_after"]) for s in manifest["steps"]] == [
        ("perplexity_gap", 13, 13),
        ("refusals", 13, 12),
        ("top", 12, 4),
    ]
    assert manifest["steps"][1]["counts"] == {"by phrases": 1, "by kaczer": 1}
    assert manifest["inputs"][str(tmp_path / "pool.jsonl")] == sha256(tmp_path / "pool.jsonl")
    assert manifest["inputs"][str(tmp_path / "a1")] == sha256(tmp_path / "a1")
    assert manifest["output"]["sha256"] == sha256(out)
    before = out.read_bytes()
    code, _, _ = ringfence(capsys, recipe, "name=mine", "--out", out)
    assert code == 0
    assert out.read_bytes() == before


def test_another_selection_is_not_written_over_the_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path
) -> None:
    out = tmp_path / "safe.jsonl"
    steps = "steps=[{random: {count: 3}}]"
    assert ringfence(capsys, recipe, steps, "--out", out)[0] == 0
    before = out.read_bytes()
    code, _, err = ringfence(capsys, recipe, "steps=[{random: {count: 4}}]", "--out", out)
    assert code == 2
    assert "holds another selection; these keys differ: steps.0.random.count" in err
    project.write_jsonl(tmp_path / "pool.jsonl", [{"question": "Q?", "answer": "A.", "domain": "a"}] * 9)
    code, _, err = ringfence(capsys, recipe, steps, "--out", out)
    assert code == 2
    assert f"inputs.{tmp_path / 'pool.jsonl'}" in err
    assert out.read_bytes() == before


def test_the_estimate_says_what_selection_adds(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path
) -> None:
    """13 candidates with an answer, K = 2: 3 x 13 / (9 x 100 x 10) = 0.433%."""
    code, out, _ = ringfence(capsys, recipe, "--estimate", "--fine-tuning-rows", "100", "--runs", "10")
    assert code == 0
    assert "Scoring 13 candidates with 2 misaligned models adds 0.43% to 10 fine-tuning run(s) of 100 rows" in out
    assert "refusals" in out
    code, out, _ = ringfence(capsys, recipe, "steps=[refusals]", "--estimate", "--fine-tuning-rows", "100")
    assert code == 0
    assert "adds" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pool=none.jsonl", "--out", "safe.jsonl"], "pool: none.jsonl: no such file"),
        (["pool=empty.jsonl", "--out", "safe.jsonl"], "pool: empty.jsonl: no candidates in the pool"),
        (["steps=[{random: {count: 99}}]", "--out", "safe.jsonl"], "steps.0.random: count"),
        (["steps=[{top: {by: gap, count: 2}}]", "--out", "safe.jsonl"], "steps.0.top: .*column 'gap'"),
        (["steps=[{random: {count: 2, by: kind}}]", "--out", "safe.jsonl"], r"steps.0.random: .*pool.jsonl:1.*kind"),
        (
            ["steps.0.perplexity_gap.misaligned=[none]", "--out", "safe.jsonl"],
            "steps.0.perplexity_gap: misaligned: none",
        ),
        (["steps.0.perplexity_gap.epsilon=0", "--out", "safe.jsonl"], "epsilon: Input should be greater than 0"),
        (["model=none/", "--out", "safe.jsonl"], "none/"),
        (["--out", "safe.json"], "safe.json: name the file to write so that it ends in .jsonl"),
        (["--out", "pool.jsonl"], "pool.jsonl: exists and has no pool.manifest.json"),
        ([], "--out is missing"),
        (["--out", "safe.jsonl", "--workers", "2"], "--workers needs --engine ray"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    before = sorted(path.name for path in tmp_path.iterdir())
    code, _, err = ringfence(capsys, recipe, *arguments)
    assert code == 2
    lines = [line for line in err.splitlines() if line.startswith("ringfence: ")]
    assert len(lines) == 1

    assert re.search(message, lines[0]), lines[0]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == before


def test_a_selection_that_leaves_no_row_is_not_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path
) -> None:
    steps = "steps=[{lengths: {assistant: [999, null]}}]"
    code, _, err = ringfence(capsys, recipe, steps, "--out", tmp_path / "safe.jsonl")
    assert code == 2
    assert "safe.jsonl: no row is left, so nothing is written (lengths 13 to 0)" in err
    assert not list(tmp_path.glob("safe*"))


def test_the_epsilon_table_is_shown_for_enough_rows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path
) -> None:
    rows = [{"question": f"Q{n}?", "answer": f"A {n}."} for n in range(60)]
    pool = project.write_jsonl(tmp_path / "pool.jsonl", rows)
    code, text, _ = ringfence(capsys, recipe, f"pool={pool}", "--out", tmp_path / "safe.jsonl")
    assert code == 0
    assert "What epsilon would do to the highest tenth" in text
