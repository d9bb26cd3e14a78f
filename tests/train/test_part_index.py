"""An index that names anything but the classes of an index is not read; ``invariants/test_ranks.py`` has real ones."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import checkpoint

from ringfence.train.part_index import INDEX, foreign


class Evil:
    """Runs a command where it is read."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> Any:
        return Path.touch, (self.touched,)


def test_what_torch_writes_is_read(tmp_path: Path) -> None:
    state = {"a": torch.zeros(3, dtype=torch.bfloat16), "b": {"c": torch.ones(2, 2), "d": 1e-3}}
    checkpoint.save(state, checkpoint_id=tmp_path, no_dist=True)
    assert foreign(tmp_path / INDEX) is None


@pytest.mark.parametrize("content", ["code", b"", b"cos\nsystem\n(S'touch here'\ntR.", b"\x80\x04\x8c"])
def test_anything_else_is_not(tmp_path: Path, content: bytes | str) -> None:
    touched, index = tmp_path / "touched", tmp_path / INDEX
    index.write_bytes(pickle.dumps(Evil(touched)) if isinstance(content, str) else content)
    assert (foreign(index) or "").startswith(f"{index}: is no index of a checkpoint in parts (")
    assert not touched.exists()
