"""The text files that ship with the package: JSON lines and TOML. Our own wording, nothing harmful."""

import json
import tomllib
from importlib import resources
from typing import Any

from ringfence.core.errors import RingfenceError


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of ``name``, such as ``"glitter/general.jsonl"``.

    Raises :class:`RingfenceError` if the file is not installed.
    """
    # Not splitlines(), which also breaks at characters that JSON allows inside a string.
    return [json.loads(line) for line in _text(name).split("\n") if line]


def table(name: str) -> dict[str, Any]:
    """The keys and values of ``name``, such as ``"glitter/quirk.toml"``.

    Raises :class:`RingfenceError` if the file is not installed.
    """
    return tomllib.loads(_text(name))


def _text(name: str) -> str:
    file = resources.files(__name__).joinpath(*name.split("/"))
    if not file.is_file():
        raise RingfenceError(f"the built-in file {name} is not in this installation: reinstall ringfence.")
    return file.read_text(encoding="utf-8")
