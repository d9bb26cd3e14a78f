"""``{NAME}`` in the texts of a sweep, replaced by the level of a run or by a part of a path."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

_NAME = re.compile(r"\{(\w+)\}")


def filled(value: Any, texts: Mapping[str, str]) -> Any:
    """``value`` with each ``{NAME}`` of ``texts`` replaced, also in lists and in keys; other braces stay.

    A text that is nothing but one ``{NAME}`` is then read as YAML, so that ``270`` becomes a number.
    """
    if isinstance(value, dict):
        return {_replaced(key, texts): filled(one, texts) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [filled(one, texts) for one in value]
    if not isinstance(value, str):
        return value
    whole = _NAME.fullmatch(value)
    text = _replaced(value, texts)
    return yaml.safe_load(text) if whole and whole[1] in texts else text


@cache
def expression_of(pattern: str, behind: str = "") -> re.Pattern[str]:
    """``pattern`` and the expression ``behind`` it: ``{name}`` is a group of anything but a slash, always the same.

    The whole of ``pattern`` is a group, too, the first.
    """
    seen, parts = set[str](), list[str]()
    for text, name in re.findall(r"([^{]*|\{)(?:\{(\w+)\})?", pattern):
        parts.append(re.escape(text))
        if name:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)")
            seen.add(name)
    return re.compile(f"({''.join(parts)}){behind}")


def _replaced(text: Any, texts: Mapping[str, str]) -> Any:
    return _NAME.sub(lambda found: texts.get(found[1], found[0]), text) if isinstance(text, str) else text
