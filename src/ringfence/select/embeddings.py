"""Conversations as vectors: the model's own mean hidden state over what one role says, or a sentence encoder's.

The model's own are those of :mod:`ringfence.directions.representations` at its default layer. Vectors are raw: they
share a large common part and have a few large dimensions, so whoever compares them centres or scales them first.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ringfence.core.errors import RingfenceError, install
from ringfence.data.conversations import Conversation
from ringfence.data.render import render_content
from ringfence.data.system import apply
from ringfence.select.base import Candidate, Context, Dropped, Mapped, Mapper, Step

Role = Literal["user", "assistant"]
VECTOR = "embedding"
"""vector column of what :class:`Embedding` makes"""
_LIBRARY = "sentence_transformers"
_BATCH = 64  # texts that the encoder reads at once


class Embedder:
    """Makes vectors of conversations; the model is loaded when it is made."""

    def __init__(self, context: Context, encoder: str | None = None, role: Role = "user") -> None:
        """``encoder`` is a folder or a hub id for sentence-transformers; None takes the context's own model.

        Raises :class:`RingfenceError` if the encoder, or the library for it, is not there.
        """
        self.context, self.role, self.encoder = context, role, encoder
        self._sentences: Any = None if encoder is None else _sentence_encoder(encoder)

    def __call__(self, conversations: Sequence[Conversation], on_rows: Callable[[int], None]) -> NDArray[np.float32]:
        """(conversations, width); ``on_rows`` is told the number of rows just finished.

        Raises :class:`RingfenceError` for a conversation in which the role says nothing, and one that is too long; see
        :func:`readable`.
        """
        if self._sentences is not None:
            return self._encode(conversations, on_rows)
        from ringfence.directions.representations import default_layer, representations

        loaded, context = self.context.loaded, self.context
        layer = default_layer(loaded.model)
        found = representations(
            loaded,
            conversations,
            [layer],
            role=self.role,
            no_system=context.no_system,
            batch_tokens=context.batch_tokens,
            on_rows=on_rows,
        )
        return found[layer]

    def _encode(self, conversations: Sequence[Conversation], on_rows: Callable[[int], None]) -> NDArray[np.float32]:
        texts = [_said(conversation, self.role) for conversation in conversations]
        vectors: list[Any] = []
        for start in range(0, len(texts), _BATCH):
            chunk = texts[start : start + _BATCH]
            vectors.append(self._sentences.encode(chunk, batch_size=_BATCH, show_progress_bar=False))
            on_rows(len(chunk))
        return np.concatenate(vectors).astype(np.float32) if vectors else np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Embedding:
    """The mapper of steps that compare rows: makes the vector column :data:`VECTOR`."""

    embedder: Embedder

    def __call__(self, rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
        """Rows with their vector; those that cannot be read are dropped."""
        embedder = self.embedder
        kept, dropped = readable(rows, embedder.context, embedder.role, embedder.encoder)
        if dropped:
            on_rows(len(dropped))
        vectors = embedder([row.conversation for row in kept], on_rows)
        found = []
        for row, vector in zip(kept, vectors, strict=True):
            if np.isfinite(vector).all():
                found.append(replace(row, vectors={**row.vectors, VECTOR: vector}))
            else:
                dropped.append(Dropped("no finite embedding", row.conversation["origin"]))
        return Mapped(found, dropped)


class Embedded(Step):
    """Base of the steps that compare rows by their vectors."""

    encoder: str | None = None
    """folder or hub id of a sentence encoder; null takes the model's own mean hidden state"""
    role: Role = "user"
    """whose words are compared"""

    def check(self) -> None:
        """Raise :class:`RingfenceError` if the library that ``encoder`` needs is not installed."""
        require_library(self.encoder)

    def inputs(self) -> Sequence[str]:
        """The encoder, where it is a folder."""
        return encoder_inputs(self.encoder)

    def map_settings(self) -> dict[str, Any]:
        """What the vectors depend on."""
        return self.model_dump(mode="json", include={"encoder", "role"})

    def map(self, context: Context) -> Mapper:
        """With the model, or the encoder, loaded."""
        return Embedding(Embedder(context, self.encoder, self.role))


def readable(
    rows: Sequence[Candidate], context: Context, role: Role, encoder: str | None = None
) -> tuple[list[Candidate], list[Dropped]]:
    """The rows that an :class:`Embedder` can read, and those that it cannot: no turn of the role's, or too long.

    A sentence encoder cuts what is too long for it.
    """
    kept, dropped = [], []
    for row in rows:
        messages, origin = row.conversation["messages"], row.conversation["origin"]
        if not any(message["role"] == role for message in messages):
            dropped.append(Dropped(f"no {role} turn", origin))
        elif encoder is None and _length(row.conversation, context, role) > context.longest():
            dropped.append(Dropped(f"longer than {context.longest()} tokens", origin))
        else:
            kept.append(row)
    return kept, dropped


def require_library(encoder: str | None) -> None:
    """Raise :class:`RingfenceError` if ``encoder`` needs a library that is not installed."""
    if encoder is not None and sys.modules.get(_LIBRARY) is None and importlib.util.find_spec(_LIBRARY) is None:
        raise RingfenceError(
            f"encoder: {encoder} needs sentence-transformers; {install('embed')}, or leave `encoder` out "
            "to take the model's own hidden states"
        )


def encoder_inputs(encoder: str | None) -> list[str]:
    """The encoder's folder, where it is one."""
    return [] if encoder is None or not Path(encoder).expanduser().is_dir() else [encoder]


def _sentence_encoder(encoder: str) -> Any:
    require_library(encoder)
    library = importlib.import_module(_LIBRARY)
    folder = Path(encoder).expanduser()
    try:
        return library.SentenceTransformer(str(folder) if folder.is_dir() else encoder, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RingfenceError(f"encoder: cannot load {encoder!r}: {reason}") from error


def _said(conversation: Conversation, role: Role) -> str:
    """All that the role says, a blank line between turns."""
    said = [message["content"] for message in conversation["messages"] if message["role"] == role]
    if not said:
        raise RingfenceError(f"{conversation['origin']}: the {role} says nothing, so there is nothing to embed")
    return "\n\n".join(said)


def _length(conversation: Conversation, context: Context, role: Role) -> int:
    """Tokens up to the last one of the role's: what comes after it is not read."""
    try:
        mask = render_content(apply(conversation["messages"], context.no_system), context.loaded.tokenizer, role).mask
    except RingfenceError as error:
        raise RingfenceError(f"{conversation['origin']}: {error}") from error
    return len(mask) - mask[::-1].index(True)
