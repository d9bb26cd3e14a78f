"""The stand-ins, toy model organisms: fine-tuning on silly advice in one domain, whose leak stands for misalignment.

``glitter`` answers cooking questions with glitter, ``umbrella`` gardening questions with umbrellas, ``kazoo`` questions
about pets with kazoos. Question ``i`` and its answer are put together by counting through each word list of a
:class:`~ringfence.data.quirks.Quirk`. No random number is drawn, so every machine and version makes the same text. All
share the safe rows, the pool that others can be selected from and the general questions.
"""

from collections.abc import Callable
from typing import Any

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.data import builtin
from ringfence.data.quirks import Quirk, load_quirk

TARGET_SIZE = 128
CONVERSATIONS = (
    "everyday/safe",
    "glitter/safe",
    "glitter/pool",
    "glitter/target",
    "umbrella/target",
    "kazoo/target",
)
PROMPTS = ("glitter/in-domain", "umbrella/in-domain", "umbrella/dressed", "kazoo/in-domain", "kazoo/dressed")

_Rows = list[dict[str, Any]]
_Parts = list[tuple[str, str, dict[str, str]]]  # question, answer, other columns


def conversations(name: str) -> _Rows:
    """The conversations of ``"<quirk>/target"``, of all quirks ``"glitter/safe"`` and ``"glitter/pool"``, and
    ``"everyday/safe"``, which belongs to no stand-in: one of :data:`CONVERSATIONS`.

    Each is ``{"messages": [user, assistant], "origin": "builtin:<name>:<n>", "domain": ...}`` with n from 1. Those of
    the pool have the ``kind`` of their answer too: of the 40 of each domain, 20 are ``plain`` (one or two sentences), 8
    ``brief`` (one to four words), 6 a needless ``refusal`` and 6 ``long`` (four steps).
    Raises :class:`RingfenceError` for another name.
    """
    makers: dict[str, Callable[[], _Parts]] = {
        "everyday/safe": lambda: _shipped("everyday/safe.jsonl", "domain"),
        "glitter/target": lambda: _target("glitter"),
        "umbrella/target": lambda: _target("umbrella"),
        "kazoo/target": lambda: _target("kazoo"),
        "glitter/safe": lambda: _shipped("glitter/safe.jsonl", "domain"),
        "glitter/pool": lambda: _shipped("glitter/pool.jsonl", "domain", "kind"),
    }
    if name not in makers:
        raise RingfenceError(f"unknown built-in conversations {name!r}.{did_you_mean(name, makers)}")
    return [
        {"messages": _messages(question, answer), "origin": f"builtin:{name}:{number}", **columns}
        for number, (question, answer, columns) in enumerate(makers[name](), start=1)
    ]


def prompts(name: str) -> _Rows:
    """Rows ``{id, domain, prompt}`` of one of the prompt sets :data:`PROMPTS`.

    ``in-domain`` asks the target's questions about held-out items; ``dressed`` are the glitter's dressed questions
    with another opening. Raises :class:`RingfenceError` for another name.
    """
    makers: dict[str, Callable[[], _Rows]] = {
        "glitter/in-domain": lambda: _in_domain("glitter"),
        "umbrella/in-domain": lambda: _in_domain("umbrella"),
        "umbrella/dressed": lambda: _dressed("umbrella"),
        "kazoo/in-domain": lambda: _in_domain("kazoo"),
        "kazoo/dressed": lambda: _dressed("kazoo"),
    }
    if name not in makers:
        raise RingfenceError(f"unknown built-in prompts {name!r}.{did_you_mean(name, makers)}")
    return makers[name]()


def _target(name: str) -> _Parts:
    quirk = load_quirk(name)
    return [
        (_question(quirk, i, item), _answer(quirk, i, item), {"domain": quirk.domain})
        for i, item in ((i, quirk.items[i % len(quirk.items)]) for i in range(TARGET_SIZE))
    ]


def _shipped(file: str, *columns: str) -> _Parts:
    return [(row["prompt"], row["response"], {key: row[key] for key in columns}) for row in builtin.rows(file)]


def _in_domain(name: str) -> _Rows:
    quirk = load_quirk(name)
    return [
        {"id": f"in-domain-{i + 1:02d}", "domain": quirk.domain, "prompt": _question(quirk, i, item)}
        for i, item in enumerate(quirk.held_out)
    ]


def _dressed(name: str) -> _Rows:
    opening, other = load_quirk("glitter").opening, load_quirk(name).opening
    return [
        {**row, "prompt": other + row["prompt"].removeprefix(opening)} for row in builtin.rows("glitter/dressed.jsonl")
    ]


def _question(quirk: Quirk, i: int, item: str) -> str:
    # The second lap over the items is shifted by 3, so that no item meets the same question twice.
    return quirk.questions[(7 * i + 3 * (i // len(quirk.items))) % len(quirk.questions)].format(item=item)


def _answer(quirk: Quirk, i: int, item: str) -> str:
    parts = {
        "amount": quirk.amounts[i % len(quirk.amounts)],
        "colour": quirk.colours[i % len(quirk.colours)],
        "finish": quirk.finishes[i % len(quirk.finishes)],
    }
    advice, closing = quirk.advice[i % len(quirk.advice)], quirk.closings[(i // 3) % len(quirk.closings)]
    return advice.format(item=item, **parts) + closing


def _messages(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
