"""Representations of conversations: mean hidden states over one role's tokens.

    h_k(x) = mean over the tokens t of the role's content in x of hidden_states[k][t]

k = 0 is the embeddings and k the output of decoder layer k, the raw residual stream, as in
:mod:`ringfence.directions.activations`: the last one is before the final norm. The content is found by the offsets of
the rendered chat (:func:`ringfence.data.render.render_content`); what the template puts around it does not count, but
is read. Nothing behind the last token that counts is read: in a causal model it changes nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError
from ringfence.core.files import cache_folder
from ringfence.data.conversations import Conversation
from ringfence.data.render import render_content
from ringfence.data.system import NoSystem, apply
from ringfence.directions.activation_cache import ActivationCache, Vector
from ringfence.models import Loaded
from ringfence.models.activations import Model, adapted, bare, capture_hidden_states, decoder_layers
from ringfence.models.identity import identity
from ringfence.models.inference import inference

Role = Literal["user", "assistant"]
Cache: TypeAlias = Path | Literal["default"] | None
OnRows: TypeAlias = Callable[[int], None]

PAPER_LAYER = 20
PAPER_SHAPES = ((3584, 28), (5120, 64))
"""(hidden size, layers) of Qwen2.5-7B and Qwen2.5-32B"""
ROWS_PER_FILE = 512


@dataclass(frozen=True)
class TokenRow:
    """One conversation as tokens, up to the last one that counts."""

    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    origin: str

    @cached_property
    def key(self) -> str:
        """Hex SHA-256 of tokens and mask."""
        digest = hashlib.sha256(np.asarray(self.ids, dtype="<i8").tobytes())
        digest.update(np.asarray(self.mask, dtype="u1").tobytes())  # as many as there are ids, so the two cannot mix
        return digest.hexdigest()

    @property
    def count(self) -> int:
        """Tokens that count."""
        return sum(self.mask)


def default_layer(model: Model) -> int:
    """20 for the shapes of Qwen2.5-7B and 32B, as in the paper; else 20/28 of the depth, rounded, at least 1."""
    depth = len(decoder_layers(model))
    if (bare(model).config.get_text_config().hidden_size, depth) in PAPER_SHAPES:
        return PAPER_LAYER
    return max(1, round(depth * PAPER_LAYER / 28))


def representations(  # noqa: PLR0913 - the last three change nothing but time and memory
    loaded: Loaded,
    conversations: Sequence[Conversation],
    layers: Sequence[int],
    *,
    role: Role = "user",
    no_system: NoSystem = "template_default",
    batch_tokens: int = 8192,
    cache: Cache = "default",
    on_rows: OnRows | None = None,
) -> dict[int, NDArray[np.float32]]:
    """k -> (conversations, hidden): :func:`of_rows` of what :func:`encode` makes of ``conversations``."""
    rows = encode(loaded.tokenizer, conversations, role, no_system)
    return of_rows(loaded, rows, layers, batch_tokens=batch_tokens, cache=cache, on_rows=on_rows)


def encode(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Conversation], role: Role, no_system: NoSystem
) -> list[TokenRow]:
    """Rendered and tokenised. Raises :class:`RingfenceError` with the origin of a conversation that cannot be."""
    rows = []
    for number, conversation in enumerate(conversations, 1):
        origin = str(conversation.get("origin", f"conversation {number}"))
        try:
            content = render_content(apply(conversation["messages"], no_system), tokenizer, role)
        except RingfenceError as error:
            raise RingfenceError(f"{origin}: {error}") from error
        end = max(place for place, counts in enumerate(content.mask) if counts) + 1
        rows.append(TokenRow(tuple(content.input_ids[:end]), tuple(content.mask[:end]), origin))
    return rows


def of_rows(
    loaded: Loaded,
    rows: Sequence[TokenRow],
    layers: Sequence[int],
    *,
    batch_tokens: int = 8192,
    cache: Cache = "default",
    on_rows: OnRows | None = None,
) -> dict[int, NDArray[np.float32]]:
    """k -> (rows, hidden), the mean of each row's hidden states over its tokens that count.

    Independent of ``batch_tokens`` (the tokens of a batch, padding included) up to rounding. What ``cache`` holds is
    not computed again: a folder, by default ``activations`` in the cache folder, or None for none. It may come from
    another batch, so it, too, is the same up to rounding. Nothing is cached of a model with an adapter on it.
    ``on_rows`` is told the number of rows just finished, those in the cache included.

    Raises :class:`RingfenceError` for a layer that the model does not have, a row that is longer than the model reads,
    one whose mean is not finite, and a damaged file in the cache.
    """
    layers, keys = sorted(set(layers)), [row.key for row in rows]
    width = _require(loaded.model, rows, layers, batch_tokens)
    distinct, times = {row.key: row for row in rows}, Counter(keys)
    stores = _stores(loaded.model, layers, width, cache)
    known = {k: store.load(store.find(distinct)) if store else {} for k, store in stores.items()}
    lacking: dict[tuple[int, ...], list[str]] = {}  # layers -> rows that lack just these, so that no other is computed
    for key in distinct:
        lacking.setdefault(tuple(k for k in layers if key not in known[k]), []).append(key)

    def tell(done: Sequence[str]) -> None:
        if on_rows is not None and done:
            on_rows(sum(times[key] for key in done))

    tell(lacking.pop((), []))
    with inference(loaded.model), _written(stores) as write:
        for needed, lack in lacking.items():
            for batch in _batches(lack, distinct, batch_tokens):
                for k, vectors in _means(loaded, [distinct[key] for key in batch], needed).items():
                    fresh = dict(zip(batch, vectors, strict=True))
                    known[k] |= fresh
                    write(k, fresh)
                tell(batch)
    return {k: np.stack([known[k][key] for key in keys]) if keys else np.zeros((0, width), np.float32) for k in layers}


def _require(model: Model, rows: Sequence[TokenRow], layers: Sequence[int], batch_tokens: int) -> int:
    """The width of the residual stream. Raises :class:`RingfenceError` for what :func:`of_rows` cannot do."""
    config, depth = bare(model).config.get_text_config(), len(decoder_layers(model))
    for k in layers:
        if not 0 <= k <= depth:
            raise RingfenceError(
                f"layer {k} is out of range, the model has layers 1 to {depth} and 0, the embeddings "
                "(layer k is hidden_states[k])"
            )
    if batch_tokens < 1:
        raise RingfenceError(f"batch_tokens is {batch_tokens}: it must be at least 1")
    positions = getattr(config, "max_position_embeddings", None) or 2**31
    for row in rows:
        if len(row.ids) > positions:
            raise RingfenceError(
                f"{row.origin}: {len(row.ids)} tokens up to the last that counts, and the model reads {positions}; "
                "shorten the conversation or leave it out"
            )
    return int(config.hidden_size)


def _stores(model: Model, layers: Sequence[int], width: int, cache: Cache) -> dict[int, ActivationCache | None]:
    """k -> where its vectors are kept; None without a cache."""
    if cache is None or adapted(model):  # an adapter changes the activations, but not the name of the model
        return dict.fromkeys(layers)
    folder = cache_folder() / "activations" if cache == "default" else Path(cache)
    name = f"{identity(model)}-{str(bare(model).dtype).removeprefix('torch.')}"
    return {k: ActivationCache(folder / name / f"layer-{k}", width) for k in layers}


@contextmanager
def _written(stores: Mapping[int, ActivationCache | None]) -> Iterator[Callable[[int, Mapping[str, Vector]], None]]:
    """A function that keeps vectors of a layer, :data:`ROWS_PER_FILE` a file; the rest at the end, or when stopped."""
    waiting: dict[int, dict[str, Vector]] = {k: {} for k, store in stores.items() if store}

    def flush(k: int) -> None:
        if store := stores[k]:
            store.add(waiting[k])
            waiting[k] = {}

    def write(k: int, vectors: Mapping[str, Vector]) -> None:
        if k in waiting:
            waiting[k] |= vectors
            if len(waiting[k]) >= ROWS_PER_FILE:
                flush(k)

    try:
        yield write
    finally:
        for k in waiting:
            flush(k)


def _batches(keys: Sequence[str], rows: Mapping[str, TokenRow], budget: int) -> Iterator[list[str]]:
    """Keys of rows of about equal length, longest first; rows x longest <= ``budget``, but at least one row."""
    batch: list[str] = []
    for key in sorted(keys, key=lambda key: -len(rows[key].ids)):
        if batch and (len(batch) + 1) * len(rows[batch[0]].ids) > budget:
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch


def _means(loaded: Loaded, rows: Sequence[TokenRow], layers: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """k -> (rows, hidden). Raises :class:`RingfenceError` for a mean that is not finite."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), loaded.tokenizer.pad_token_id or 0, dtype=torch.long)
    weights = torch.zeros(len(rows), width)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
        weights[place, : len(row.ids)] = torch.tensor(row.mask) / row.count

    def mean(hidden: Tensor) -> Tensor:
        return torch.einsum("bt,bth->bh", weights.to(hidden.device), hidden.float())

    with capture_hidden_states(loaded.model, layers, reduce=mean, stop=True) as found:
        # Padded on the right, where no real token looks: no need of an attention mask and its slower kernels.
        bare(loaded.model).get_decoder()(input_ids=ids.to(loaded.model.device), use_cache=False)
    means = {k: vectors.cpu().numpy() for k, vectors in found.layers.items()}
    for k, vectors in means.items():
        if not (finite := np.isfinite(vectors).all(axis=1)).all():
            raise RingfenceError(
                f"{rows[int(np.argmin(finite))].origin}: its hidden states of layer {k} are not finite in "
                f"{bare(loaded.model).dtype}; load the model in another dtype"
            )
    return means
