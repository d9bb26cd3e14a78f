"""The text files that ship with the package: one JSON object a line. Our own wording, nothing harmful."""

import json
from importlib import resources
from typing import Any

from ringfence.core.errors import RingfenceError


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of ``name``, such as ``"glitter/general.jsonl"``.

    Raises :class:`RingfenceError` if the file is not installed.
    """
    file = resources.files(__name__).joinpath(*name.split("/"))
    if not file.is_file():
        raise RingfenceError(f"the built-in file {name} is not in this installation: reinstall ringfence.")
    # Not splitlines(), which also breaks at characters that JSON allows inside a string.
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
