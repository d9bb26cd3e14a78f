"""The same exact probabilities of 0, 1, ..., 100 by an engine, such as vLLM's: each node of the tree is a prompt.

An engine takes no tree (:mod:`ringfence.judges.local.number_tree`) in one pass. So each node is a prompt, the judge's
own with the node's path behind it, and of its next token the raw log probabilities of all tokens that spell numbers are
asked for; the likeliest twenty, which servers tell of, can miss some. The engine keeps what it has read of a beginning,
so a node costs little more than one token. Nodes go level by level, and one that is reached with a probability below
1e-9 is not asked: all of them together move a mean by less than 1e-4.
"""

from collections.abc import Sequence

import torch

from ringfence.core.errors import RingfenceError
from ringfence.judges.expected_score import LARGEST
from ringfence.judges.local.distribution import TAIL, Distribution, OnBatch, numbers
from ringfence.judges.local.number_tree import NumberTree, number_tree
from ringfence.models.engine import Draw, Engine

NEGLIGIBLE = 1e-9
"""probability of reaching a node, below which what follows it is not asked for"""
LABELS = 128
"""tokens that an engine tells of in one call; vLLM's own limit"""


def engine_distribution(
    engine: Engine, prompts: Sequence[str], batch_size: int = 16, on_batch: OnBatch | None = None
) -> Distribution:
    """As :func:`ringfence.judges.local.distribution.score_distribution`, by ``engine``; prompts go in their order.

    Raises :class:`RingfenceError` as it does.
    """
    scores = torch.zeros(len(prompts), LARGEST + 1, dtype=torch.float64)
    first, unread = [""] * len(prompts), dict[int, str]()
    if not prompts:
        return Distribution(scores, first)
    tree = number_tree(engine.tokenizer, prompts[0][-TAIL:], len(engine.tokenizer))
    rows = [engine.tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    room = engine.max_length - tree.depth - 1  # the engine draws a token behind the last node, too
    fitting = [index for index, row in enumerate(rows) if len(row) <= room]
    for start in range(0, len(fitting), batch_size):
        indices = fitting[start : start + batch_size]
        found = _found(engine, tree, [rows[index] for index in indices])
        scores[indices] = found.probabilities
        for index, text in zip(indices, found.first, strict=True):
            first[index] = text
        if on_batch is not None:
            on_batch(indices, found)
    for index in set(range(len(rows))) - {*fitting}:
        unread[index] = f"too long for the judge: {len(rows[index])} tokens with the rubric, and it reads {room}"
    return Distribution(scores, first, unread)


def _found(engine: Engine, tree: NumberTree, rows: Sequence[Sequence[int]]) -> Distribution:
    """What a batch comes to."""
    column = {token: index for index, token in enumerate(tree.columns)}
    p = torch.zeros(len(rows), len(tree.paths), len(column), dtype=torch.float64)  # of each next token, at each node
    reached = torch.zeros(len(rows), len(tree.paths), dtype=torch.float64)
    reached[:, 0] = 1
    first = list[int]()
    for depth in range(tree.depth + 1):
        nodes = [node for node, path in enumerate(tree.paths) if len(path) == depth]
        for node in nodes if depth else []:
            parent = tree.parents[node]
            reached[:, node] = reached[:, parent] * p[:, parent, column[tree.tokens[node]]]
        asked = [(row, node) for row in range(len(rows)) for node in nodes if reached[row, node] >= NEGLIGIBLE]
        said, drawn = _next_tokens(engine, [[*rows[row], *tree.paths[node]] for row, node in asked], tree.columns)
        first = first or drawn
        for (row, node), values in zip(asked, said, strict=True):
            p[row, node] = values
    probabilities = numbers(tree, p)
    if not probabilities.isfinite().all():
        raise RingfenceError("the judge's probabilities are not finite numbers; load it in bfloat16 or float32")
    return Distribution(probabilities, [engine.tokenizer.decode([token]) for token in first])


def _next_tokens(
    engine: Engine, prompts: Sequence[Sequence[int]], columns: Sequence[int]
) -> tuple[torch.Tensor, list[int]]:
    """Probabilities of the tokens ``columns`` behind each prompt (prompts, columns), and the likeliest token of all."""
    parts = [tuple(columns[start : start + LABELS]) for start in range(0, len(columns), LABELS)]
    draws = [Draw(of_tokens=part) for _ in prompts for part in parts]
    made = engine.generate([ids for ids in prompts for _ in parts], draws)
    values = [[one.tokens[0][token] for token in part] for one, part in zip(made, parts * len(prompts), strict=True)]
    logs = torch.tensor([value for part in values for value in part], dtype=torch.float64)
    return logs.exp().view(len(prompts), len(columns)), [one.ids[0] for one in made[:: len(parts)]]
