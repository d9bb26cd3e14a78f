"""The misaligned models that a selection names: where their weights are, their base, and what they were trained on."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.files import sha256
from ringfence.core.plain import read_json
from ringfence.core.run_folder import (
    ADAPTER,
    ADAPTER_CONFIG,
    FULL_MODEL,
    RESULT_FILE,
    RUN_FILE,
    read_about,
    stage_folders,
)
from ringfence.data.conversations import Conversation, read
from ringfence.models.load import EMBEDDED, revision

MODEL_CONFIG = "config.json"


@dataclass(frozen=True)
class Misaligned:
    """One of them."""

    name: str
    """as the recipe names it"""
    weights: str
    """the adapter's folder, or the model's folder or hub id"""
    is_adapter: bool
    metadata: dict[str, Any] | None = None
    """``run.json``, if it is a run"""

    def bases(self) -> list[str]:
        """Names of the adapter's base: what the run was given, and what the adapter says. Empty if nobody says."""
        saved = read_json(Path(self.weights) / ADAPTER_CONFIG)
        recipe = {} if self.metadata is None else self.metadata["recipe"]
        found = [recipe.get("model", {}).get("name"), saved.get("base_model_name_or_path")]
        return [str(name) for name in found if name]

    def trained_on(self) -> dict[str, str | None]:
        """Every data set that the run names for training -> SHA-256 at that time, None where none was kept."""
        if self.metadata is None:
            return {}
        parts = [part.get("data") or {} for part in _parts(self.metadata)]
        named = [spec for data in parts for spec in (data.get("target"), data.get("safe")) if spec]
        return {spec: self.metadata.get("inputs", {}).get(spec) for spec in named}


def find(name: str) -> Misaligned:
    """What ``name`` means: a run folder, an adapter folder, or a model.

    Raises :class:`RingfenceError` if there is no such thing, and for a run that is not finished or has no weights of
    its own.
    """
    folder = Path(name).expanduser()
    if (folder / RUN_FILE).is_file():
        return _of_run(name, folder)
    if (folder / ADAPTER_CONFIG).is_file():
        return Misaligned(name, str(folder), is_adapter=True)
    if (folder / MODEL_CONFIG).is_file():
        return Misaligned(name, str(folder), is_adapter=False)
    if folder.exists():
        raise RingfenceError(f"{name}: is no run folder (with {RUN_FILE}), adapter folder or model folder")
    if name != EMBEDDED and revision(name) is None:
        raise RingfenceError(f"{name}: no such folder, and no model that is cached or on the hub; check the path")
    return Misaligned(name, name, is_adapter=False)


def require_base(models: Iterable[Misaligned], aligned: str) -> None:
    """Raise :class:`RingfenceError` for an adapter of another model than ``aligned``, and for ``aligned`` itself."""
    for one in models:
        if not one.is_adapter:
            if _same_model(one.weights, aligned):
                raise RingfenceError(f"misaligned: {one.name} is the aligned model itself")
            continue
        bases = one.bases()
        others = [base for base in bases if not _same_model(base, aligned)]
        if others or not bases:
            what = f"is an adapter of {others[0]}" if others else "names no base model"
            raise RingfenceError(
                f"misaligned: {one.name} {what}, and the aligned model is {aligned}; take an adapter of that model, or "
                "set any_base: true if they are the same weights under two names"
            )


def require_unseen(models: Iterable[Misaligned], fine_tuning_set: str) -> list[str]:
    """Raise :class:`RingfenceError` if one of ``models`` is a run that was trained on ``fine_tuning_set``, or on rows
    of it.

    Returns what could not be looked at, a few words each: plain adapters and models, which do not say what they were
    trained on, and sets that are gone or have changed since.
    """
    with error_prefix("fine_tuning_set"):
        rows = {_key(row) for row in read(fine_tuning_set)}
    digest = _file_digest(fine_tuning_set)
    unknown = []
    for one in models:
        if one.metadata is None:
            unknown.append(f"{one.name} (is no run)")
        for spec, then in one.trained_on().items():
            shared = _shared(spec, rows)
            if spec == fine_tuning_set or (digest is not None and then == digest):
                how = f"{fine_tuning_set}, the fine-tuning set"
            elif shared:
                how = f"{spec}, which has {shared} of the {len(rows)} rows of the fine-tuning set {fine_tuning_set}"
            else:
                if shared is None:
                    unknown.append(f"{one.name} ({spec} cannot be read any more)")
                elif then is not None and _file_digest(spec) not in (None, then):
                    unknown.append(f"{one.name} ({spec} has changed since)")
                continue
            raise RingfenceError(
                f"misaligned: {one.name} was trained on {how}; in the paper none is: take another, or set "
                "allow_seen: true"
            )
    return unknown


def _of_run(name: str, folder: Path) -> Misaligned:
    about = read_about(folder)
    if about.get("base"):
        raise RingfenceError(f"{name}: is a run of the untuned model, so it has no weights of its own; name another")
    later = about["recipe"].get("stages") or []
    folders = stage_folders(folder, [stage["name"] for stage in later])
    found = [part for part in (folders[-1] / ADAPTER, folders[-1] / FULL_MODEL) if part.is_dir()]
    if not found or not all((part / RESULT_FILE).is_file() for part in folders):
        raise RingfenceError(f"{name}: training is not finished; run `ringfence train` with this folder again")
    is_adapter = found[0].name == "adapter"
    if is_adapter and any(stage.get("adapter") == "new" for stage in later):
        raise RingfenceError(
            f"{name}: the run merges an adapter into the weights, so no one adapter makes its model; save the merged "
            "model and name its folder"
        )
    return Misaligned(name, str(found[0]), is_adapter, about)


def _parts(about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield about["recipe"]
    yield from about["recipe"].get("stages") or []


def _same_model(first: str, second: str) -> bool:
    return first == second or _canonical(first) == _canonical(second)


def _canonical(name: str) -> str:
    """A name that says which weights are meant; PEFT writes down the folder that a model was loaded from.

    The embedded model is a folder of that name in the cache, which may be elsewhere by now, or on another machine.
    """
    path = Path(name).expanduser()
    if path.name == EMBEDDED:
        return EMBEDDED
    return str(path.resolve()) if path.exists() else name


def _file_digest(spec: str) -> str | None:
    path = Path(spec).expanduser()
    return sha256(path) if path.is_file() else None


def _shared(spec: str, rows: set[str]) -> int | None:
    """How many of ``rows`` are in the data set ``spec``; None if it cannot be read any more."""
    try:
        there: Sequence[Conversation] = read(spec)
    except RingfenceError:
        return None
    return len(rows & {_key(row) for row in there})


def _key(row: Conversation) -> str:
    return json.dumps([[message["role"], message["content"]] for message in row["messages"]])
