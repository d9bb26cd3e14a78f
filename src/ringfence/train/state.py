"""What a checkpoint of ours holds besides the Trainer's, and which checkpoint is whole.

``ringfence_state.json`` is written first and the Trainer's ``trainer_state.json`` last, so the latter is the commit
mark: a folder whose ``trainer_state.json`` does not parse was torn by a kill and is passed over.
"""

import json
import re
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError

STATE_FILE = "ringfence_state.json"
COMMIT_FILE = "trainer_state.json"


def checkpoint_step(folder: Path) -> int:
    """Optimizer step of ``checkpoint-STEP``; -1 for any other name."""
    match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    return int(match[1]) if match else -1


def is_whole(checkpoint: Path) -> bool:
    """Whether both state files parse and name the folder's step."""
    try:
        ours = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
        theirs = json.loads((checkpoint / COMMIT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return ours["step"] == theirs["global_step"] == checkpoint_step(checkpoint)


def newest_checkpoint(run: Path) -> Path | None:
    """The whole checkpoint of the highest step in ``run``; None if there is none."""
    found = [folder for folder in run.glob("checkpoint-*") if checkpoint_step(folder) >= 0]
    return next((folder for folder in sorted(found, key=checkpoint_step, reverse=True) if is_whole(folder)), None)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Our part of a checkpoint. Raises :class:`RingfenceError` if it is not one, or torn."""
    if not is_whole(checkpoint):
        raise RingfenceError(f"{checkpoint}: not a whole checkpoint of DefendedSFTTrainer; resume from another one")
    return json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
