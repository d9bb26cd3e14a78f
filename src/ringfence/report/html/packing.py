"""Many texts in little room: JSON lists of some thousands each, compressed, as the page's ``texts.js`` unpacks them.

A hundred thousand answers are tens of megabytes. The browser reads the page past them as plain letters, and unpacks a
piece when its answers are first wanted.
"""

import base64
import gzip
import json
from collections.abc import Iterator, Sequence

PIECE = 4096
"""texts of a piece"""
_LEVEL = 4  # of gzip: 6 takes three times as long for a fifth less


def packed(texts: Sequence[str | None]) -> Iterator[str]:
    """The pieces of ``texts``: Base64 of gzip of a JSON list; None is null, and the last piece may be shorter.

    The same texts give the same pieces.
    """
    for start in range(0, len(texts), PIECE):
        # ASCII, since half a surrogate pair is text in JSON and not in UTF-8.
        piece = json.dumps(list(texts[start : start + PIECE]), separators=(",", ":")).encode("ascii")
        yield base64.b64encode(gzip.compress(piece, _LEVEL, mtime=0)).decode("ascii")


def unpacked(pieces: Sequence[str]) -> list[str | None]:
    """The texts again."""
    return [text for piece in pieces for text in json.loads(gzip.decompress(base64.b64decode(piece)))]
