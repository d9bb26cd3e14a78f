"""Parse YAML lists of named entries, with the line of each for messages. Only plain data is read; nothing is run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import require_plain
from ringfence.data.suites.prompts import kind

_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class Entry:
    """One entry of a file."""

    id: str
    value: dict[str, Any]
    where: str
    """``file:line: question 'id'``, to begin a message with"""


def read_entries(text: str, label: str) -> list[Entry]:
    """The entries of a list of objects with ``id`` or ``name``, or of an object that maps names to such objects.

    Raises :class:`RingfenceError` with file and line for malformed YAML, a key with two values in one object, an
    entry without a name, and a name that is there twice.
    """
    value, lines = _load(text, label)
    if isinstance(value, dict):
        named = [(name, item, lines.get(str(name), 1)) for name, item in value.items()]
    elif isinstance(value, list):
        named = [(None, item, line) for item, line in zip(value, lines.values(), strict=True)]
    else:
        raise RingfenceError(f"{label}: a file of questions must hold a list of them, not {kind(value)}.")
    entries: dict[str, Entry] = {}
    first: dict[str, int] = {}
    for key, item, line in named:
        entry = _entry(key, item, f"{label}:{line}")
        if entry.id in entries:
            raise RingfenceError(f"{entry.where} is there twice, first on line {first[entry.id]}: rename one of them.")
        entries[entry.id], first[entry.id] = entry, line
    return list(entries.values())


def _entry(key: Any, item: Any, where: str) -> Entry:
    if not isinstance(item, dict):
        raise RingfenceError(
            f"{where}: a question must be an object with `paraphrases` or `messages`, not {kind(item)}."
        )
    name = item.get("id", item.get("name", key))
    if isinstance(name, bool) or not isinstance(name, int | str) or name == "":
        raise RingfenceError(f"{where}: a question needs an `id` or a `name`, which is a text or a whole number.")
    return Entry(str(name), item, f"{where}: question {str(name)!r}")


def _load(text: str, label: str) -> tuple[Any, dict[str, int]]:
    """The data, and the line of each item, by its key or its number."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        _require_one_value(node, label)
        if isinstance(node, yaml.MappingNode):
            lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
        else:
            items = node.value if isinstance(node, yaml.SequenceNode) else []
            lines = {str(number): item.start_mark.line + 1 for number, item in enumerate(items)}
        value = loader.construct_document(node)
        require_plain(value)
        return value, lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise RingfenceError(f"{label}{line}: malformed YAML: {error.problem}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, RingfenceError) and str(error).startswith(label):
            raise
        reason = " ".join(str(error).split())
        raise RingfenceError(f"{label}: malformed YAML: {reason}.") from error


def _require_one_value(root: yaml.Node, label: str) -> None:
    """YAML readers take the last of several values without a word."""
    for mapping in _mappings(root):
        seen: dict[str, yaml.Node] = {}
        for key, value in mapping.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            before = seen.setdefault(key.value, value)
            same = isinstance(before, yaml.ScalarNode) and (before.tag, before.value) == (value.tag, value.value)
            if before is not value and not same:
                line = key.start_mark.line + 1
                raise RingfenceError(f"{label}:{line}: the key `{key.value}` has two values here: keep one of them.")


def _mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Every object once, however often it is referred to."""
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
