"""YAML with line numbers: what is plain data, and what is refused."""

from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data.suites.yaml_lines import read_entries


def test_entries_of_a_list_and_of_an_object() -> None:
    listed = read_entries("# one\n- id: a\n  x: 1\n- name: b\n- id: 7\n", "f")
    assert [(e.id, e.where) for e in listed] == [
        ("a", "f:2: question 'a'"),
        ("b", "f:4: question 'b'"),
        ("7", "f:5: question '7'"),
    ]
    assert listed[0].value == {"id": "a", "x": 1}
    keyed = read_entries("a: {x: 1}\nb:\n  name: c\n", "f")
    assert [(e.id, e.where) for e in keyed] == [("a", "f:1: question 'a'"), ("c", "f:2: question 'c'")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- id: a\n- id: b\n- id: a\n", "f:3: question 'a' is there twice, first on line 1"),
        ("- id: a\n  x: [1\n", "f:3: malformed YAML"),
        ("- id: a\n  x: *nowhere\n", "f:2: malformed YAML: found undefined alias"),
        ("- !!python/object/apply:os.getcwd []\n", "f:1: malformed YAML: could not determine a constructor"),
        ("- id: a\n---\n- id: b\n", "malformed YAML"),
        ("- id: 2024-99-99\n", "f: malformed YAML"),
        ("- id: a\x07\n", "f: malformed YAML"),
        ("- x: 1\n", "f:1: a question needs an `id` or a `name`"),
        ("- id: yes\n", "f:1: a question needs an `id` or a `name`"),
        ("- id: ''\n", "f:1: a question needs an `id` or a `name`"),
        ("- just text\n", "f:1: a question must be an object"),
        ("a: 3\n", "f:1: a question must be an object"),
        ("hello", "f: a file of questions must hold a list of them, not a text"),
        ("", "f: a file of questions must hold a list of them, not null"),
        ("[" * 500, "malformed YAML"),
    ],
)
def test_bad_files_in_one_line(text: Any, message: str) -> None:
    with pytest.raises(RingfenceError) as error:
        read_entries(text, "f")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_two_values_of_one_key() -> None:
    """YAML readers take the last one silently. The same value twice, and a value over a merged one, harm nobody."""
    with pytest.raises(RingfenceError, match=r"^f:4: the key `system` has two values here"):
        read_entries("- id: a\n  system: x\n  b: 1\n  system: y\n", "f")
    with pytest.raises(RingfenceError, match=r"^f:3: the key `x` has two values here"):
        read_entries("- id: a\n  deep: [{x: 1,\n    x: 2}]\n", "f")
    [entry] = read_entries("- {id: a, x: 1, x: 1}\n", "f")
    assert entry.value == {"id": "a", "x": 1}
    _, merged = read_entries("- &a {id: a, x: 1}\n- {<<: *a, id: b, x: 2}\n", "f")
    assert merged.value == {"id": "b", "x": 2}
