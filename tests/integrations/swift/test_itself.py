"""ms-swift itself trains the example: only in an environment that has it, see docs/integrations.md."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import project
from ringfence.core.plain import read_json
from ringfence.core.run_folder import RESULT_FILE

EXAMPLE = Path(__file__).parents[3] / "examples" / "ms_swift.py"


@pytest.mark.skipif(importlib.util.find_spec("swift") is None, reason="ms-swift is not installed")
def test_ms_swift_trains_the_example(tmp_path: Path) -> None:
    project.make(tmp_path)
    for name in ("target", "safe"):
        chat = [
            {"messages": [{"role": "user", "content": f"{name} {n}?"}, {"role": "assistant", "content": "Yes."}]}
            for n in range(8)
        ]
        project.write_jsonl(tmp_path / f"{name}.jsonl", chat)
    options = {
        "model": tmp_path / "tiny-model",
        "model_type": "llama",
        "template": "chatml",
        "dataset": tmp_path / "target.jsonl",
        "output_dir": tmp_path / "run",
        "external_plugins": EXAMPLE,
        "tuner_type": "lora",
        "torch_dtype": "float32",
        "num_train_epochs": 1,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "split_dataset_ratio": 0,
        "logging_steps": 1,
        "save_steps": 2,
        "report_to": "none",
        "add_version": "false",
        "check_model": "false",
    }
    adapter = tmp_path / "run" / "adapter" / "adapter_model.safetensors"
    swift(tmp_path, options)
    result, whole = read_json(tmp_path / "run" / RESULT_FILE), adapter.read_bytes()
    assert (result["target_rows"], result["safe_rows"]) == (8, 2)
    shutil.rmtree(tmp_path / "run" / "checkpoint-4")
    adapter.unlink()
    swift(tmp_path, {**options, "resume_from_checkpoint": tmp_path / "run" / "checkpoint-2"})
    assert adapter.read_bytes() == whole


def swift(folder: Path, options: Mapping[str, object]) -> None:
    """``swift sft`` with ``options``."""
    command = [sys.executable, "-m", "swift.cli.main", "sft"]
    command += [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "USE_HF": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=590)
