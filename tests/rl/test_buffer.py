"""Completions in a checkpoint: what is read is what was written."""

from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import pytest
import torch

from ringfence.core.errors import RingfenceError
from ringfence.rl.buffer import load_buffer, load_logs, save_buffer, save_logs


def test_slices_of_one_generation_are_read_as_written(tmp_path: Path) -> None:
    """More than nine, so that their order is not that of their names; a count belongs to all of them."""
    whole, count = torch.randn(24, 3), torch.tensor(7)
    buffer = [{"logps": whole[2 * i : 2 * i + 2], "count": count} for i in range(12)]
    save_buffer(tmp_path, 1, buffer)
    found = load_buffer(tmp_path, 1, torch.device("cpu", 0))
    assert [sorted(one) for one in found] == [["count", "logps"]] * 12
    assert torch.equal(torch.cat([one["logps"] for one in found]), whole)
    assert all(torch.equal(one["count"], count) for one in found)
    with pytest.raises(RingfenceError, match=r"completions_0\.safetensors: is missing; resume on as many processes"):
        load_buffer(tmp_path, 0, torch.device("cpu"))


def logs() -> dict[str, Any]:
    return {"prompt": deque(maxlen=2), "rewards": defaultdict(lambda: deque(maxlen=2))}


def test_what_is_logged_is_read_as_written(tmp_path: Path) -> None:
    written, found = logs(), logs()
    written["prompt"].extend([[{"role": "user", "content": "Hi"}], "plain"])
    written["rewards"]["form"].extend([1.0, 2.5])
    save_logs(tmp_path, 0, written)
    load_logs(tmp_path, 0, found)
    assert found == written
    load_logs(tmp_path, 1, found)
    assert found == written
