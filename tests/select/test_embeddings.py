"""Embeddings by the tiny model, and by a made-up sentence encoder in place of the library."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from candidates import candidate, context, nobody
from ringfence.core.errors import RingfenceError
from ringfence.directions.representations import default_layer
from ringfence.select import embeddings
from ringfence.select.embeddings import Embedder, Embedding, encoder_inputs, readable, require_library

ROWS = [candidate(index, "a" * (3 * index + 1), "q" * (5 - index) + "?") for index in range(4)]
TALKS = [row.conversation for row in ROWS]


class Encoder:
    """Embeds a text as its length and its number of question marks."""

    def __init__(self, name, trust_remote_code=None):
        if name == "missing/encoder":
            raise OSError("no such repository\nsecond line")
        self.name, self.trusts, self.asked = name, trust_remote_code, []

    def encode(self, texts, batch_size, show_progress_bar):
        self.asked.append(list(texts))
        return np.array([[len(text), text.count("?")] for text in texts], np.float64)


@pytest.fixture
def library(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=Encoder))


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_the_models_own_are_mean_hidden_states_of_the_role(role: str) -> None:
    shared, done = context(batch_tokens=50), []
    found = Embedder(shared, role=role)(TALKS, done.append)
    assert sum(done) == len(TALKS)
    assert found.dtype == np.float32
    loaded = shared.loaded
    for vector, talk in zip(found, TALKS, strict=True):
        text = loaded.tokenizer.apply_chat_template(talk["messages"], tokenize=False)
        said = next(message["content"] for message in talk["messages"] if message["role"] == role)
        # One token a byte but for the special ones; what is said stands once in these short texts.
        ids = loaded.tokenizer(text, return_tensors="pt")["input_ids"]
        before = loaded.tokenizer(text[: text.index(f"\n{said}<") + 1])["input_ids"]
        with torch.no_grad():
            hidden = loaded.model(ids, output_hidden_states=True).hidden_states[default_layer(loaded.model)][0]
        expected = hidden[len(before) : len(before) + len(said)].mean(dim=0)
        np.testing.assert_allclose(vector, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_batches_do_not_matter() -> None:
    whole = Embedder(context())(TALKS, nobody)
    parts = [Embedder(context(batch_tokens=30))(TALKS[:1], nobody), Embedder(context())(TALKS[1:], nobody)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5, atol=1e-6)


def test_the_meaning_of_no_system_counts() -> None:
    found = [Embedder(context(no_system=meaning))(TALKS, nobody) for meaning in ("none", "empty")]
    assert not np.allclose(*found)


def test_a_sentence_encoder_reads_what_the_role_says(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_BATCH", 3)
    talk = {"origin": "x:1", "messages": [{"role": "user", "content": one} for one in ("One?", "Two?")]}
    done = []
    embedder = Embedder(context(), "org/encoder")
    found = embedder([talk, *TALKS], done.append)
    assert found.dtype == np.float32
    assert found.tolist() == [[10, 2], [6, 1], [5, 1], [4, 1], [3, 1]]
    assert (embedder._sentences.name, embedder._sentences.trusts) == ("org/encoder", False)
    assert embedder._sentences.asked[0][0] == "One?\n\nTwo?"
    assert done == [3, 2]
    assert embedder([], done.append).shape[0] == 0


def test_an_encoder_that_cannot_be_loaded(library: Any) -> None:
    with pytest.raises(RingfenceError, match=r"^encoder: cannot load .missing/encoder.: no such repository$"):
        Embedder(context(), "missing/encoder")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sentence_transformers", raising=False)
    monkeypatch.setattr(embeddings.importlib.util, "find_spec", lambda name: None)
    require_library(None)
    with pytest.raises(RingfenceError, match=r"pip install -c constraints.txt '\.\[embed\]'"):
        require_library("org/encoder")
    with pytest.raises(RingfenceError, match="sentence-transformers"):
        Embedder(context(), "org/encoder")


def test_a_role_that_says_nothing(library: Any) -> None:
    silent = {"origin": "x:7", "messages": [{"role": "assistant", "content": "Yes."}]}
    for encoder in (None, "org/encoder"):
        with pytest.raises(RingfenceError, match=r"^x:7: .*user"):
            Embedder(context(), encoder)([silent], nobody)


def test_readable() -> None:
    """The tiny tokenizer has a token a byte: 'user' and 'assistant' turns open with 6 and 11, and close with 2."""
    shared = context(max_length=6 + 20)
    short, long = candidate(0, "a" * 400, "q" * 20), candidate(1, "a", "q" * 21)
    silent = candidate(2)
    silent.conversation["messages"] = silent.conversation["messages"][1:]
    kept, dropped = readable([short, long, silent], shared, "user")
    assert [row.index for row in kept] == [0]  # what follows the user's last token is not read
    assert [(one.reason, one.origin) for one in dropped] == [
        ("longer than 26 tokens", "pool.jsonl:2"),
        ("no user turn", "pool.jsonl:3"),
    ]
    kept, dropped = readable([short, long, silent], shared, "user", "org/encoder")
    assert [row.index for row in kept] == [0, 1]


def test_the_mapper_adds_vectors_and_drops_what_has_none(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder gives NaN for the second; the third has no user turn."""
    rows = [candidate(0, gap=3, other=np.ones(1, np.float32)), candidate(1, question="odd"), candidate(2)]
    rows[2].conversation["messages"] = rows[2].conversation["messages"][1:]
    values = {"Is it?": 2.0, "odd": np.nan}
    monkeypatch.setattr(
        Encoder, "encode", lambda self, texts, **_: np.array([[values[text]] for text in texts], np.float64)
    )
    told = []
    found = Embedding(Embedder(context(), "org/encoder"))(rows, told.append)
    assert [(row.index, row.scores, row.conversation) for row in found.rows] == [
        (0, {"gap": 3.0}, rows[0].conversation)
    ]
    assert {name: vector.tolist() for name, vector in found.rows[0].vectors.items()} == {"other": [1], "embedding": [2]}
    assert [(one.reason, one.origin) for one in found.dropped] == [
        ("no user turn", "pool.jsonl:3"),
        ("no finite embedding", "pool.jsonl:2"),
    ]
    assert sum(told) == 3


def test_an_encoders_folder_is_an_input(tmp_path: Path) -> None:
    assert encoder_inputs(None) == encoder_inputs("org/encoder") == []
    assert encoder_inputs(str(tmp_path)) == [str(tmp_path)]
