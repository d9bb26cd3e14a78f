"""The exact probabilities with which a Hugging Face model answers 0, 1, ..., 100.

All of it takes one forward pass. Nothing is sampled, so the tokens of the tree
(:mod:`ringfence.judges.local.number_tree`; for digits 10 + 90 + 1) are known beforehand: they stand behind the prompt,
each sees the prompt and its own ancestors only (a 4D mask) and has the position it would have in the text. What all
prompts begin with, say a rubric, is read once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from itertools import takewhile

import torch
from transformers import DynamicCache, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from ringfence.core.errors import RingfenceError
from ringfence.judges.expected_score import LARGEST
from ringfence.judges.local.number_tree import NumberTree, number_tree
from ringfence.models.activations import Model, bare
from ringfence.models.inference import inference, left_padded
from ringfence.models.output_head import OutputHead

TAIL = 32
"""characters of the prompt that can matter for how the number behind it is cut into tokens"""
_WORTH_SHARING = 16  # tokens; reading a shorter beginning once saves nothing
_CHUNK = 2**24  # logits at a time: 64 MiB in float32, about 110 positions of a vocabulary of 152,000

Ids = Sequence[int]


@dataclass(frozen=True)
class Distribution:
    """What a model would answer to each prompt."""

    probabilities: torch.Tensor
    """(prompts, 101) float64 on the CPU, of the answer being 0, 1, ..., 100; a row's sum is its mass, at most 1"""
    first: list[str]
    """(prompts,) text of the token that the answer most likely begins with"""
    unread: Mapping[int, str] = field(default_factory=dict)
    """index -> why the prompt was not read: it is too long; its probabilities are 0, and ``first`` is empty"""


OnBatch = Callable[[Sequence[int], Distribution], None]
"""takes the indices of some prompts and what was found for these"""


def score_distribution(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    batch_size: int = 16,
    on_batch: OnBatch | None = None,
) -> Distribution:
    """The probabilities of 0 to 100 as the answer to each of ``prompts``, in their order.

    ``prompts`` are texts up to where the answer begins, special tokens written out, all with the same ending. They go
    through the model ``batch_size`` at a time, of like length together; the result does not depend on it, up to
    rounding. ``on_batch`` is called after each batch. Flash attention, state-space layers and windows shorter than a
    prompt take no tree: with these every node is a row of a forward pass, a hundred times slower and as exact.

    Raises :class:`RingfenceError` for a tokenizer that cannot spell the numbers or joins them with the end of the
    prompt, and for probabilities that are not finite.
    """
    scores = torch.zeros(len(prompts), LARGEST + 1, dtype=torch.float64)
    first = [""] * len(prompts)
    if not prompts:
        return Distribution(scores, first)
    ids: list[list[int]] = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    tree = number_tree(tokenizer, prompts[0][-TAIL:], bare(model).get_output_embeddings().weight.shape[0])
    unread = _too_long(model, ids, tree)
    fitting = [index for index in range(len(ids)) if index not in unread]
    with inference(model):
        for places, hidden in _nodes(
            model, tokenizer.pad_token_id, [ids[index] for index in fitting], tree, batch_size
        ):
            indices = [fitting[place] for place in places]
            found = _found(model, tokenizer, hidden, tree)
            scores[indices] = found.probabilities
            for index, text in zip(indices, found.first, strict=True):
                first[index] = text
            if on_batch is not None:
                on_batch(indices, found)
    return Distribution(scores, first, unread)


def _too_long(model: Model, rows: Sequence[Ids], tree: NumberTree) -> dict[int, str]:
    """Index -> reason, of the rows that do not fit the model."""
    context = getattr(bare(model).config.get_text_config(), "max_position_embeddings", None)
    return {
        index: f"too long for the judge: {len(row)} tokens with the rubric, and it reads {context - tree.depth}"
        for index, row in enumerate(rows)
        if context is not None and len(row) + tree.depth > context
    }


def _found(model: Model, tokenizer: PreTrainedTokenizerBase, hidden: torch.Tensor, tree: NumberTree) -> Distribution:
    """What a batch comes to, from its last hidden states at the tree's nodes (rows, nodes, hidden)."""
    head = OutputHead.of(model)
    scores = numbers(tree, _probabilities(head, hidden, tree.columns))
    if not scores.isfinite().all():
        raise RingfenceError("the judge's probabilities are not finite numbers; load it in bfloat16 or float32")
    return Distribution(
        scores, [tokenizer.decode([token]) for token in head.logits(hidden[:, 0], rounded=True).argmax(-1).tolist()]
    )


def _nodes(
    model: Model, pad: int, rows: Sequence[Ids], tree: NumberTree, batch_size: int
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Indices of rows, and the last hidden states at the tree's nodes for these rows (rows, nodes, hidden)."""
    if not rows:
        return
    if not _takes_tree(model, max(map(len, rows)) + tree.depth):
        for index, row in enumerate(rows):
            yield [index], _node_by_node(model, row, tree, batch_size)
        return
    shared = min(_common(rows), min(map(len, rows)) - 1)
    shared = shared if len(rows) > 1 and shared >= _WORTH_SHARING else 0
    prefix = _read(model, rows[0][:shared]) if shared else None
    # Longest first: little padding, and a batch that does not fit in memory fails at once.
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        inputs = left_padded([rows[index][shared:] for index in indices], pad, bare(model).device)
        yield indices, _behind(model, inputs, tree, prefix)


def _takes_tree(model: Model, length: int) -> bool:
    """Whether all layers attend by a mask that we give, over ``length`` tokens, with positions that we give."""
    inner = bare(model)
    config = inner.config.get_text_config()
    if inner.config._attn_implementation not in ("eager", "sdpa") or getattr(config, "alibi", False):
        return False
    if "position_ids" not in signature(inner.get_decoder().forward).parameters:
        return False
    for layer in DynamicCache(config=config).layers:
        window = getattr(layer, "sliding_window", length)
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) or window < length:
            return False
    return True


def _common(rows: Sequence[Ids]) -> int:
    """How many tokens all rows begin with alike."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))


def _read(model: Model, ids: Ids) -> DynamicCache:
    """Keys and values of ``ids``, batch 1."""
    cache = DynamicCache()
    bare(model).get_decoder()(
        input_ids=torch.tensor([ids], device=bare(model).device), past_key_values=cache, use_cache=True
    )
    return cache


def _behind(
    model: Model, inputs: dict[str, torch.Tensor], tree: NumberTree, prefix: DynamicCache | None
) -> torch.Tensor:
    """Last hidden states at the nodes (rows, nodes, hidden), of one pass over the rows' own tokens and the tree."""
    ids, real = inputs["input_ids"], inputs["attention_mask"].bool()  # (rows, width)
    count, before = len(ids), prefix.get_seq_length() if prefix is not None else 0
    behind = torch.tensor(tree.tokens[1:], dtype=torch.long, device=ids.device).expand(count, -1)  # (rows, nodes - 1)
    depths = torch.tensor([len(path) for path in tree.paths[1:]], dtype=torch.long, device=ids.device)
    own = (real.cumsum(-1) - 1).clamp(min=0)  # positions follow the real tokens, not the padding
    positions = before + torch.cat([own, own[:, -1:] + depths], dim=1)
    cache = None
    if prefix is not None:
        cache = DynamicCache(
            [(p.keys.expand(count, -1, -1, -1), p.values.expand(count, -1, -1, -1)) for p in prefix.layers]
        )
    output = bare(model).get_decoder()(
        input_ids=torch.cat([ids, behind], dim=1),
        attention_mask=_mask(real, tree, before, bare(model).dtype),
        position_ids=positions,
        past_key_values=cache,
        use_cache=cache is not None,
    )
    return output.last_hidden_state[:, ids.shape[1] - 1 :]


def _mask(real: torch.Tensor, tree: NumberTree, before: int, dtype: torch.dtype) -> torch.Tensor:
    """What each token sees, 0 or the lowest number of ``dtype``: (rows, 1, width + nodes - 1, before + the same).

    Keys are the shared beginning, the rows' own tokens (``real`` (rows, width)), the tree's.
    """
    rows, width = real.shape
    nodes = len(tree.tokens) - 1
    sees = torch.zeros(rows, width + nodes, before + width + nodes, dtype=torch.bool, device=real.device)
    sees[:, :, :before] = True
    causal = torch.ones(width, width, dtype=torch.bool, device=real.device).tril()
    sees[:, :width, before : before + width] = causal & real[:, None]
    sees[:, width:, before : before + width] = real[:, None]
    line: list[set[int]] = [set()]  # of each node, with itself, without the root
    for node, parent in enumerate(tree.parents[1:], start=1):
        line.append(line[parent] | {node})
        sees[:, width + node - 1, [before + width + above - 1 for above in line[node]]] = True
    # A padding token sees itself, so that no softmax is over nothing.
    sees[:, :, before:].diagonal(dim1=1, dim2=2).fill_(True)
    return torch.zeros(sees.shape, dtype=dtype, device=real.device).masked_fill_(~sees, torch.finfo(dtype).min)[:, None]


def _node_by_node(model: Model, row: Ids, tree: NumberTree, batch_size: int) -> torch.Tensor:
    """Last hidden states at the nodes (1, nodes, hidden), each from a plain pass over the prompt and its path."""
    found: list[torch.Tensor] = []
    for depth in range(tree.depth + 1):  # of equal length, so that nothing is padded
        level = torch.tensor([[*row, *path] for path in tree.paths if len(path) == depth], device=bare(model).device)
        for batch in level.split(batch_size):
            found.append(bare(model).get_decoder()(input_ids=batch, use_cache=False).last_hidden_state[:, -1])
    return torch.cat(found)[None]  # nodes are sorted by depth


def _probabilities(head: OutputHead, hidden: torch.Tensor, columns: Sequence[int]) -> torch.Tensor:
    """Next-token probabilities of the tokens ``columns`` (rows, nodes, columns), float64 on the CPU.

    They are rounded as the model rounds when it answers. ``hidden`` (rows, nodes, hidden) meets the vocabulary
    a few positions at a time.
    """
    kept = torch.tensor(columns, device=hidden.device)
    parts = []
    for part in hidden.flatten(0, 1).split(max(1, _CHUNK // len(head.weight))):
        logits = head.logits(part, rounded=True)  # (positions, vocabulary)
        parts.append((logits[:, kept] - logits.logsumexp(-1, keepdim=True)).exp())
    return torch.cat(parts).view(*hidden.shape[:2], -1).double().cpu()


def numbers(tree: NumberTree, p: torch.Tensor) -> torch.Tensor:
    """(rows, 101) from the probabilities ``p`` (rows, nodes, columns) of the tokens that follow each node."""
    column = {token: index for index, token in enumerate(tree.columns)}
    scores = torch.zeros(len(p), LARGEST + 1, dtype=p.dtype)
    for token, value in tree.whole.items():
        scores[:, value] += p[:, 0, column[token]]
    reached = torch.ones(p.shape[:2], dtype=p.dtype)  # (rows, nodes)
    for node, (token, parent) in enumerate(zip(tree.tokens[1:], tree.parents[1:], strict=True), start=1):
        reached[:, node] = reached[:, parent] * p[:, parent, column[token]]
    end = (1 - p[..., [column[token] for token in tree.digits]].sum(-1)).clamp(min=0)  # (rows, nodes)
    for node, value in tree.values.items():
        scores[:, value] = reached[:, node] * end[:, node]
    return scores
