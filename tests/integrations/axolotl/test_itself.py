"""Axolotl itself trains the example with the plugin: only in an environment that has it, see docs/integrations.md."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import project
from ringfence.core.plain import read_json
from ringfence.core.run_folder import RESULT_FILE

EXAMPLE = Path(__file__).parents[3] / "examples" / "axolotl.yaml"
# Its kernels for LoRA need a GPU.
ON_A_CPU = {"bf16": False, "lora_mlp_kernel": False, "lora_qkv_kernel": False, "lora_o_kernel": False}


@pytest.mark.skipif(importlib.util.find_spec("axolotl") is None, reason="Axolotl is not installed")
def test_axolotl_trains_the_example(tmp_path: Path) -> None:
    project.make(tmp_path)
    config = yaml.safe_load(EXAMPLE.read_text())
    for name, entries in (("target", config["datasets"]), ("safe", config["ringfence"]["safe"])):
        chat = [
            {"messages": [{"role": "user", "content": f"{name} {n}?"}, {"role": "assistant", "content": "Yes."}]}
            for n in range(8)
        ]
        entries[0]["path"] = str(project.write_jsonl(tmp_path / f"{name}-chat.jsonl", chat))
    config |= {"base_model": str(tmp_path / "tiny-model"), "output_dir": str(tmp_path / "run"), **ON_A_CPU}
    config |= {"dataset_prepared_path": str(tmp_path / "prepared"), "dataset_num_proc": 1}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "axolotl.cli.train", str(tmp_path / "config.yaml")]
    environment = {**os.environ, "AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=590)
    result = read_json(tmp_path / "run" / RESULT_FILE)
    assert (result["target_rows"], result["safe_rows"]) == (8, 2)
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()
