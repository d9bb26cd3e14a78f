"""Docstrings as Markdown, for the site: roles such as :class:`~a.b.C` become `C`, literal blocks code blocks."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|data|func|meth|mod|attr):`(~?)([^`]+)`")


def as_markdown(text: str) -> str:
    """``text`` without its roles, and with one colon before a literal block."""
    text = ROLE.sub(lambda role: f"`{role[2].rpartition('.')[2] if role[1] else role[2]}`", text)
    return re.sub(r"::\n\n(?=    )", ":\n\n", text)


class Markdown(griffe.Extension):
    """Rewrites every docstring that is shown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
