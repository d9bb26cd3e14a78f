"""The scripts for several nodes, as far as a CPU allows: two nodes of one rank by torchrun; what accelerate is told."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser, prepare_multi_gpu_env
from accelerate.utils import FullyShardedDataParallelPlugin

import project
from ringfence.core.plain import read_json
from ringfence.core.run_folder import RESULT_FILE

SCRIPTS = Path(__file__).parents[1] / "scripts"


def test_two_nodes_of_one_rank_train_a_recipe(tmp_path: Path) -> None:
    """Each has an agent of its own, as on two machines; a disk that both see is this one's."""
    training = {"per_device_train_batch_size": 2, "max_steps": 2, "disable_tqdm": True}
    defenses = [{"kl": {"weight": 0.1}}]
    recipe = project.make(tmp_path, training=training, defenses=defenses, evaluation={"suites": {}})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = {"NODES": "2", "GPUS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHON": sys.executable}
    nodes = [
        subprocess.Popen(
            [str(SCRIPTS / "nodes_torchrun.sh"), str(recipe), "--out", str(tmp_path / "run")],
            env={**os.environ, **told, "NODE_RANK": str(node), "LOGS": str(tmp_path / f"logs-{node}")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for node in range(2)
    ]
    said = [node.communicate(timeout=400)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert read_json(tmp_path / "run" / RESULT_FILE)["target_rows"] == 2 * 4
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()
    assert "trained 2 optimizer steps" in said[0], "the main process says it"
    assert "trained 2 optimizer steps" not in said[1]


def test_accelerate_is_told_of_fsdp2_with_checkpoints_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own parser takes what the script gives, and its own plugin reads what a rank would find set."""
    told = {"NODES": "2", "NODE_RANK": "1", "GPUS": "8", "MASTER_ADDR": "10.0.0.1", "ACCELERATE": "echo"}
    script = [str(SCRIPTS / "nodes_accelerate.sh"), "recipe.yaml", "--out", "runs/a"]
    ran = subprocess.run(script, env={**os.environ, **told}, capture_output=True, text=True, check=True)
    command, *given = ran.stdout.split()
    assert command == "launch"
    args = launch_command_parser().parse_args(given)
    assert (args.module, args.training_script) == (True, "ringfence")
    assert args.training_script_args == ["train", "recipe.yaml", "--out", "runs/a"]
    assert (args.num_machines, args.machine_rank, args.num_processes) == (2, 1, 16)
    for name, value in prepare_multi_gpu_env(args).items():
        if name.startswith(("FSDP_", "ACCELERATE_")):
            monkeypatch.setenv(name, str(value))
    assert os.environ["ACCELERATE_USE_FSDP"] == "true"
    plugin = FullyShardedDataParallelPlugin()
    assert (plugin.fsdp_version, plugin.state_dict_type.name) == (2, "SHARDED_STATE_DICT")
    assert plugin.reshard_after_forward is True
    assert plugin.auto_wrap_policy is not None


@pytest.mark.parametrize("script", ["nodes_torchrun.sh", "nodes_accelerate.sh"])
def test_what_is_not_said_is_asked_for(script: str) -> None:
    ran = subprocess.run(
        [str(SCRIPTS / script)], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert ran.returncode != 0
    assert "NODES: the number of nodes" in ran.stderr
