"""Write the result of a selection: the chosen rows as JSON lines, and a manifest of how they came about."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic, jsonable, sha256, write_json
from ringfence.select.base import Candidate
from ringfence.select.pipeline import Selected
from ringfence.select.shards import ShardTable


def write_selection(selected: Selected, out: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Write the rows to ``out`` (JSON lines) and ``about``, with counts, beside it; returns the manifest.

    A row has its messages, its string columns, ``pool_origin`` (where it stood in the pool) and the steps' numbers; a
    string column of the pool with the name of a number becomes ``pool_NAME``. The
    manifest goes first and holds the digest of the rows, so that a kill in between is seen, and mended by the same
    call. Raises :class:`RingfenceError` if ``out`` holds anything else.
    """
    columns = ShardTable(selected.shards).columns
    with atomic(out) as temporary:
        rows, digest = 0, hashlib.sha256()
        with temporary.open("wb") as handle:
            for candidate in selected.candidates():
                line = json.dumps(jsonable(_row(candidate)), ensure_ascii=False, allow_nan=False).encode() + b"\n"
                digest.update(line)
                handle.write(line)
                rows += 1
        if not rows:
            lost = ", ".join(f"{step['name']} {step['rows_before']} to {step['rows_after']}" for step in selected.steps)
            raise RingfenceError(f"{out}: no row is left, so nothing is written ({lost}); loosen the steps")
        if out.exists() and sha256(out) != digest.hexdigest():
            raise RingfenceError(f"{out}: exists and holds something else; choose another --out")
        output = {"rows": rows, "sha256": digest.hexdigest(), "columns": columns}
        manifest = {**about, "pool": selected.pool, "steps": selected.steps, "output": output}
        write_json(manifest_of(out), manifest)
    return manifest


def manifest_of(out: Path) -> Path:
    """Where the manifest of ``out`` stands: ``safe.jsonl`` has ``safe.manifest.json``."""
    return out.with_suffix(".manifest.json")


def _row(candidate: Candidate) -> dict[str, Any]:
    scores = candidate.scores
    conversation = {f"pool_{name}" if name in scores else name: v for name, v in candidate.conversation.items()}
    origin = conversation.pop("origin")
    # Where an earlier selection had a row from is not lost when it goes through another one.
    return {**conversation, "pool_origin": conversation.get("pool_origin", origin), **scores}
