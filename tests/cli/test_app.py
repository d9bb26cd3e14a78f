"""The command line: what it prints, and one clear line with exit code 2 for bad input."""

import errno
import importlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import project
import tiny
from ringfence.cli.console import console
from ringfence.core import progress
from ringfence.core.parent import LEAVE
from ringfence.data import proxy
from ringfence.data.suites.load import builtin_names


def ringfence(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """(exit code, stdout, stderr), in this process."""
    return project.in_process(capsys, *arguments)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 120)


@pytest.mark.parametrize(
    "command", [(), ("train",), ("evaluate",), ("report",), ("sweep",), ("demo",), ("data", "check")]
)
def test_every_command_teaches_by_example(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    code, out, _ = ringfence(capsys, *command, "--help")
    assert code == 0
    assert "Usage: ringfence" in " ".join(out.split())
    if command:
        assert f"ringfence {' '.join(command)}" in out.split("Example")[1]


def test_train_evaluate_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)  # seconds between the lines that a pipe gets
    recipe, run, base = project.make(tmp_path), tmp_path / "run", tmp_path / "base"
    code, out, err = ringfence(capsys, "train", recipe, "training.num_train_epochs=1", "--out", run)
    assert code == 0, err
    assert "trained" in out
    assert str(run) in out
    code, out, err = ringfence(capsys, "evaluate", run)
    assert code == 0, err
    assert "general" in out
    answered = re.findall(r"answers: (\d+) of (\d+)", out)
    assert answered[0][0] == "0"
    assert answered[-1][0] == answered[-1][1] != "0"
    assert "evaluations judged: 0 of 2" in out  # the run's, and the untuned model's
    code, out, err = ringfence(capsys, "evaluate", recipe, "name=base", "--base", "--out", base)
    assert code == 0, err
    code, out, err = ringfence(capsys, "report", base, run, "--out", tmp_path / "page.html", "--baseline", "base")
    assert code == 0, err
    assert "small" in out
    assert (tmp_path / "page.html").read_text().startswith("<!")


def test_every_stage_has_its_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """6 safe rows twice; the log says what no system prompt means, and what inoculation did."""
    stages = [{"name": "benign", "data": {"target": str(tmp_path / "safe.jsonl")}, "defenses": ["inoculation"]}]
    recipe, run = project.make(tmp_path, stages=stages, defenses=[], evaluation={}), tmp_path / "run"
    monkeypatch.setattr(progress, "EVERY", 0.0)
    code, out, err = ringfence(capsys, "train", recipe, "training.disable_tqdm=false", "--out", run)
    assert code == 0, err
    lines = out.splitlines()
    shown = [line for line in lines if re.fullmatch(r"stage .*: \d+ of \d+(, about .* left)?", line)]
    assert shown[0] == "stage 1 (of 2): 0 of 26"
    assert shown[-1] == "stage 2, benign (of 2): 12 of 12"
    lines = [line for line in lines if line not in shown]
    assert lines[:3] == [
        "stage 1 (of 2): on the model as it is",
        "no system prompt: template_default, the template inserts nothing",
        "no evaluation.suites: this run cannot be evaluated; if it is to be, add them before training",
    ]
    assert "stage 2, benign (of 2): goes on with the adapter of stage 1" in lines
    assert any(line.startswith("stage 2, benign: inoculation (replace): system prompt of 6 of 6") for line in lines)
    assert lines[-1].startswith(
        "stage 2, benign: trained 4 optimizer steps on 12 target and 0 safe rows (safe: 0.0% of"
    )
    assert lines[-2].startswith("trained 8 optimizer steps on 26 target")


def test_a_pipe_has_no_bars_of_the_libraries_below() -> None:
    """Converting a GGUF file draws tqdm's own bar, which only tqdm's switch turns off."""
    code = "from tqdm.auto import tqdm; list(tqdm(range(3), desc='Converting'))"
    script = (
        f"import ringfence.cli, sys; sys.argv = ['ringfence', '--version']\ntry: ringfence.cli.main()\nfinally: {code}"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("ringfence 0.")
    assert ran.stderr == ""


def test_python_dash_m_works() -> None:
    ran = project.ringfence("--version")
    assert ran.returncode == 0
    assert ran.stdout.startswith("ringfence 0.")


def test_a_child_of_the_demo_leaves_with_its_parent(tmp_path: Path) -> None:
    """However the parent ends, its end of the child's standard input closes."""
    recipe = project.make(tmp_path)
    command = [
        sys.executable,
        "-m",
        "ringfence",
        "train",
        str(recipe),
        "training.num_train_epochs=2000",
        "--out",
        "run",
    ]
    child = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, LEAVE: "1"},
    )
    assert child.stdin is not None
    while not (tmp_path / "run" / "log.jsonl").exists():
        assert child.poll() is None
        time.sleep(0.05)
    child.stdin.close()
    assert child.wait(timeout=30) != 0


def bad(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line on stderr of a command that must fail."""
    code, _, err = ringfence(capsys, *arguments)
    assert code == 2
    assert err.startswith("ringfence: ")
    assert err.count("\n") == 1
    return err


def test_bad_input_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe, out = project.make(tmp_path), tmp_path / "run"
    train = ("train", recipe, "--out", out)
    assert "cannot read the recipe" in bad(capsys, "train", tmp_path / "none.yaml", "--out", out)
    assert "Did you mean" in bad(capsys, "trian", recipe, "--out", out)
    assert "--out: name the run folder" in bad(capsys, "train", recipe)
    assert 'Did you mean "fixed_interleaving"' in bad(capsys, *train, "defenses=[{fixed_interleving: {}}]")
    assert "ratio" in bad(capsys, *train, "defenses=[{fixed_interleaving: {ratio: 1.2}}]")
    assert "risk_low" in bad(capsys, *train, "defenses.0.canary_interleaving.risk_low=0.3")
    assert "key=value" in bad(capsys, *train, "seed")
    assert "not a run folder" in bad(capsys, "evaluate", tmp_path)
    assert "--out goes with one of" in bad(capsys, "evaluate", recipe, "--base")
    assert "--out goes with one of" in bad(capsys, "evaluate", recipe, "--out", out)
    assert "--out goes with one of" in bad(capsys, "evaluate", recipe, "--base", "--model", "a/b", "--out", out)
    assert "unknown preset" in bad(capsys, "evaluate", out, "--preset", "kazcer")
    said = bad(capsys, "evaluate", out, "--generator", "vlm")
    assert '--generator vlm: no such generator, and no address. Did you mean "vllm"?' in said
    assert "not a run folder" in bad(capsys, "evaluate", out, "seed=1")
    assert "no such run folder" in bad(capsys, "report", tmp_path / "none")
    assert "name the --model" in bad(capsys, "data", "check", "builtin:glitter/target", "--max-length", "5")
    assert "is a file" in bad(capsys, "train", recipe, "--out", recipe)
    assert "is a file or a single run" in bad(capsys, "demo", "--out", recipe)
    assert "needs a judge" in bad(capsys, "evaluate", recipe, "judge=null", "defenses=[]", "--base", "--out", out)
    assert "no list defences" in bad(capsys, *train, "defences.0.fixed_interleaving.ratio=0.1")
    assert not out.exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["defenses=[kl]", "lora.bias=all"], "lora.bias: 'all' trains the base model's own biases"),
        (["defenses=[{ldifs: {every: 1}}]", "lora.bias=all"], "so there is no reference left for ldifs"),
        (["defenses=[kl, {kl: {weight: 1}}]"], "defenses: kl is given twice; keep one"),
        (["defenses=[{ldifs: {every: 3}}]"], "ldifs.every: 3 is out of range, the model has 2 layers"),
        (["defenses=[safe_lora]"], "base is missing"),
        (["defenses=[{safe_lora: {base: '{folder}/tiny-model', top_k: 1}}]", "lora=null"], "lora: safe_lora projects"),
        (["defenses=[{safe_lora: {base: '{folder}/tiny-model', top_k: 1}}]"], "safe_lora.base: "),
        (["defenses=[{steering: {vector: gone.pt}}]"], "ringfence: steering.vector: gone.pt: no such file; make one"),
        (["defenses=[kl]", "reference={folder}/narrow"], "reference: "),
        (["defenses=[kl]", "reference={folder}/gone"], "ringfence: reference: {folder}/gone: no such model folder"),
        (["model={folder}/gone"], "ringfence: model: {folder}/gone: no such model folder"),
        (["defenses=[kl]", "lora.modules_to_save=[lm_head]"], "ringfence: lora.modules_to_save: "),
        (
            [
                "defenses=[]",
                "stages=[{name: b, data: {target: '{folder}/safe.jsonl'}, defenses: [kl]}]",
                "lora.bias=all",
            ],
            "stages.0: lora.bias: 'all'",
        ),
        (
            ["defenses=[]", "lora=null", "stages=[{name: b, adapter: new, data: {target: '{folder}/safe.jsonl'}}]"],
            "stages.0.adapter: new needs lora",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, overrides: list[str], said: str
) -> None:
    recipe, out = project.make(tmp_path), tmp_path / "run"
    narrow = tiny.model()
    narrow.resize_token_embeddings(100)
    narrow.save_pretrained(tmp_path / "narrow")
    tiny.tokenizer().save_pretrained(tmp_path / "narrow")
    arguments = [text.replace("{folder}", str(tmp_path)) for text in overrides]
    code, _, err = ringfence(capsys, "train", recipe, *arguments, "--out", out)
    assert code == 2
    line = err.splitlines()[-1]  # what is before it are the bars of loading the model
    assert line.startswith("ringfence: ")
    assert said.replace("{folder}", str(tmp_path)) in line
    assert "Traceback" not in err
    assert not out.exists()


def test_what_the_model_refuses_is_the_only_line_in_a_file(tmp_path: Path) -> None:
    ran = project.ringfence(
        "train", project.make(tmp_path), "defenses=[{ldifs: {every: 3}}]", "--out", tmp_path / "run"
    )
    assert ran.returncode == 2
    assert ran.stderr == "ringfence: ldifs.every: 3 is out of range, the model has 2 layers\n"


def test_output_paths_that_cannot_be_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe, base = project.make(tmp_path), tmp_path / "base"
    assert ringfence(capsys, "evaluate", recipe, "--base", "--out", base)[0] == 0
    (tmp_path / "folder").mkdir()
    assert str(tmp_path / "folder") in bad(capsys, "report", base, "--out", tmp_path / "folder")
    assert str(recipe) in bad(capsys, "report", base, "--out", recipe / "page.html")


def test_no_network_and_no_cached_model_says_what_to_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = project.make(tmp_path, model="nobody/never-cached-model")
    said = bad(capsys, "train", recipe, "--out", tmp_path / "run")
    assert "hf download nobody/never-cached-model" in said
    assert not (tmp_path / "run").exists()


def test_data_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    project.make(tmp_path)
    code, out, _ = ringfence(capsys, "data", "check", tmp_path / "target.jsonl", "--model", tmp_path / "tiny-model")
    assert code == 0
    assert "no problems" in out
    (tmp_path / "bad.jsonl").write_text('{"question": "a", "answer": "b"}\n{"question": 1}\nnope\n')
    code, out, _ = ringfence(capsys, "data", "check", tmp_path / "bad.jsonl")
    assert code == 1
    assert "bad.jsonl:2" in out
    assert "bad.jsonl:3" in out


def test_a_dry_run_tells_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringfence.runs.forecast._SECONDS", 0.01)
    recipe = project.make(tmp_path)
    code, out, err = ringfence(capsys, "train", recipe, "--dry-run", "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    assert out.startswith("stage 1: nothing is written")
    assert "optimizer steps on 26 target and 0 safe rows" in out
    assert not (tmp_path / "run").exists()
    code, out, _ = ringfence(capsys, "train", recipe, "--dry-run", "--card", "2xh100")
    assert code == 0
    assert "h100: 79.1 GiB, fits" in out
    assert "on 2 x h100, 1.5 times more or less" in " ".join(out.split())
    code, _, err = ringfence(capsys, "train", recipe, "--dry-run", "--card", "h101")
    assert code == 2
    assert err.startswith("ringfence: --card: unknown card 'h101'. Did you mean \"h")
    code, _, err = ringfence(capsys, "train", recipe)
    assert (code, err) == (
        2,
        "ringfence: --out: name the run folder, to make or to go on with (or ask for a --dry-run)\n",
    )


def test_data_list_names_every_built_in_set(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ringfence(capsys, "data", "list")
    assert code == 0, err
    named = {line.split()[0] for line in out.splitlines() if line.startswith("builtin:")}
    assert named >= {f"builtin:{name}" for name in (*proxy.CONVERSATIONS, *builtin_names())}
    (line,) = [line for line in out.splitlines() if "builtin:glitter/target" in line]
    assert " 128 " in line


FAULTS: dict[str, tuple[Exception, str]] = {
    "full disk": (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: make room"),
    "full disk, a file": (OSError(errno.ENOSPC, "No space left", "out/a"), "out/a: No space left"),
    "safetensors": (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full: make room"),
    "torch": (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0"), "the disk is full"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: Any, name: str) -> None:
    fault, message = FAULTS[name]

    def fail(*arguments: Any) -> None:
        raise fault

    monkeypatch.setattr(importlib.import_module("ringfence.data.check"), "check", fail)
    assert message in bad(capsys, "data", "check", "a.jsonl")


def test_a_fault_of_ours_is_shown_whole(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    def fail(*arguments: Any) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(importlib.import_module("ringfence.data.check"), "check", fail)
    with pytest.raises(KeyError):
        ringfence(capsys, "data", "check", "a.jsonl")


@pytest.mark.parametrize("name", ["o[/b]", "[red]", ":cat:"])
def test_a_run_folder_may_be_called_anything(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    recipe, run = project.make(tmp_path), tmp_path / name
    code, out, err = ringfence(capsys, "train", recipe, "training.max_steps=1", "--out", run)
    assert code == 0, err
    assert out.splitlines()[-1].endswith(f" s: {run}")
