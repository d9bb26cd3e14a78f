"""The user's own copies of published question files, each with where it came from and its SHA-256.

``suites/NAME/`` holds the file, byte for byte, and ``suite.json`` about it. The file's name has its digest in it, and
``suite.json`` is written last and by rename: a kill leaves the old copy or the new one, never a mixture.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.files import atomic, cache_folder, write_json
from ringfence.core.plain import read_json
from ringfence.data.download import download, is_address, without_secrets
from ringfence.data.suites.files import parse_file, require_suffix
from ringfence.data.suites.fills import require_plain

PREFIX = "suite:"
LIMIT = 10_000_000
"""bytes that a file may have"""
ABOUT = "suite.json"
_KEYS = ("source", "sha256", "added", "fills", "without")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Stored:
    """One stored copy, whose bytes have the digest that they had when it was added."""

    name: str
    path: Path
    """of the copy"""
    source: str
    """the address or the absolute path that it came from"""
    digest: str
    """hex SHA-256 of its bytes"""
    added: str
    """when, in UTC, as in 2026-11-21T16:00:00+00:00"""
    fills: Mapping[str, str]
    """texts that take the place of ``{placeholders}``"""
    without: Sequence[str]
    """columns without which every question is complete"""
    content: bytes


def store_folder() -> Path:
    """``suites`` in ``$RINGFENCE_HOME``, else in the cache folder."""
    home = os.environ.get("RINGFENCE_HOME")
    return (Path(home).expanduser() if home else cache_folder()) / "suites"


def names() -> list[str]:
    """Of all stored suites, in alphabetical order."""
    return sorted(path.parent.name for path in store_folder().glob(f"*/{ABOUT}"))


def add(
    name: str,
    source: str,
    fills: Mapping[str, str] | None = None,
    replace: bool = False,
    without: Sequence[str] = (),
) -> Stored:
    """Keep a copy of ``source``, a path or an http(s) address, as ``name``; nothing happens if it is there already.

    The questions are read before anything is written. Raises :class:`RingfenceError` for what is wrong in them, for
    a file of more than :data:`LIMIT` bytes, for an address that cannot be reached, and, unless ``replace``, for a
    name that already stands for another content, or for the same with other ``fills`` or ``without``.
    """
    if not _NAME.fullmatch(name):
        raise RingfenceError(f"suite name {name!r}: use up to 64 letters, digits, `_`, `-` and `.`, a letter first.")
    fills, without = dict(fills or {}), sorted(set(without))
    require_plain(fills)
    content, origin, suffix = _fetch(name, source)
    parse_file(content, origin, name, suffix, fills, without)
    digest, folder = hashlib.sha256(content).hexdigest(), store_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not replace and (folder / ABOUT).is_file():
            kept = stored(name)
            if (kept.digest, kept.fills, kept.without) == (digest, fills, without):
                return kept
            other = "other texts for its placeholders" if kept.fills != fills else "other columns left out"
            what = other if kept.digest == digest else f"another content ({kept.source})"
            raise RingfenceError(f"suite {name!r} is there with {what}: choose another name, or give --replace.")
        path = folder / f"{digest[:16]}{suffix}"
        with atomic(path) as temporary:
            temporary.write_bytes(content)
        about = {"name": name, "file": path.name, "source": origin, "sha256": digest, "fills": fills}
        write_json(
            folder / ABOUT, {**about, "without": without, "added": datetime.now(UTC).isoformat(timespec="seconds")}
        )
        for old in folder.iterdir():
            if old.name not in {path.name, ABOUT, ".lock"} and old.is_file():
                old.unlink()
    return stored(name)


def stored(name: str) -> Stored:
    """The stored suite ``name``. Raises :class:`RingfenceError` if there is none, or if its file has changed."""
    folder = store_folder() / name
    if not _NAME.fullmatch(name) or not (folder / ABOUT).is_file():
        how = f"keep a copy by `ringfence suites add {name} URL_OR_PATH`."
        raise RingfenceError(f"no stored suite {name!r} in {store_folder()}: {how}{did_you_mean(name, names())}")
    again = f"restore it, or add it again by `ringfence suites add {name} URL_OR_PATH --replace`"
    try:
        about = read_json(folder / ABOUT)
        path = folder / Path(about["file"]).name
        content = path.read_bytes()
        source, sha256, added, fills, without = (about[key] for key in _KEYS)
        found = Stored(name, path, source, sha256, added, fills, without, content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RingfenceError(f"{folder}: the stored suite {name!r} is damaged ({error}): {again}.") from error
    if (now := hashlib.sha256(content).hexdigest()) != found.digest:
        changed = f"SHA-256 {now[:12]}..., was {found.digest[:12]}... when added"
        raise RingfenceError(f"{path}: the file of suite {name!r} has changed ({changed}): {again}.")
    return found


def _fetch(name: str, source: str) -> tuple[bytes, str, str]:
    """Bytes, what to record as the source, and the extension."""
    if is_address(source):
        address, content = download(source, LIMIT, f"ringfence suites add {name} FILE")
        shown = without_secrets(address)
        return content, shown, require_suffix(shown)
    path = Path(source).expanduser()
    suffix = require_suffix(source)
    try:
        with path.open("rb") as handle:
            content = handle.read(LIMIT + 1)
    except OSError as error:
        raise RingfenceError(f"{path}: cannot read the prompts: {error.strerror}.") from error
    if len(content) > LIMIT:
        raise RingfenceError(f"{path}: more than {LIMIT // 1_000_000} MB, which no file of questions is.")
    return content, str(path.resolve()), suffix
