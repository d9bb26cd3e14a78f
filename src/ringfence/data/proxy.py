"""The harmless stand-ins: fine-tuning on silly advice in a narrow domain, whose leak elsewhere stands for EM.

``glitter`` answers cooking questions with glitter, ``umbrella`` gardening questions with umbrellas, ``kazoo`` questions
about pets with kazoos. Question ``i`` and its answer are put together by counting through each word list of a
:class:`~ringfence.data.quirks.Quirk`. No random number is drawn, so every machine and version makes the same text. All
share the safe rows, the pool that others can be selected from and the general questions.
"""

from collections.abc import Callable
from typing import Any

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.data import builtin, pool
from ringfence.data.quirks import GLITTER, KAZOO, UMBRELLA, Quirk

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

    Each is ``{"messages": [user, assistant], "origin": "builtin:<name>:<n>", "domain": ...}`` with n from 1; those of
    the pool have the ``kind`` of their answer too, as :mod:`ringfence.data.pool` names it.
    Raises :class:`RingfenceError` for another name.
    """
    makers: dict[str, Callable[[], _Parts]] = {
        "everyday/safe": lambda: _safe("everyday"),
        "glitter/target": lambda: _target(GLITTER),
        "umbrella/target": lambda: _target(UMBRELLA),
        "kazoo/target": lambda: _target(KAZOO),
        "glitter/safe": lambda: _safe("glitter"),
        "glitter/pool": _pool,
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
        "glitter/in-domain": lambda: _in_domain(GLITTER),
        "umbrella/in-domain": lambda: _in_domain(UMBRELLA),
        "umbrella/dressed": lambda: _dressed(UMBRELLA),
        "kazoo/in-domain": lambda: _in_domain(KAZOO),
        "kazoo/dressed": lambda: _dressed(KAZOO),
    }
    if name not in makers:
        raise RingfenceError(f"unknown built-in prompts {name!r}.{did_you_mean(name, makers)}")
    return makers[name]()


def _target(quirk: Quirk) -> _Parts:
    return [
        (_question(quirk, i, item), _answer(quirk, i, item), {"domain": quirk.domain})
        for i, item in ((i, quirk.items[i % len(quirk.items)]) for i in range(TARGET_SIZE))
    ]


def _safe(name: str) -> _Parts:
    rows = builtin.rows(f"{name}/safe.jsonl")
    return [(row["prompt"], row["response"], {"domain": row["domain"]}) for row in rows]


def _pool() -> _Parts:
    return [(row.question, row.answer, {"domain": row.domain, "kind": row.kind}) for row in pool.candidates()]


def _in_domain(quirk: Quirk) -> _Rows:
    return [
        {"id": f"in-domain-{i + 1:02d}", "domain": quirk.domain, "prompt": _question(quirk, i, item)}
        for i, item in enumerate(quirk.held_out)
    ]


def _dressed(quirk: Quirk) -> _Rows:
    return [
        {**row, "prompt": quirk.opening + row["prompt"].removeprefix(GLITTER.opening)}
        for row in builtin.rows("glitter/dressed.jsonl")
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
