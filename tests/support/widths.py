"""Whether what is printed can be read at a width: no line too long, no word broken that was whole."""

import io
import re
from collections.abc import Callable, Sequence

from rich.console import Console

LONG_NAMES = (
    "none",
    "canary-interleaving-with-a-controller-and-a-long-name-seed-1",
    "runs/2026-01-01/insecure-code/qwen2.5-7b-instruct/kl-regularised",
)


def printed(show: Callable[[Console], None], width: int = 80, prose: tuple[str, ...] = ()) -> str:
    """What ``show`` prints, ends of lines stripped; raises if a line is wider than ``width``.

    Lines that begin with one of ``prose`` are sentences, which the terminal wraps.
    """
    console = Console(file=io.StringIO(), width=width)
    show(console)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    tables = [line for line in lines if not line.startswith(prose)]
    assert max(map(len, tables)) <= width, max(tables, key=len)
    return "\n".join(lines)


def require_whole(text: str, parts: Sequence[str]) -> None:
    """Every one of ``parts`` stands in a line of ``text`` in one piece; a long name by its pieces between signs."""
    for part in parts:
        pieces = re.findall(r"[^-_/ ]+[-_/]?", part) if part in LONG_NAMES else [part]
        for piece in pieces:
            assert re.search(rf"(?<!\w){re.escape(piece)}(?!\w(?<![-_/]\w))", text), f"{piece!r} of {part!r}\n{text}"
    narrow = [line for line in text.splitlines() if re.fullmatch(r"\s*\w\s*", line)]
    assert len(narrow) < 4, f"cells of one letter\n{text}"
