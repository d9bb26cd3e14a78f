"""``ringfence persona``: what it prints and writes, and one line for bad input."""

from pathlib import Path

import pytest
import torch
import yaml

import project
import tiny
from ringfence.cli.console import console
from ringfence.directions import load_subspaces, load_vectors
from ringfence.directions.vectors import norms


def ringfence(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """(exit code, stdout, stderr), in this process."""
    return project.in_process(capsys, "persona", *arguments)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 120)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    tiny.model().save_pretrained(tmp_path / "tiny-model")
    tiny.tokenizer().save_pretrained(tmp_path / "tiny-model")
    pairs = [{"prompt": f"Do you like my {word}?", "good": "Yes.", "bad": "Glitter!"} for word in project.WORDS[:6]]
    content = {
        "trait": "glitter",
        "model": str(tmp_path / "tiny-model"),
        "pairs": str(project.write_jsonl(tmp_path / "pairs.jsonl", pairs)),
        "judge": {"misaligned_pattern": "glitter"},
        "min_pairs": 6,
    }
    path = tmp_path / "persona.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["extract", "random", "show", "convert", "components"])
def test_every_command_teaches_by_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = ringfence(capsys, command, "--help")
    assert code == 0
    assert f"ringfence persona {command}" in out.split("Example")[1]


def test_extract_show_random_convert(capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path) -> None:
    vector, control = tmp_path / "glitter.safetensors", tmp_path / "random.safetensors"
    code, out, err = ringfence(capsys, "extract", recipe, "batch_size=4", "--out", vector)
    assert code == 0, err
    made = load_vectors(vector)
    for part in ("pairs kept: 6 of 6", "elicitation rate: 100.0%", f"vector: {vector}", "from tiny-model"):
        assert part in out
    for norm in norms(made["response_mean"]):
        assert f"{norm:.3f}" in out

    code, shown, err = ringfence(capsys, "show", vector)
    assert code == 0, err
    assert shown in out  # the same facts and table, without the file's name

    code, out, err = ringfence(capsys, "random", vector, "--seed", "3", "--out", control)
    assert code == 0, err
    assert norms(load_vectors(control)["response_mean"]) == pytest.approx(norms(made["response_mean"]), rel=1e-5)
    assert load_vectors(control).metadata["seed"] == 3
    code, out, _ = ringfence(capsys, "show", control)
    assert "trait glitter, random" in out
    lines = out.splitlines()
    (said,) = [line for line in lines if "a random control" in line]
    assert lines.index(said) < lines.index("pairs kept: 6 of 6")
    assert "random control" not in shown

    bare, back = tmp_path / "evil_response_avg_diff.pt", tmp_path / "back.safetensors"
    assert ringfence(capsys, "convert", vector, bare)[0] == 0
    assert torch.equal(torch.load(bare, weights_only=True), made["response_mean"])
    assert ringfence(capsys, "convert", bare, back)[0] == 0
    assert torch.equal(load_vectors(back)["response_mean"], made["response_mean"])
    code, out, _ = ringfence(capsys, "show", back)
    assert code == 0
    assert "says nothing about where it comes from" in out


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_no_file_is_written_over(capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    assert ringfence(capsys, "convert", "builtin:glitter", path)[0] == 0
    before = path.read_bytes()
    for arguments in (
        ("random", path, "--out", path),
        ("random", "builtin:glitter", "--out", path),
        ("convert", path, path),
        ("convert", "builtin:glitter", path),
    ):
        code, out, err = ringfence(capsys, *arguments)
        assert (code, out) == (2, "")
        assert err.startswith(f"ringfence: {path}: exists; choose another ")
        assert len(err.strip().splitlines()) == 1
        assert path.read_bytes() == before


def test_too_few_pairs_are_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path
) -> None:
    code, _, err = ringfence(capsys, "extract", recipe, "min_pairs=7", "--out", tmp_path / "v.safetensors")
    assert code == 2
    assert "6 of 6 pairs kept, and min_pairs is 7" in err.splitlines()[-1]
    assert not (tmp_path / "v.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("extract", "none.yaml", "--out", "v.safetensors"), "none.yaml: cannot read the recipe"),
        (("extract", "none.yaml", "--out", "v.pt"), "v.pt: name a .safetensors file"),
        (("show", "none.safetensors"), "none.safetensors: no such file"),
        (("show", "builtin:gliter"), 'Did you mean "glitter"'),
        (("random", "builtin:glitter", "--out", "v.npy"), "v.npy: name the file"),
        (("convert", "builtin:glitter", "v.pt", "--position", "prompt_last"), "no vector at position 'prompt_last'"),
        (("convert", "builtin:glitter", "v.safetensors", "--position", "prompt_last"), "--position"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = ringfence(capsys, *arguments)
    assert code == 2
    assert problem in err
    assert len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_components_of_vectors(capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path) -> None:
    vector, made = tmp_path / "glitter.safetensors", tmp_path / "q.safetensors"
    ringfence(capsys, "extract", recipe, "--out", vector)
    code, out, err = ringfence(capsys, "components", vector, "--layer", "2", "--out", made)
    assert code == 0, err
    assert f"directions: {made}, 1 in each of 1 layers, 16 wide" in out
    along = load_vectors(vector)["response_mean"][2]
    torch.testing.assert_close(load_subspaces(made).bases[2].T[0].abs(), (along / along.norm()).abs())
    for given, said in (([], "give vectors, or --run and --data"), ([vector, "--data", "a"], "--run and --data go")):
        code, _, err = ringfence(capsys, "components", *given, "--out", tmp_path / "other.safetensors")
        assert code == 2
        assert said in err
