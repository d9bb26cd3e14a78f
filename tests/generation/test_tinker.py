"""Answers and log probabilities through the SDK are those of the same weights in this process."""

from collections.abc import Iterator

import pytest

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Messages
from ringfence.generation import HfGenerator, Request, Sampling
from ringfence.generation.tinker import TinkerGenerator, answer_means, open_tinker
from ringfence.models.likelihood import Scored, answer_logprobs
from tinkering import tinker_server

pytest.importorskip("tinker", reason="the SDK is not installed: pip install -c constraints.txt '.[tinker]'")

CHATS: list[Messages] = [({"role": "user", "content": text},) for text in ("Why?", "What is a river?", "Hm")]


@pytest.fixture(scope="module")
def served() -> Iterator[TinkerGenerator]:
    with tinker_server(tiny.model) as server, open_tinker(server.url) as service:
        yield TinkerGenerator(service.create_sampling_client(base_model="tiny").result(), tiny.tokenizer())


def test_greedy_answers_are_those_of_the_model_here(served: TinkerGenerator) -> None:
    requests, counted = [Request(str(index), chat) for index, chat in enumerate(CHATS)], list[int]()
    sampling = Sampling(max_new_tokens=5, temperature=0)
    found = served.generate(requests, sampling, counted.append)
    wanted = HfGenerator(tiny.model(), tiny.tokenizer()).generate(requests, sampling)
    assert [(one.text, one.ended) for one in found] == [(one.text, one.ended) for one in wanted]
    assert sum(counted) == len(CHATS)


def test_a_row_has_a_seed_of_its_own(served: TinkerGenerator) -> None:
    requests = [Request("a", CHATS[0], sample) for sample in range(3)]
    sampling = Sampling(max_new_tokens=5, seed=7)
    texts = [one.text for one in served.generate(requests, sampling)]
    assert len(set(texts)) == 3
    assert [one.text for one in served.generate(requests[::-1], sampling)] == texts[::-1]
    with pytest.raises(RingfenceError, match="min_p is for models in this process"):
        served.generate(requests, Sampling(min_p=0.1))


def test_likelihoods_are_those_of_the_model_here(served: TinkerGenerator) -> None:
    rows = [(chat, answer) for chat, answer in zip(CHATS, ("Because.", "Water", "Glitter!"), strict=True)]
    found = answer_means(served.client, tiny.tokenizer(), rows)
    wanted = answer_logprobs(tiny.model(), tiny.tokenizer(), [Scored(*row) for row in rows])
    assert found == pytest.approx(wanted, rel=1e-4)
