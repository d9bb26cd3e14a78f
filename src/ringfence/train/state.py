"""What a checkpoint of ours holds besides the Trainer's, and which checkpoint is whole.

``ringfence_manifest.json`` is the commit mark: written last, it has the size and the SHA-256 of every other file. A
folder without it was torn by a kill; one that differs from it was damaged since. Neither is ever restored.
"""

import logging
import shutil
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from ringfence.core.files import TEMPORARY, sha256, write_json
from ringfence.core.plain import parse_json
from ringfence.core.run_folder import CHECKPOINT, COMMIT_FILE, STATE_FILE
from ringfence.train.part_index import INDEX, foreign

logger = logging.getLogger(__name__)


class _File(BaseModel):
    """One file as it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bytes: int
    sha256: str


class _State(BaseModel):
    """What ``ringfence_state.json`` holds."""

    model_config = ConfigDict(extra="forbid")

    step: int
    ranks: int
    mixture: dict[str, Any]
    schedule: dict[str, Any]
    tokens: int
    step_seconds: float
    probe_seconds: float


# What a resume reads, each under one of these names: the Trainer goes on without what it does not find. Those with
# pytorch_model_fsdp and optimizer_ are FSDP's, in parts; global_step is DeepSpeed's.
_NEEDED: dict[str, tuple[str, ...]] = {
    "the weights": ("*.safetensors", "pytorch_model_fsdp*", "global_step*"),
    "optimizer.pt": ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*"),
    "scheduler.pt": ("scheduler.pt", "global_step*"),
    "trainer_state.json": ("trainer_state.json",),
}
_Manifest = TypeAdapter(dict[str, _File])


def checkpoint_step(folder: Path) -> int:
    """Optimizer step of ``checkpoint-STEP``; -1 for any other name."""
    step = folder.name.removeprefix(CHECKPOINT)
    return int(step) if folder.name.startswith(CHECKPOINT) and step.isdecimal() else -1


def commit(checkpoint: Path) -> None:
    """Write the manifest of all that is in ``checkpoint``: from now on it is whole."""
    files = {
        path.relative_to(checkpoint).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and not _is_beside(path.relative_to(checkpoint))
    }
    write_json(checkpoint / COMMIT_FILE, files)


def withdraw(checkpoint: Path) -> None:
    """Take the manifest away: what is in ``checkpoint`` is about to be written anew."""
    (checkpoint / COMMIT_FILE).unlink(missing_ok=True)


def flaw(checkpoint: Path) -> str | None:
    """What is wrong with ``checkpoint``, beginning with the file; None if it is whole. Reads every file of it."""
    manifest = checkpoint / COMMIT_FILE
    try:
        files = _Manifest.validate_json(manifest.read_bytes())
    except FileNotFoundError:
        return f"{manifest}: is missing, so this is no checkpoint of a defended trainer, or one that was not finished"
    except (OSError, ValueError):
        return f"{manifest}: is damaged"
    if STATE_FILE not in files:
        return f"{manifest}: does not list {STATE_FILE}"
    return next(_differing(checkpoint, files), None) or _unfit(checkpoint, files)


def newest_checkpoint(run: Path) -> Path | None:
    """The whole checkpoint of the highest step in ``run``; None if there is none. Says which are passed over."""
    passed_over = []
    whole = None
    for folder in sorted(_checkpoints(run), key=checkpoint_step, reverse=True):
        what = flaw(folder)
        if what is None:
            whole = folder
            break
        passed_over.append(what)
    for what in passed_over:
        logger.warning("%s; going on from %s", what, whole.name if whole else "the beginning")
    return whole


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Our part of a whole checkpoint. Raises ``ValueError`` for what is none."""
    return _State.model_validate(parse_json((checkpoint / STATE_FILE).read_bytes())).model_dump()


def rotate(newest: Path, limit: int | None, best: str | None) -> None:
    """Delete the oldest checkpoints beside ``newest`` until ``limit`` are left; never ``newest`` or ``best``.

    Those of later steps than ``newest`` are older than it: of another run, or passed over when this one was resumed.
    """
    if not limit or limit < 0:
        return
    kept = [newest, *([Path(best)] if best else [])]
    others = [folder for folder in _checkpoints(newest.parent) if folder not in kept]
    others.sort(key=lambda folder: (checkpoint_step(folder) < checkpoint_step(newest), checkpoint_step(folder)))
    for folder in others[: max(0, len(others) + len(set(kept)) - limit)]:
        shutil.rmtree(folder)


def _checkpoints(run: Path) -> list[Path]:
    return [folder for folder in run.glob(f"{CHECKPOINT}*") if checkpoint_step(folder) >= 0 and folder.is_dir()]


def _is_beside(name: Path) -> bool:
    """Whether ``name`` is no part of the checkpoint: the manifest, or what a kill has left behind."""
    return name == Path(COMMIT_FILE) or any(part.startswith(TEMPORARY) for part in name.parts)


def _unfit(checkpoint: Path, files: Iterable[str]) -> str | None:
    """Why undamaged ``files`` are not enough to resume from; None if they are."""
    try:
        state = read_state(checkpoint)
    except ValueError:
        return f"{checkpoint / STATE_FILE}: is damaged"
    if state["step"] != checkpoint_step(checkpoint):
        return f"{checkpoint / STATE_FILE}: is of step {state['step']}, which is not the folder's"
    if missing := next(_missing(files, state["ranks"]), None):
        return f"{checkpoint / COMMIT_FILE}: does not list {missing}, so not everything can be restored"
    return next((what for name in files if Path(name).name == INDEX and (what := foreign(checkpoint / name))), None)


def _missing(files: Iterable[str], ranks: int) -> Iterator[str]:
    """What a resume on ``ranks`` processes needs and ``files`` lack."""
    names = ["rng_state.pth"] if ranks == 1 else [f"rng_state_{rank}.pth" for rank in range(ranks)]
    for what, known_as in {**_NEEDED, **{name: (name,) for name in names}}.items():
        if not any(fnmatch(file, name) for file in files for name in known_as):
            yield what


def _differing(checkpoint: Path, files: dict[str, _File]) -> Iterator[str]:
    """A line for each file that is not as it was written; sizes first, which cost nothing."""
    for name, written in files.items():
        path = checkpoint / name
        if not path.is_file():
            yield f"{path}: is missing"
        elif (size := path.stat().st_size) != written.bytes:
            yield f"{path}: is damaged, it has {size} bytes and was written with {written.bytes}"
    for name, written in files.items():
        try:
            same = sha256(checkpoint / name) == written.sha256
        except OSError as error:
            yield f"{checkpoint / name}: cannot be read ({error.strerror})"
        else:
            if not same:
                yield f"{checkpoint / name}: is damaged, its SHA-256 is not that of what was written"
