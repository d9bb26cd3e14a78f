"""The examples run as they stand, on a tiny model."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import project
from ringfence.core.plain import read_json
from ringfence.core.run_folder import RESULT_FILE

EXAMPLES = Path(__file__).parents[1] / "examples"


def script(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_plain_trainer(tmp_path: Path) -> None:
    project.make(tmp_path)
    rows = [f"--{name}={tmp_path / name}.jsonl" for name in ("target", "safe")]
    script("plain_trainer").main(
        [f"--model={tmp_path / 'tiny-model'}", *rows, "--steps=3", f"--out={tmp_path / 'run'}"]
    )
    result = read_json(tmp_path / "run" / RESULT_FILE)
    assert result["target_rows"] == 6, "three steps of two, not counting those for safe rows"
    assert result["safe_rows"] > 0
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.skipif(importlib.util.find_spec("unsloth") is None, reason="Unsloth is not installed")
def test_a_model_of_unsloth(tmp_path: Path) -> None:
    """In a process of its own, since Unsloth changes other packages."""
    project.make(tmp_path)
    given = [f"--{name}={tmp_path / name}.jsonl" for name in ("target", "safe")]
    given += [f"--model={tmp_path / 'tiny-model'}", "--steps=3", f"--out={tmp_path / 'run'}"]
    subprocess.run([sys.executable, str(EXAMPLES / "unsloth_lora.py"), *given], check=True, timeout=590)
    result = read_json(tmp_path / "run" / RESULT_FILE)
    assert (result["target_rows"], result["safe_rows"] > 0) == (6, True)
