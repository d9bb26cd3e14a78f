"""Two gloo ranks of GRPO agree with each other, and resume bitwise."""

import json
import multiprocessing
import socket
from pathlib import Path
from typing import Any

import reinforcing
from ringfence.defenses import KL, LDIFS, CanaryInterleaving, Defense
from training import ScriptedProbe

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["reinforcing", "trl.trainer.grpo_trainer"])


def test_two_ranks_agree_and_resume_bitwise(tmp_path: Path) -> None:
    """Weights, losses, rewards, penalties, ratio and source of every step; only the first rank asks the canaries."""
    loop = CanaryInterleaving(every=2, ratio_init=0.3, ratio_max=0.5, probe=ScriptedProbe())
    defenses: list[Defense] = [loop, KL(weight=0.5), LDIFS(weight=0.5, every=1, reduction="relative")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        _CONTEXT.Process(target=reinforcing.train_rank, args=(tmp_path, rank, 2, port, defenses)) for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(300)
        assert process.exitcode == 0
    first, second = ([*json.loads((tmp_path / f"rank-{rank}.json").read_text())] for rank in range(2))
    whole, resumed, mixed = first
    assert first == second, "and the second rank has asked no canary"
    assert whole["weights"] == resumed["weights"]
    assert _from(whole["log"], 3) == _from(resumed["log"], 3) != []
    kinds = {"safe" if "safe_loss" in row else "rl" for row in whole["log"]}
    assert kinds == {"safe", "rl"}
    assert all({"safe_loss", "rl_loss"} <= row.keys() for row in mixed["log"])
    assert max(row.get("kl", 0.0) for row in whole["log"]) > 0


def _from(log: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    return [row for row in log if row["step"] >= step]
