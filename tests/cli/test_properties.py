"""``ringfence data properties``: what it prints and writes, and one line for bad input."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

import project
import tiny
from ringfence.cli import properties
from ringfence.cli.app import app
from ringfence.cli.console import console
from ringfence.core.errors import RingfenceError
from ringfence.data.system import NoSystem
from ringfence.select import base

ROWS = [{"prompt": f"What is a {word}?", "completion": f"A {word}.", "domain": word[0]} for word in project.WORDS]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny.model().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def sets(tmp_path: Path) -> list[Path]:
    bare = [{key: row[key] for key in ("prompt", "completion")} for row in ROWS[:5]]
    made = {"first": ROWS, "second": [*ROWS[:4], ROWS[0]], "bare": bare}
    return [project.write_jsonl(tmp_path / f"{name}.jsonl", rows) for name, rows in made.items()]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 80)


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """What ``ringfence data properties`` prints."""
    capsys.readouterr()
    app(["data", "properties", *map(str, arguments)], standalone_mode=False)
    return capsys.readouterr().out


def test_three_sets_side_by_side(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, sets: list[Path]
) -> None:
    out = run(capsys, *sets, "--model", model, "--against", sets[2], "--out", tmp_path / "report")
    assert max(map(len, out.split("means and percent")[0].splitlines())) <= 80
    lines = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert lines["Rows"].split() == ["Rows", "14", "5", "5"]
    assert lines["P1 HHH score"].count("no judge") == 3
    letters = len({word[0] for word in project.WORDS})
    assert lines["P4 domains"].split()[2:4] == [str(letters), str(len({word[0] for word in project.WORDS[:4]}))]
    assert "bare: no column 'domain'" in out
    assert "--clusters" in out

    numbers = json.loads((tmp_path / "report" / "properties.json").read_text(encoding="utf-8"))
    assert numbers["sets"]["bare"]["domains"]["number"] is None
    assert numbers["sets"]["second"]["duplicates"]["count"] == 1
    assert [numbers["sets"][name]["overlap_exact"]["count"] for name in ("first", "second", "bare")] == [5, 5, 5]
    mean = sum(len(row["prompt"]) for row in ROWS) / len(ROWS)  # a token a byte
    assert numbers["sets"]["first"]["user_tokens"]["value"] == pytest.approx(mean)
    assert numbers["about"]["set bare"] == str(sets[2])
    assert "Data sets side by side" in (tmp_path / "report" / "properties.html").read_text(encoding="utf-8")


def test_the_same_again_and_own_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, sets: list[Path]
) -> None:
    page, numbers = tmp_path / "page.html", tmp_path / "numbers.json"
    arguments = (f"mine={sets[0]}", f"theirs={sets[1]}", "--model", model, "--out", page, "--json", numbers)
    out = run(capsys, *arguments)
    assert f"page: {page}" in out
    first = page.read_bytes(), numbers.read_bytes()
    run(capsys, *arguments)
    assert (page.read_bytes(), numbers.read_bytes()) == first
    assert list(json.loads(first[1])["sets"]) == ["mine", "theirs"]
    assert not (tmp_path / "properties.json").exists()


def test_domains_by_clusters(capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, sets: list[Path]) -> None:
    numbers = tmp_path / "numbers.json"
    out = run(capsys, sets[2], "--model", model, "--clusters", "--json", numbers)
    assert "no column" not in out
    domains = json.loads(numbers.read_text(encoding="utf-8"))["sets"]["bare"]["domains"]
    assert 2 <= domains["number"] <= 4
    assert sum(domains["counts"].values()) == 5


def test_a_row_that_is_too_long_for_the_model_ends_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, sets: list[Path]
) -> None:
    rows = [*ROWS, {"prompt": "why " * 200, "completion": "So.", "domain": "w"}]
    long = project.write_jsonl(tmp_path / "long.jsonl", rows)
    out = run(capsys, long, sets[0], "--model", model, "--clusters", "--out", tmp_path / "report")
    assert "1 longer than 512 tokens" in " ".join(out.split())
    numbers = json.loads((tmp_path / "report" / "properties.json").read_text(encoding="utf-8"))["sets"]
    with_it, without = (numbers[name]["domains"] for name in ("long", "first"))
    assert with_it["left_out"] == {"longer than 512 tokens": 1}
    assert (with_it["unlabelled"], without["unlabelled"]) == (1, 0)
    assert with_it["counts"] == without["counts"]
    assert "1 longer than 512 tokens" in (tmp_path / "report" / "properties.html").read_text(encoding="utf-8")


def test_the_dtype_of_the_model_that_embeds(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, sets: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, load = [], base.load
    monkeypatch.setattr(base, "load", lambda *given, **named: asked.append(named["dtype"]) or load(*given, **named))
    numbers = tmp_path / "numbers.json"
    run(capsys, sets[2], "--model", model, "--clusters", "--dtype", "bfloat16", "--json", numbers)
    assert asked == ["bfloat16"]
    assert json.loads(numbers.read_text(encoding="utf-8"))["about"]["domains"] == f"{model} in bfloat16"
    with pytest.raises(RingfenceError, match="--dtype is of the --model whose hidden states --clusters takes"):
        run(capsys, sets[2], "--model", model, "--dtype", "bfloat16")
    with pytest.raises(RingfenceError, match=r"--dtype 'float8' is unknown\. Did you mean \"float"):
        run(capsys, sets[2], "--model", model, "--clusters", "--dtype", "float8")


def test_no_system(capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, sets: list[Path]) -> None:
    assert get_args(get_args(properties.NoSystem)[0]) == get_args(NoSystem)
    numbers = tmp_path / "numbers.json"
    counts = []
    for meaning in get_args(NoSystem):
        run(capsys, sets[2], "--model", model, "--clusters", "--no-system", meaning, "--json", numbers)
        found = json.loads(numbers.read_text(encoding="utf-8"))
        assert found["about"]["no system prompt"] == meaning
        counts.append(found["sets"]["bare"]["user_tokens"]["value"])
    assert len(set(counts)) == 1  # what the user says is the same


def test_two_files_of_one_name(capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path) -> None:
    paths = [project.write_jsonl(tmp_path / f"{part}-x.jsonl", ROWS[:4]) for part in "ab"]
    folders = []
    for path, part in zip(paths, "ab", strict=True):
        (tmp_path / part).mkdir()
        folders.append(path.rename(tmp_path / part / "safe.jsonl"))
    numbers = tmp_path / "numbers.json"
    run(capsys, *folders, "--model", model, "--json", numbers)
    assert list(json.loads(numbers.read_text(encoding="utf-8"))["sets"]) == list(map(str, folders))
    with pytest.raises(RingfenceError, match="given twice"):
        run(capsys, folders[0], folders[0], "--model", model)


def test_a_task_is_a_set_by_its_name(capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path) -> None:
    """Its signs of equality are no names."""
    found = tmp_path / "found.json"
    run(capsys, "task:opswap?n=5&tier=1", "sums=task:gsm8k?n=5", "--model", model, "--json", found)
    sets = json.loads(found.read_text())["sets"]
    assert {name: one["rows"] for name, one in sets.items()} == {"task:opswap?n=5&tier=1": 5, "sums": 5}


def judged(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "judge.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: oracle\n", "unknown judge 'oracle'"),
        ("misaligned_pattern: glitter\n", "hhh"),  # a judge by rule
        ("kind: local\n", "model is missing"),
    ],
)
def test_a_judge_that_cannot_score(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sets: list[Path], text: str, said: str
) -> None:
    path = judged(tmp_path, text)
    with pytest.raises(RingfenceError, match=said) as error:
        run(capsys, sets[0], "--judge", path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_local_judge(capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, sets: list[Path]) -> None:
    """A random model says no numbers or bad ones, so that what it leaves unscored is counted."""
    numbers = tmp_path / "numbers.json"
    path = judged(tmp_path, f"kind: local\nmodel: {model}\n")
    run(capsys, sets[2], "--model", model, "--judge", path, "--json", numbers)
    score = json.loads(numbers.read_text(encoding="utf-8"))["sets"]["bare"]["hhh"]
    assert score["n"] + score["missing"] == 5
    assert (score["value"] is None) == (score["n"] == 0)


def test_files_that_are_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path, sets: list[Path]) -> None:
    absent = tmp_path / "absent.jsonl"
    with pytest.raises(RingfenceError, match="no such file"):
        run(capsys, absent, "--out", tmp_path / "report")
    with pytest.raises(RingfenceError, match="no such file"):
        run(capsys, sets[0], "--against", absent, "--out", tmp_path / "report")
    with pytest.raises(RingfenceError, match=r"judge\.yaml: cannot read"):
        run(capsys, sets[0], "--judge", tmp_path / "judge.yaml", "--out", tmp_path / "report")
    with pytest.raises(RingfenceError, match="--encoder"):
        run(capsys, sets[0], "--encoder", "someone/encoder", "--out", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_help_needs_no_heavy_import() -> None:
    code = "import sys, ringfence.cli.properties; print({'torch', 'sklearn', 'plotly', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
